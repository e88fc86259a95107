// What stands above and below the matrix: filters, groups of columns, the legend, the notes.

function matrixControls(its, kept, draw) {
  const { board } = its;
  const change = (key) => (value) => {
    kept[key] = value;
    draw();
  };
  const distinct = (key) => [...new Set(board.rows.map((row) => row[key]).filter(Boolean))];
  const choice = (label, key) => {
    const values = distinct(key);
    return values.length > 1 ? select(label, [["", "all"], ...values.map((value) => [value, value])], kept[key], change(key)) : null;
  };
  const kinds = Object.keys(KINDS).filter((kind) => columnsOfBoard(board).some((column) => column.kind === kind));
  const toggle = (kind) => (on) => {
    kept.hidden = kept.hidden.filter((its) => its !== kind);
    if (!on) kept.hidden.push(kind);
    draw();
  };
  return el(
    "form",
    { class: "controls", "aria-label": "Rows and columns", on: { submit: (event) => event.preventDefault() } },
    el(
      "div",
      { class: "line" },
      textField("Find rows", kept.text, change("text")),
      choice("Trainer", "trainer"),
      choice("Reward", "reward"),
      check("always show base, SFT and controls", kept.pinned, change("pinned")),
    ),
    el(
      "fieldset",
      { class: "line" },
      el("legend", { class: "unseen" }, "Columns"),
      el("span", { class: "word", "aria-hidden": "true" }, "Columns"),
      kinds.map((kind) => check(KINDS[kind], !kept.hidden.includes(kind), toggle(kind))),
      check("intervals under scores", kept.below, change("below")),
    ),
  );
}

function legend(board) {
  const alpha = board.alpha ?? 0.05;
  const over = board.family ? ` over ${counted(board.family, "planned test")}` : "";
  const signs = [
    ["85.3", "bold: the best of its column, or not separable from it", "strong"],
    ["*", "trained on this metric"],
    ["▲ ▼", "better, worse than base"],
    ["† ‡", "better, worse than SFT"],
    ["!", "outputs less healthy than SFT’s"],
    ["↑ ↓", "higher, lower is better"],
  ];
  return el(
    "section",
    { class: "legend", "aria-labelledby": "legend-title" },
    el("h3", { id: "legend-title" }, "How to read it"),
    el("ul", {}, signs.map(([sign, text, kind]) => el("li", {}, el("span", { class: `sign ${kind ?? ""}` }, sign), ` ${text}`))),
    el(
      "p",
      {},
      `Better and worse mean p < ${alpha} after Holm’s correction${over}. Choose a score to see its tests. ` +
        "Sorting and filtering change what is shown, never a test.",
    ),
  );
}

function notesOf(board) {
  const broken = board.broken.map((its) => `not read: ${its.folder}: ${its.reason}`);
  const notes = [...board.notes, ...broken.filter((text) => !board.notes.some((note) => text.includes(note.replace(/^not read: /, ""))))];
  if (!notes.length) return null;
  return el(
    "section",
    { class: "notes", "aria-labelledby": "notes-title" },
    el("h3", { id: "notes-title" }, "Notes"),
    el("ol", {}, notes.map((note) => el("li", {}, note))),
  );
}
