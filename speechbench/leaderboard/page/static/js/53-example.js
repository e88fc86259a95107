// One example: what was said, what it should be, what two runs made of it.

function exampleItem(its, kept, example, scoresA, scoresB) {
  const answers = { A: example.answer(kept.a), B: example.answer(kept.b) };
  return el(
    "article",
    { class: "example", "aria-label": `Example ${example.id}` },
    el(
      "header",
      {},
      el("h3", {}, example.id),
      example.speaker ? el("span", { class: "under" }, `speaker ${example.speaker}`) : null,
      recording(its, example),
    ),
    el("div", { class: "body" }, el(
      "dl",
      { class: "texts" },
      textPair("Source", example.source),
      textPair("Task", example.instruction, "task"),
      example.references.map((reference, number) =>
        textPair(example.references.length > 1 ? `Reference ${number + 1}` : "Reference", reference),
      ),
      ["A", "B"].map((side) => {
        const run = its.runById.get(side === "A" ? kept.a : kept.b);
        return el(
          "div",
          { class: "answer" },
          el("dt", {}, el("b", {}, side), " ", nameOfRun(run)),
          el(
            "dd",
            {},
            answerText(side, answers, example, kept.diff),
            example.isCut(run.id) ? el("span", { class: "chip" }, "cut at the token limit") : null,
          ),
        );
      }),
    ),
    scoreTable(its, kept, example, scoresA, scoresB)),
  );
}

const textPair = (name, text, kind) =>
  text === null || text === undefined || text === "" ? null : el("div", { class: kind }, el("dt", {}, name), el("dd", {}, text));

function answerText(side, answers, example, how) {
  const text = answers[side];
  if (text === null) return el("span", { class: "faint" }, "no answer");
  if (!text.trim()) return el("span", { class: "faint" }, "(empty)");
  if (how === "reference") return marked(diff(nearestReference(text, example.references), text), ["same", "old", "new"]);
  if (how === "other" && answers.A !== null && answers.B !== null) {
    if (answers.A === answers.B) return [text, side === "B" ? el("span", { class: "chip" }, "same as A") : null];
    return marked(diff(answers.A, answers.B), side === "A" ? ["same", "old"] : ["same", "new"]);
  }
  return text;
}

/** The reference that shares most with a text, the first of equals. */
function nearestReference(text, references) {
  const shared = (reference) =>
    diff(reference, text).filter((part) => part.kind === "same").reduce((sum, part) => sum + part.text.length, 0);
  return references.length < 2 ? (references[0] ?? "") : references.reduce((best, next) => (shared(next) > shared(best) ? next : best));
}

function recording(its, example) {
  const { audio } = example;
  if (audio === null || audio === undefined) return null;
  let source = null;
  if (typeof audio === "number") {
    const packed = byId(`b${its.place}-audio-${audio}`)?.textContent;
    source = packed ? `data:${packed}` : null;
  } else if (audio.startsWith("./") || audio.startsWith("../") || audio.startsWith("file:///")) {
    source = audio; // and nothing with another scheme
  }
  if (source === null) return null;
  const missing = () => player.replaceWith(el("span", { class: "under" }, "the recording is not there"));
  const player = el("audio", { controls: true, preload: "none", src: source, "aria-label": `Recording of ${example.id}`, on: { error: missing } });
  return player;
}

/** Every metric's score of this example for both runs, and the difference. */
function scoreTable(its, kept, example, scoresA, scoresB) {
  const { place } = example;
  const { metrics } = its.examples;
  const row = (name, value) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, name),
      metrics.map((metric) => el("td", { class: metric.key === kept.metric ? "chosen" : null }, value(metric))),
    );
  const text = (value, metric) => (Number.isNaN(value) ? NOTHING : fixed(value, metric.decimals));
  const score = (scores) => (metric) => text(scores.get(metric.key)[place], metric);
  const difference = (metric) => {
    const value = scoresB.get(metric.key)[place] - scoresA.get(metric.key)[place];
    if (Number.isNaN(value)) return NOTHING;
    const verdict = Math.sign(metric.lower_is_better ? -value : value);
    return el("span", { class: verdict > 0 ? "better" : verdict < 0 ? "worse" : null }, signed(value, metric.decimals));
  };
  return scrolling(
    el(
      "table",
      { class: "scores" },
      el("caption", { class: "unseen" }, "Scores of this example"),
      el("thead", {}, el("tr", {}, el("td", {}), metrics.map((metric) => el("th", { scope: "col" }, `${metric.title} ${metric.lower_is_better ? "↓" : "↑"}`)))),
      el("tbody", {}, row("A", score(scoresA)), row("B", score(scoresB)), row("B − A", difference)),
    ),
    `Scores of ${example.id}`,
  );
}
