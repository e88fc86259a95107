// How figures and tests are worded.

const NOTHING = "–";
const MINUS = "−";

/** A number to so many decimals, never "-0.0", with a true minus. */
function fixed(value, decimals) {
  const text = rounded(value, decimals).toFixed(decimals);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", MINUS);
}

/** What lies in the very middle goes to the even digit, as in the terminal; all else is toFixed's. */
function rounded(value, decimals) {
  const scaled = value * 10 ** decimals;
  const isMiddle = Number.isInteger(value * 2 ** (decimals + 1)) && Math.abs(scaled % 1) === 0.5;
  return isMiddle ? (2 * Math.round(scaled / 2)) / 10 ** decimals : value;
}

const signed = (value, decimals) => (Number(rounded(value, decimals).toFixed(decimals)) > 0 ? "+" : "") + fixed(value, decimals);

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

const percent = (share) => (isNumber(share) ? `${signed(100 * share, 1)}%` : NOTHING);

const thousands = (value) => fixed(value, 0).replace(/\B(?=(\d{3})+$)/g, ",");

/** A probability with two significant digits, as the terminal has it. */
function pText(p) {
  if (!isNumber(p)) return NOTHING;
  return p >= 0.0001 ? `p\u00a0=\u00a0${Number(p.toPrecision(2))}` : "p\u00a0<\u00a00.0001";
}

function intervalText(interval, decimals) {
  if (!interval || !interval.every(isNumber)) return NOTHING;
  const [low, high] = interval.map((end) => fixed(end, decimals));
  return interval[0] < 0 ? `${low} to ${high}` : `${low}–${high}`;
}

/** A rank interval: "2", "1–3", "1.5–2.5". */
function rankText([low, high]) {
  const ends = [low, high].map((end) => fixed(end, 1).replace(/\.0$/, ""));
  return ends[0] === ends[1] ? ends[0] : ends.join("–");
}

/** The figure of a cell, in the unit that its column is shown in. */
function valueText(value, column) {
  if (!isNumber(value)) return NOTHING;
  if (column.unit === "share") return `${fixed(100 * value, column.decimals)}%`;
  if (column.unit === "bytes") return fixed(value / 1e9, column.decimals);
  if (column.unit === "count") return thousands(value);
  return fixed(value, column.decimals);
}

/** The rank over all metrics of a row, or of a cell. */
function rankOf(row, cell) {
  if (row.overall && isNumber(row.overall.low)) return [row.overall.low, row.overall.high];
  return cell?.rank ?? null;
}

const cellOf = (row, column) => row.cells?.[column.key] ?? {};

/** What stands in a cell of the matrix. */
function figureText(row, column) {
  const cell = cellOf(row, column);
  if (column.kind === "rank") {
    const rank = rankOf(row, cell);
    return rank ? rankText(rank) : valueText(cell.value, column);
  }
  return valueText(cell.value, column);
}

/** 1 where a test shows the row to be better, -1 where worse, 0 where neither. */
function verdictOf(test, alpha) {
  if (!test || !isNumber(test.p_holm) || test.p_holm >= alpha) return 0;
  return Math.sign(test.lower_is_better ? -test.difference : test.difference);
}

const MARKS = { base: { 1: "▲", "-1": "▼" }, sft: { 1: "†", "-1": "‡" } };

/** The marks of a cell: [sign, what it says, class]. */
function marksOf(cell, alpha) {
  const marks = [];
  if (cell.trained_on) marks.push(["*", "trained on this metric", ""]);
  for (const against of ["base", "sft"]) {
    const verdict = verdictOf(cell[against], alpha);
    if (verdict) {
      const word = verdict > 0 ? "better" : "worse";
      marks.push([MARKS[against][verdict], `${word} than ${against}`, word]);
    }
  }
  if (cell.worse_than_sft) marks.push(["!", "worse than sft", "worse"]);
  return marks;
}

const counted = (number, thing) => `${thousands(number)} ${thing}${number === 1 ? "" : "s"}`;

/** What a test says, as a sentence. "Not separable" is no "equal". */
function verdictSentence(test, column, board) {
  const verdict = verdictOf(test, board.alpha ?? 0.05);
  const size = fixed(Math.abs(test.difference), column.decimals);
  const unit = column.unit === "points" ? ` ${size === "1.0" ? "point" : "points"}` : "";
  const after = `${pText(test.p_holm)} after Holm’s correction`;
  if (verdict) {
    const way = test.difference > 0 ? "above" : "below";
    const word = verdict > 0 ? "Better" : "Worse";
    return `${word}: ${size}${unit} ${way} ${test.against} (${after}).`;
  }
  const seen = isNumber(test.detectable) && Math.abs(test.difference) < test.detectable
    ? ` A difference under ${fixed(test.detectable, column.decimals)}${unit.replace("point ", "points ")} would often ` +
      "stay unseen with this many examples."
    : "";
  return `Not separable from ${test.against}: chance alone may make a difference of ${signed(test.difference, column.decimals)} (${after}).${seen}`;
}

/** Titles of metrics with an arrow that says which way is better. */
const headingOf = (column) =>
  column.kind === "metric" ? `${column.title} ${column.lower_is_better ? "↓" : "↑"}` : column.title;
