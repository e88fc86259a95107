// Does a reward gain on its own metric alone? Gains over SFT, reward by metric.

const HEAT = [0.005, 0.03, 0.1, 0.25]; // relative gain from which the next shade is taken

/** The shade of a gain: "g1" to "g4", "l1" to "l4", or none. */
function shadeOf(gain) {
  if (!isNumber(gain)) return "";
  const depth = HEAT.filter((least) => Math.abs(gain) >= least).length;
  return depth ? `${gain > 0 ? "g" : "l"}${depth}` : "";
}

function gainsView(its) {
  const { board } = its;
  const heading = el("h2", {}, "Gains, on its own metric and on others");
  if (!board.goodhart.length) {
    return [heading, el("p", {}, "There is no finished row that was trained on a reward and has something to be compared with.")];
  }
  const metrics = board.columns.filter((column) => column.kind === "metric");
  const health = columnsOfBoard(board).filter((column) => column.kind === "health");
  const against = [...new Set(board.goodhart.map((entry) => entry.against).filter(Boolean))].join(" or ") || "SFT";
  return [
    heading,
    el(
      "p",
      { class: "lead" },
      `Relative gain over ${against}, positive where the row is better, whichever way the metric counts. A measure that is `,
      "trained on stops being a good measure: a gain there that no other family of metrics shares is suspicious.",
    ),
    scrolling(gainsTable(its, metrics, health), "Gains by reward and metric"),
    el(
      "ul",
      { class: "signs" },
      el("li", {}, el("span", { class: "swatch own" }, "*"), " the row’s own metric, which it was trained on"),
      el("li", {}, el("span", { class: "swatch g3" }, "+"), " gain"),
      el("li", {}, el("span", { class: "swatch l3" }, "−"), " loss"),
      el("li", {}, el("span", { class: "swatch faint" }, "~"), " not separable"),
      el("li", {}, el("span", { class: "swatch" }, "!"), " outputs less healthy than SFT’s"),
    ),
  ];
}

function gainsTable(its, metrics, health) {
  const { board } = its;
  return el(
    "table",
    { class: "gains" },
    el("caption", { class: "unseen" }, "Relative gains by reward and metric, with the health of the outputs"),
    el(
      "thead",
      {},
      el(
        "tr",
        { class: "kinds" },
        el("td", { class: "stub" }),
        el("th", { scope: "colgroup", colspan: metrics.length, class: "first" }, "relative gain"),
        el("th", { scope: "colgroup", colspan: 3, class: "first" }, "own against others"),
        health.length ? el("th", { scope: "colgroup", colspan: health.length, class: "first" }, KINDS.health) : null,
      ),
      el(
        "tr",
        {},
        el("th", { scope: "col", class: "stub" }, "trained on"),
        metrics.map((column, number) => el("th", { scope: "col", class: number ? null : "first" }, headingOf(column))),
        ["own gain", "others’ gain", "flag"].map((text, number) => el("th", { scope: "col", class: ["first", null, "flag"][number] }, text)),
        health.map((column, number) => el("th", { scope: "col", class: number ? null : "first" }, column.title)),
      ),
    ),
    el(
      "tbody",
      {},
      board.goodhart.map((entry) =>
        el(
          "tr",
          { class: entry.flag ? "suspicious" : null },
          el("th", { scope: "row", class: "stub" }, el("span", { class: "label" }, entry.label)),
          metrics.map((column) => gainCell(entry, column, board)),
          el("td", { class: `first ${shadeOf(entry.own_gain)}` }, percent(entry.own_gain)),
          el("td", { class: shadeOf(entry.others_gain) || null }, percent(entry.others_gain)),
          el("td", { class: "flag" }, entry.flag ? [el("b", { "aria-hidden": "true" }, "⚑ "), entry.flag] : NOTHING),
          healthCells(its.byLabel.get(entry.label), health),
        ),
      ),
    ),
  );
}

function gainCell(entry, column, board) {
  const gain = entry.gains?.[column.key];
  const own = (entry.own ?? []).includes(column.key) || gain?.is_own;
  if (!gain) return el("td", { class: own ? "own" : null }, NOTHING);
  const clear = isNumber(gain.p_holm) && gain.p_holm < (board.alpha ?? 0.05);
  return el(
    "td",
    { class: [shadeOf(gain.relative), own ? "own" : ""].filter(Boolean).join(" ") || null },
    el("span", { class: "value" }, percent(gain.relative), el("span", { "aria-hidden": "true" }, own ? "*" : ""), own ? unseen(", its own metric") : null),
    el("span", { class: "under" }, signed(gain.difference, column.decimals), clear ? null : [" ", el("span", { "aria-hidden": "true" }, "~"), unseen("not separable")]),
  );
}

function healthCells(row, columns) {
  return columns.map((column, number) => {
    const cell = row ? cellOf(row, column) : {};
    return el(
      "td",
      { class: [number ? "" : "first", cell.worse_than_sft ? "flagged" : ""].filter(Boolean).join(" ") || null },
      valueText(cell.value, column),
      cell.worse_than_sft ? [el("b", { class: "worse", "aria-hidden": "true" }, "!"), unseen(", worse than sft")] : null,
    );
  });
}
