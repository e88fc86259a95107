// A cell's tests, in a dialog.

function openCell(its, row, column) {
  const dialog = byId("cell");
  fill(dialog, cellContent(its, row, column, () => dialog.close()));
  dialog.showModal();
  dialog.scrollTop = 0;
  byId("cell-title").focus();
}

function cellContent(its, row, column, close) {
  const { board } = its;
  const cell = cellOf(row, column);
  const marks = marksOf(cell, board.alpha ?? 0.05);
  const tests = ["base", "sft", "control"].filter((against) => cell[against]);
  return [
    el(
      "header",
      {},
      el("h2", { id: "cell-title", tabindex: "-1" }, `${row.label} · ${headingOf(column)}`),
      el("button", { type: "button", class: "quiet close", on: { click: close } }, el("span", { "aria-hidden": "true" }, "×"), unseen("Close")),
    ),
    el(
      "p",
      { class: "big" },
      el("span", { class: "number" }, figureText(row, column)),
      cell.interval ? el("span", { class: "beside" }, `95% interval ${intervalText(cell.interval, column.decimals)}`) : null,
    ),
    marks.length || cell.best || cell.level_with_best
      ? el("p", { class: "said" }, sentenceOfMarks(cell, marks))
      : null,
    facts([
      ["Seeds", cell.seeds ? `±${fixed(cell.seeds.standard_deviation, column.decimals)} (standard deviation); mean ${intervalText(cell.seeds.interval, column.decimals)}` : null],
      ["Rank in this column", cell.rank ? rankText(cell.rank) : null],
      ["Sampled answers", cell.sampled && isNumber(cell.sampled.value) ? `${fixed(cell.sampled.value, column.decimals)}${cell.sampled.sharpening ? "; better than base only when sampled (sharpening)" : ""}` : null],
    ]),
    bySeed(its, row, column),
    tests.length
      ? tests.map((against) => testSection(against, cell[against], column, board))
      : el("p", {}, isNumber(cell.value) ? "This score is not tested against another." : "There is no score yet."),
    cell.sampled?.base ? testSection("base, both sampled", cell.sampled.base, column, board, true) : null,
    exampleLinks(its, row, column, close),
  ];
}

function sentenceOfMarks(cell, marks) {
  const parts = marks.map(([, text]) => text);
  if (cell.best) parts.unshift("best of its column");
  else if (cell.level_with_best) parts.unshift("not separable from the best of its column");
  const text = parts.join("; ");
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

/** The scores of the row's runs, each with a link to the run. */
function bySeed(its, row, column) {
  const place = its.board.rows.indexOf(row);
  const runs = its.runs.filter((run) => run.row === place && isNumber(run.scores[column.key]));
  if (runs.length < 2) return null;
  return el(
    "section",
    {},
    el("h3", {}, "By seed"),
    el(
      "ul",
      { class: "seeds" },
      runs.map((run) =>
        el("li", {}, runLink(its, run.id, `seed ${run.seed}`), " ", el("span", { class: "number" }, fixed(run.scores[column.key], column.decimals))),
      ),
    ),
  );
}

function testSection(against, test, column, board, sampled = false) {
  const names = { base: "Against base", sft: "Against SFT", control: "Against its control" };
  const heading = names[against] ?? `Against ${against}`;
  const label = test.against && !["base", "sft"].includes(test.against) ? `: ${test.against}` : "";
  const verdict = verdictOf(test, board.alpha ?? 0.05);
  const clusters = board.clusters && board.clusters.level !== "example" ? `, ${counted(board.clusters.number, board.clusters.level)}` : "";
  const seeds = test.seeds;
  const both = Array.isArray(test.pigeonhole) ? test.pigeonhole : test.pigeonhole?.interval;
  const family = sampled ? board.sampled?.family : board.family;
  return el(
    "section",
    { class: "test" },
    el("h3", {}, heading, label),
    el("p", { class: `verdict ${verdict > 0 ? "better" : verdict < 0 ? "worse" : ""}` }, verdictSentence(test, column, board)),
    facts([
      ["Difference", `${signed(test.difference, column.decimals)} (95% ${intervalText(test.interval, column.decimals)})`],
      ["p after Holm", `${pText(test.p_holm)}${family ? ` over ${counted(family, "test")}` : ""}`],
      ["p raw", `${pText(test.p)}${seeds ? ", the larger of that over examples and that over seeds" : ""}`],
      ["Examples", isNumber(test.examples) ? `${thousands(test.examples)}${clusters}` : null],
      ["Resamples", isNumber(test.resamples) ? `${thousands(test.resamples)} (${board.test ?? "bootstrap"})` : null],
      ["Detectable", isNumber(test.detectable) ? `${fixed(test.detectable, column.decimals)} with probability 0.8` : null],
      [
        "Over seeds (t)",
        seeds
          ? `${isNumber(seeds.difference) ? `${signed(seeds.difference, column.decimals)}, ` : ""}95% ${intervalText(seeds.interval, column.decimals)}, ${pText(seeds.p)}, n = ${seeds.n}`
          : null,
      ],
      ["Over examples and seeds", both ? `95% ${intervalText(both, column.decimals)} (pigeonhole bootstrap)` : null],
    ]),
  );
}

/** From a score to the examples behind it, beside those of what it is tested against. */
function exampleLinks(its, row, column, close) {
  const runOf = (label) => its.runs.find((run) => run.finished && run.label === label && its.examples.runs.includes(run.id));
  const mine = runOf(row.label);
  const cell = cellOf(row, column);
  const others = ["sft", "base", "control"].map((against) => cell[against]?.against).filter((label) => label && runOf(label));
  if (!mine || !others.length || !its.examples.metrics.some((metric) => metric.key === column.key)) return null;
  const go = (label) => () => {
    const kept = keptOf("examples", its, {});
    Object.assign(kept, { a: runOf(label).id, b: mine.id, metric: column.key, order: "difference", page: 0, text: "" });
    close();
  };
  return el(
    "p",
    { class: "more" },
    "Examples: ",
    [...new Set(others)].flatMap((label, number) => [
      number ? ", " : "",
      el("a", { href: addressOf({ board: its.place, view: "examples" }), on: { click: go(label) } }, `beside ${label}`),
    ]),
  );
}
