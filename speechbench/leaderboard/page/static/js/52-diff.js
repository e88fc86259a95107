// What two texts have in common, by words; by characters in scripts without spaces.

const UNSPACED = "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}";
const TOKENS = new RegExp(`\\s+|[${UNSPACED}]\\p{M}*|(?:(?![${UNSPACED}])\\S)+`, "gu");
const MOST = 4_000_000; // cells of the table that is filled

const tokensOf = (text) => text.match(TOKENS) ?? [];

/**
 * The parts of two texts, in order: {kind: "same" | "old" | "new", text}.
 * White space goes with the word before it and makes no difference.
 */
function diff(oldText, newText) {
  const [a, b] = [oldText, newText].map(wordsOf);
  let start = 0;
  while (start < a.length && start < b.length && a[start].key === b[start].key) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end).key === b.at(-1 - end).key) end++;
  const parts = [];
  const add = (kind, word) => {
    if (parts.at(-1)?.kind === kind) parts.at(-1).text += word.text;
    else parts.push({ kind, text: word.text });
  };
  b.slice(0, start).forEach((word) => add("same", word));
  for (const [kind, word] of middle(a.slice(start, a.length - end), b.slice(start, b.length - end))) add(kind, word);
  b.slice(b.length - end).forEach((word) => add("same", word));
  return parts;
}

/** Words with the white space that follows. */
function wordsOf(text) {
  const words = [];
  for (const token of tokensOf(text)) {
    if (/^\s/u.test(token)) {
      if (words.length) words.at(-1).text += token;
    } else {
      words.push({ key: token, text: token });
    }
  }
  return words;
}

/** The longest common subsequence, by dynamic programming from the ends. */
function middle(a, b) {
  const all = [...a.map((word) => ["old", word]), ...b.map((word) => ["new", word])];
  if (!a.length || !b.length || a.length * b.length > MOST) return all;
  const width = b.length + 1;
  const table = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i * width + j] =
        a[i].key === b[j].key ? table[(i + 1) * width + j + 1] + 1 : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  const found = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i].key === b[j].key) {
      found.push(["same", b[j++]]);
      i++;
    } else if (i < a.length && (j === b.length || table[(i + 1) * width + j] >= table[i * width + j + 1])) {
      found.push(["old", a[i++]]);
    } else {
      found.push(["new", b[j++]]);
    }
  }
  return found;
}

/** One side of a difference, or both: <del> for what only the old text has, <ins> for what only the new one has. */
function marked(parts, kinds) {
  return parts
    .filter((part) => kinds.includes(part.kind))
    .map((part) => {
      if (part.kind === "same") return part.text;
      const word = part.text.trimEnd();
      return [el(part.kind === "old" ? "del" : "ins", {}, word), part.text.slice(word.length)];
    });
}
