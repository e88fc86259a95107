// The board: a row for each training, a column for each metric, rank, figure of health and cost.

const KINDS = { metric: "metrics", rank: "rank", health: "health of outputs", cost: "cost" };

/** The columns in which some row has a figure, metrics always. */
function columnsOfBoard(board) {
  return board.columns.filter(
    (column) => column.kind === "metric" || board.rows.some((row) => figureText(row, column) !== NOTHING),
  );
}

const isReference = (row) => row.control || row.trainer === "base" || row.trainer === "sft";

function matrixView(its) {
  const { board } = its;
  const kept = keptOf("matrix", its, {
    sort: null, down: false, text: "", trainer: "", reward: "", hidden: [], pinned: true, below: true, at: [0, 0],
  });
  const box = el("div");
  const count = el("p", { class: "count" });
  const draw = () => {
    const rows = sortedRows(board, kept).filter((row) => isShown(row, kept));
    const focused = document.activeElement?.dataset?.sort;
    const table = scrolling(matrixTable(its, rows, kept, draw), "Matrix of scores");
    table.addEventListener("scroll", () => (kept.at = [table.scrollLeft, table.scrollTop]), { passive: true });
    box.replaceChildren(table);
    scrollWhenShown(table, kept.at);
    if (focused) box.querySelector(`[data-sort="${CSS.escape(focused)}"]`)?.focus();
    const text = `${rows.length} of ${counted(board.rows.length, "row")}`;
    if (count.textContent && count.textContent !== text) announce(text);
    count.textContent = text;
  };
  draw();
  return [
    el("h2", { class: "unseen" }, "Matrix"),
    foldable("Rows and columns", matrixControls(its, kept, draw)),
    count,
    box,
    legend(board),
    notesOf(board),
  ];
}

/** Scrolls a table to where it was; it may not stand in the page yet. */
function scrollWhenShown(table, [left, top]) {
  const scroll = () => table.scrollTo(left, top);
  if (table.isConnected) scroll();
  else queueMicrotask(scroll);
}

function sortedRows(board, kept) {
  const rows = [...board.rows];
  if (kept.sort === null) return rows;
  if (kept.sort === "label") {
    rows.sort((a, b) => a.label.localeCompare(b.label));
    return kept.down ? rows.reverse() : rows;
  }
  const column = board.columns.find((its) => its.key === kept.sort);
  if (!column) return rows;
  const value = (row) => {
    const cell = cellOf(row, column);
    const rank = column.kind === "rank" ? rankOf(row, cell) : null;
    return rank ? rank[0] + rank[1] / 1000 : cell.value;
  };
  const known = rows.filter((row) => isNumber(value(row)));
  known.sort((a, b) => (kept.down ? value(b) - value(a) : value(a) - value(b)));
  return [...known, ...rows.filter((row) => !isNumber(value(row)))];
}

function isShown(row, kept) {
  if (kept.pinned && isReference(row)) return true;
  if (kept.trainer && row.trainer !== kept.trainer) return false;
  if (kept.reward && row.reward !== kept.reward) return false;
  return row.label.toLowerCase().includes(kept.text.trim().toLowerCase());
}

/** Which way a column is first sorted: the best above. */
const bestIsHigh = (column) =>
  column.kind === "metric" ? !column.lower_is_better : column.kind !== "rank" && column.key === "distinct";

function matrixTable(its, rows, kept, draw) {
  const { board } = its;
  const columns = columnsOfBoard(board).filter((column) => !kept.hidden.includes(column.kind));
  const groups = Object.keys(KINDS)
    .map((kind) => [kind, columns.filter((column) => column.kind === kind)])
    .filter(([, some]) => some.length);
  const ordered = groups.flatMap(([, some]) => some);
  const firsts = new Set(groups.map(([, some]) => some[0]));
  return el(
    "table",
    { class: "matrix" },
    el("caption", { class: "unseen" }, `Scores on ${board.benchmark}, with the results of paired tests`),
    el("colgroup", {}, el("col")),
    groups.map(([, some]) => el("colgroup", { span: some.length })),
    el(
      "thead",
      {},
      el(
        "tr",
        { class: "kinds" },
        el("td", { class: "stub" }),
        groups.map(([kind, some]) =>
          el("th", { scope: "colgroup", colspan: some.length, class: "first" }, KINDS[kind]),
        ),
      ),
      el(
        "tr",
        {},
        sortHeader("label", "row", "stub", false, kept, draw),
        ordered.map((column) =>
          sortHeader(column.key, headingOf(column), firsts.has(column) ? "first" : "", bestIsHigh(column), kept, draw, column),
        ),
      ),
    ),
    el("tbody", {}, rows.map((row) => matrixRow(its, row, ordered, firsts, kept))),
  );
}

