// Learning curves: which rows and figures are shown, and the same in a table.

const CURVE_TITLES = {
  reward: "reward",
  kl: "KL to the model before training",
  entropy: "entropy",
  completion_length: "completion length, tokens",
  zero_variance_groups: "share of groups without variance",
  loss: "loss",
};
const titleOfCurve = (key) => CURVE_TITLES[key] ?? key.replaceAll("_", " ");
const BANDS = [["range", "mean, lowest to highest"], ["deviation", "mean ± standard deviation"], ["runs", "single runs"]];
const SMOOTHINGS = [[1, "none"], [5, "mean of 5 points"], [15, "mean of 15 points"], [41, "mean of 41 points"]];
const DASHES = ["solid", "dash", "dot", "dashdot"];

function curvesView(its) {
  const heading = el("h2", {}, "Learning curves");
  const box = el("div", { "aria-busy": "true" }, el("p", {}, "Unpacking…"));
  jsonOf(`b${its.place}-curves`)
    .then((curves) => fill(box, curvesContent(its, curves)))
    .catch((error) => box.replaceChildren(problem(error)))
    .finally(() => box.removeAttribute("aria-busy"));
  return [heading, box];
}

const problem = (error) => el("p", { class: "problem", role: "alert" }, `This cannot be shown: ${error.message}.`);

function curvesContent(its, curves) {
  if (!curves.runs.length) return [el("p", {}, "No run has logged a step yet.")];
  const rows = [...new Set(curves.runs.map((run) => run.row))];
  const kept = keptOf("curves", its, { keys: curves.keys.slice(0, 4), off: [], band: "range", smooth: 1 });
  const charts = el("div", { class: "charts" });
  const draw = () => drawCharts(charts, its, curves, kept).catch((error) => charts.replaceChildren(problem(error)));
  const seeds = rows.some((row) => curves.runs.filter((run) => run.row === row).length > 1);
  const thinned = curves.width > 1 ? `Each point is the mean of ${curves.width} steps. ` : "";
  const spread = seeds ? "Lines are means over seeds." : "Each line is one run.";
  const toggle = (list, value) => (on) => {
    kept[list] = kept[list].filter((other) => other !== value);
    if (on) kept[list].push(value);
    draw();
  };
  const change = (key) => (value) => {
    kept[key] = value;
    draw();
  };
  const content = [
    el("p", { class: "lead" }, thinned, spread),
    foldable("Figures and seeds", el(
      "form",
      { class: "controls", "aria-label": "Curves", on: { submit: (event) => event.preventDefault() } },
      el(
        "fieldset",
        { class: "line" },
        el("legend", {}, "Figures"),
        curves.keys.map((key) => check(titleOfCurve(key), kept.keys.includes(key), toggle("keys", key))),
      ),
      el(
        "div",
        { class: "line" },
        seeds ? select("Seeds", BANDS, kept.band, change("band")) : null,
        select("Smoothing", SMOOTHINGS, kept.smooth, (value) => change("smooth")(Number(value))),
      ),
    )),
    el(
      "fieldset",
      { class: "line rows" },
      el("legend", {}, "Rows"),
      rows.map((row) => {
        const off = toggle("off", row);
        const made = check("", !kept.off.includes(row), (on) => off(!on));
        made.append(swatchOf(rows.indexOf(row)), ` ${its.board.rows[row]?.label ?? row}`);
        return made;
      }),
    ),
    charts,
  ];
  draw();
  return content;
}

/** Colours that the colour-blind tell apart (after Okabe and Ito), and a dash for each round of them. */
const colourVariable = (place) => `--line-${(place % 6) + 1}`;
const dashOf = (place) => DASHES[Math.floor(place / 6) % DASHES.length];

function swatchOf(place) {
  const name = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(name, "svg");
  const line = document.createElementNS(name, "line");
  for (const [key, value] of Object.entries({ width: 26, height: 10, "aria-hidden": "true" })) svg.setAttribute(key, value);
  const dash = { solid: null, dash: "7 4", dot: "2 3", dashdot: "7 3 2 3" }[dashOf(place)];
  for (const [key, value] of Object.entries({ x1: 0, y1: 5, x2: 26, y2: 5, "stroke-width": 2.5, "stroke-dasharray": dash })) {
    if (value !== null) line.setAttribute(key, value);
  }
  line.style.stroke = `var(${colourVariable(place)})`;
  svg.append(line);
  return svg;
}

/** The curves of one figure: a line for each row or run, with the band around it. */
function linesOf(curves, key, kept) {
  const rows = [...new Set(curves.runs.map((run) => run.row))];
  const lines = [];
  for (const row of rows.filter((its) => !kept.off.includes(its))) {
    const runs = curves.runs.filter((run) => run.row === row && run.values[key]);
    if (!runs.length) continue;
    const place = rows.indexOf(row);
    if (kept.band === "runs" || runs.length === 1) {
      for (const run of runs) lines.push({ row, place, seed: runs.length > 1 ? run.seed : null, points: pointsOf([run], key, curves.width, kept.smooth) });
    } else {
      lines.push({ row, place, seed: null, points: pointsOf(runs, key, curves.width, kept.smooth), band: kept.band });
    }
  }
  return lines;
}

/** Values as means over so many around each, fewer at the ends; what is missing stays so. */
function smoothed(values, points) {
  const half = Math.floor(points / 2);
  return values.map((value, place) => {
    if (!half || !isNumber(value)) return value;
    const reach = Math.min(half, place, values.length - 1 - place); // the same to both sides, so that nothing is shifted
    const some = values.slice(place - reach, place + reach + 1).filter(isNumber);
    return some.reduce((sum, other) => sum + other, 0) / some.length;
  });
}

/** Step, mean, lowest, highest and standard deviation over runs, where there is a value. */
function pointsOf(runs, key, width, smooth) {
  const found = new Map();
  for (const run of runs) {
    smoothed(run.values[key], smooth).forEach((value, place) => {
      if (!isNumber(value)) return;
      const bucket = run.buckets[place];
      if (!found.has(bucket)) found.set(bucket, []);
      found.get(bucket).push(value);
    });
  }
  return [...found].sort(([a], [b]) => a - b).map(([bucket, values]) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    const deviation = values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0;
    return { step: (bucket + 0.5) * width + 0.5, mean, low: Math.min(...values), high: Math.max(...values), deviation };
  });
}

const short = (value) => (isNumber(value) ? String(Number(value.toPrecision(4))).replace("-", MINUS) : NOTHING);

/** The chart in words: a small table of where each line begins and ends. */
function curveTable(its, lines, key) {
  const cells = (points) => {
    const values = points.map((point) => point.mean);
    return [values[0], values.at(-1), Math.min(...values), Math.max(...values)].map((value) => el("td", {}, short(value)));
  };
  return el(
    "details",
    { class: "numbers" },
    el("summary", {}, "As a table"),
    scrolling(
      el(
        "table",
        {},
        el("caption", { class: "unseen" }, `${titleOfCurve(key)}: first and last values`),
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "row"), ["first", "last", "lowest", "highest"].map((text) => el("th", { scope: "col" }, text)))),
        el(
          "tbody",
          {},
          lines.map((line) => el("tr", {}, el("th", { scope: "row" }, nameOfLine(its, line)), cells(line.points))),
        ),
      ),
      `${titleOfCurve(key)} as a table`,
    ),
  );
}

const nameOfLine = (its, line) => {
  const label = its.board.rows[line.row]?.label ?? String(line.row);
  return line.seed === null ? label : `${label} seed ${line.seed}`;
};
