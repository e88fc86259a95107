// Every test example, two runs beside each other.

const PER_PAGE = 25;
const ORDERS = [
  ["difference", "largest difference between A and B"],
  ["gain", "B gains most"],
  ["loss", "B loses most"],
  ["disagreement", "two metrics disagree most on B"],
  ["a", "A’s score, worst first"],
  ["b", "B’s score, worst first"],
  ["id", "id"],
];

function examplesView(its) {
  const { examples } = its;
  const heading = el("h2", {}, "Examples");
  if (!examples.runs.length) return [heading, el("p", {}, "No run is finished yet.")];
  const kept = keptOf("examples", its, { ...firstChoice(its), order: "difference", text: "", page: 0, diff: "other" });
  if (!examples.runs.includes(kept.a)) kept.a = examples.runs[0];
  if (!examples.runs.includes(kept.b)) kept.b = examples.runs.at(-1);
  const list = el("ol", { class: "examples" });
  const status = el("p", { class: "count" });
  const pagers = [el("nav", { class: "pager", "aria-label": "Pages" }), el("nav", { class: "pager", "aria-label": "Pages, below" })];
  const draw = (page = 0) => {
    kept.page = page;
    return showExamples(its, kept, list, status, pagers, draw).catch((error) => list.replaceChildren(el("li", {}, problem(error))));
  };
  draw(kept.page);
  return [heading, foldable("Runs, order and search", exampleControls(its, kept, draw)), status, pagers[0], list, pagers[1]];
}

/** SFT, or base, against the row that does best in the first metric. */
function firstChoice(its) {
  const { board, examples } = its;
  const runOf = (row) => its.runs.find((run) => run.row === board.rows.indexOf(row) && examples.runs.includes(run.id))?.id;
  const metric = examples.metrics[0];
  const rated = board.rows.filter((row) => !row.control && runOf(row) && isNumber(row.cells?.[metric?.key]?.value));
  const value = (row) => (metric.lower_is_better ? -1 : 1) * row.cells[metric.key].value;
  const reference = board.rows.find((row) => row.trainer === "sft" && runOf(row)) ?? board.rows.find((row) => row.trainer === "base" && runOf(row));
  const best = rated.filter((row) => row !== reference && row.trainer !== "base").sort((a, b) => value(b) - value(a))[0];
  const a = (reference && runOf(reference)) ?? examples.runs[0];
  return { a, b: (best && runOf(best)) ?? examples.runs.find((id) => id !== a) ?? a, metric: metric?.key, other: examples.metrics.at(-1)?.key };
}

/** The finished runs as options, by row. */
function runOptions(its) {
  const rows = new Map();
  for (const id of its.examples.runs) {
    const run = its.runById.get(id);
    if (!rows.has(run.label)) rows.set(run.label, []);
    rows.get(run.label).push([id, nameOfRun(run)]);
  }
  return [...rows].flatMap(([label, options]) => (options.length > 1 ? [{ group: label, options }] : options));
}

const nameOfRun = (run) => (run.seed === null || run.seed === undefined ? run.label : `${run.label} seed ${run.seed}`);

function exampleControls(its, kept, draw) {
  const metrics = its.examples.metrics.map((metric) => [metric.key, metric.title]);
  const other = select("Other metric", metrics, kept.other, (value) => change("other")(value));
  const change = (key) => (value) => {
    kept[key] = value;
    other.hidden = kept.order !== "disagreement";
    draw();
  };
  other.hidden = kept.order !== "disagreement";
  const a = select("A", runOptions(its), kept.a, (value) => change("a")(value));
  const b = select("B", runOptions(its), kept.b, (value) => change("b")(value));
  const swap = () => {
    [kept.a, kept.b] = [kept.b, kept.a];
    [a, b].forEach((field, number) => (field.querySelector("select").value = number ? kept.b : kept.a));
    draw();
  };
  return el(
    "form",
    { class: "controls", "aria-label": "Examples", on: { submit: (event) => event.preventDefault() } },
    el(
      "div",
      { class: "line" },
      a,
      el("button", { type: "button", class: "quiet", on: { click: swap } }, el("span", { "aria-hidden": "true" }, "⇄"), unseen("swap A and B")),
      b,
      select("Mark", [["other", "B against A"], ["reference", "each against the reference"], ["none", "nothing"]], kept.diff, change("diff")),
    ),
    el(
      "div",
      { class: "line" },
      select("Order", ORDERS, kept.order, change("order")),
      select("Metric", metrics, kept.metric, change("metric")),
      other,
      textField("Search texts and ids", kept.text, change("text")),
    ),
  );
}

let showing = 0;

async function showExamples(its, kept, list, status, pagers, draw) {
  const mine = ++showing;
  const current = () => mine === showing && list.isConnected;
  list.setAttribute("aria-busy", "true");
  const [scoresA, scoresB] = await Promise.all([scoresOf(its, kept.a), scoresOf(its, kept.b)]);
  let places = orderedPlaces(its, kept, scoresA, scoresB);
  const text = kept.text.trim().toLowerCase();
  if (text) places = await matching(its, kept, places, text, (done) => current() && (status.textContent = `searching… ${done}%`), () => mine === showing);
  if (mine !== showing) return;
  const pages = Math.max(1, Math.ceil(places.length / PER_PAGE));
  kept.page = Math.min(Math.max(kept.page, 0), pages - 1);
  const some = places.slice(kept.page * PER_PAGE, (kept.page + 1) * PER_PAGE);
  const examples = await Promise.all(some.map((place) => exampleAt(its, place)));
  if (mine !== showing) return;
  list.start = kept.page * PER_PAGE + 1;
  list.replaceChildren(...examples.map((example) => el("li", {}, exampleItem(its, kept, example, scoresA, scoresB))));
  list.removeAttribute("aria-busy");
  const first = kept.page * PER_PAGE + 1;
  const found = text ? `${counted(places.length, "example")} with “${kept.text.trim()}”` : counted(places.length, "example");
  status.textContent = places.length ? `${found}; ${first} to ${first + some.length - 1} shown` : `${found}`;
  announce(status.textContent);
  pagers.forEach((pager, number) => {
    const focused = pager.contains(document.activeElement) ? document.activeElement.dataset.turn : null;
    fill(pager, pagerContent(kept.page, pages, async (page) => {
      await draw(page);
      if (number) byId("main").querySelector(".examples")?.scrollIntoView();
    }));
    if (focused) (pager.querySelector(`[data-turn="${focused}"]:not(:disabled)`) ?? pager.querySelector("input"))?.focus();
  });
}

function pagerContent(page, pages, turn) {
  const input = el("input", {
    type: "number", min: 1, max: pages, value: page + 1, inputmode: "numeric",
    on: { change: (event) => turn((Number(event.target.value) || 1) - 1) },
  });
  const button = (text, to, name) =>
    el("button", { type: "button", class: "quiet", "data-turn": name, disabled: to < 0 || to >= pages, on: { click: () => turn(to) } }, text);
  return [
    button("← previous", page - 1, "back"),
    el("label", { class: "field" }, "Page ", input, ` of ${thousands(pages)}`),
    button("next →", page + 1, "on"),
  ];
}