function sortHeader(key, text, kind, high, kept, draw, column) {
  const active = kept.sort === key;
  const direction = active ? (kept.down ? "descending" : "ascending") : "none";
  const sort = () => {
    if (!active) Object.assign(kept, { sort: key, down: high });
    else if (kept.down === high) kept.down = !high;
    else Object.assign(kept, { sort: null, down: false });
    draw();
    announce(kept.sort === null ? "in the board’s order" : `sorted by ${text}, ${kept.down ? "descending" : "ascending"}`);
  };
  const way = column?.kind === "metric" ? unseen(column.lower_is_better ? ", lower is better" : ", higher is better") : null;
  const sign = el("span", { class: "sorting", "aria-hidden": "true" }, active ? (kept.down ? "▾" : "▴") : "");
  return el(
    "th",
    { scope: "col", class: kind, "aria-sort": direction },
    el("button", { type: "button", class: "sort", "data-sort": key, on: { click: sort } }, text, way, sign),
  );
}

function matrixRow(its, row, columns, firsts, kept) {
  const kind = row.control ? "control" : isReference(row) ? "reference" : "";
  return el(
    "tr",
    { class: kind },
    el("th", { scope: "row", class: "stub" }, el("span", { class: "label" }, row.label), rowFacts(its, row)),
    columns.map((column) => matrixCell(its, row, column, firsts.has(column), kept)),
  );
}

/** Under the label: that it is a control, and its runs. */
function rowFacts(its, row) {
  const place = its.board.rows.indexOf(row);
  const runs = its.runs.filter((run) => run.row === place);
  const links = runs.flatMap((run, number) => {
    const its_state = its.state.get(run.id)?.state ?? (run.finished ? "finished" : "unfinished");
    const text = run.seed === null || run.seed === undefined ? "run" : `seed ${run.seed}`;
    const name = number && text !== "run" ? String(run.seed) : text;
    return [number ? ", " : "", runLink(its, run.id, name), its_state === "finished" ? null : ` (${its_state})`];
  });
  return el("span", { class: "under" }, row.control ? "control · " : null, links);
}

function matrixCell(its, row, column, first, kept) {
  const cell = cellOf(row, column);
  const alpha = its.board.alpha ?? 0.05;
  const marks = marksOf(cell, alpha);
  const strong = cell.best || cell.level_with_best;
  const value = el(
    "span",
    { class: "value" },
    el(strong ? "b" : "span", {}, figureText(row, column)),
    marks.length
      ? el("span", { class: "marks", "aria-hidden": "true" }, marks.map(([sign, , kind]) => el("span", { class: kind }, sign)))
      : null,
    marks.length || strong
      ? unseen(`, ${[...(strong ? [cell.best ? "best" : "not separable from the best"] : []), ...marks.map(([, text]) => text)].join(", ")}`)
      : null,
  );
  const under = kept.below ? belowOf(row, cell, column, alpha) : [];
  const content = [value, under.map((text) => el("span", { class: "under" }, text))];
  const opens = column.kind === "metric" || ["base", "sft", "control"].some((against) => cell[against]);
  const shown = opens
    ? el(
        "button",
        { type: "button", class: "figure", "aria-haspopup": "dialog", on: { click: () => openCell(its, row, column) } },
        content,
      )
    : el("span", { class: "figure" }, content);
  const classes = [first ? "first" : "", cell.worse_than_sft ? "flagged" : "", column.kind].filter(Boolean);
  return el("td", { class: classes.join(" ") || null, "data-key": column.key }, shown);
}

/** Under a figure: interval over examples, spread over seeds, rank, sampled score. */
function belowOf(row, cell, column, alpha) {
  const lines = [];
  if (cell.interval) lines.push(intervalText(cell.interval, column.decimals));
  if (cell.seeds) lines.push(`seeds ±${fixed(cell.seeds.standard_deviation, column.decimals)}`);
  if (column.kind !== "rank" && cell.rank) lines.push(`rank ${rankText(cell.rank)}`);
  if (cell.sampled && isNumber(cell.sampled.value)) {
    const mark = MARKS.base[verdictOf(cell.sampled.base, alpha)] ?? "";
    lines.push(`sampled ${fixed(cell.sampled.value, column.decimals)}${mark}`);
  }
  if (column.kind === "rank" && row.overall?.left_out?.length) lines.push(`without ${row.overall.left_out.join(", ")}`);
  return lines;
}
