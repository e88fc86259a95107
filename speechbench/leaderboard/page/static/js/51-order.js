// In which order examples are shown, and which of them hold a text.

/** Places of all examples, those first that the order is about; those without a score last. */
function orderedPlaces(its, kept, scoresA, scoresB) {
  const { examples } = its;
  const places = Array.from({ length: examples.number }, (_, place) => place);
  const metric = examples.metrics.find((found) => found.key === kept.metric) ?? examples.metrics[0];
  const other = examples.metrics.find((found) => found.key === kept.other) ?? metric;
  if (kept.order === "id" || !metric) return places;
  const [a, b] = [scoresA.get(metric.key), scoresB.get(metric.key)];
  const sign = metric.lower_is_better ? -1 : 1;
  const worth = {
    difference: () => places.map((place) => Math.abs(b[place] - a[place])),
    gain: () => places.map((place) => sign * (b[place] - a[place])),
    loss: () => places.map((place) => -sign * (b[place] - a[place])),
    disagreement: () => disagreements(scoresB, metric, other),
    a: () => places.map((place) => -sign * a[place]),
    b: () => places.map((place) => -sign * b[place]),
  }[kept.order]?.();
  if (!worth) return places;
  return places.sort((x, y) => after(worth[x], worth[y]) || x - y);
}

function after(x, y) {
  if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
  return y - x;
}

/** How far apart two metrics rank each example among all of a run's. */
function disagreements(scores, one, two) {
  const ranks = [one, two].map((metric) => ranksOf(scores.get(metric.key), metric.lower_is_better ? -1 : 1));
  return Array.from(ranks[0], (rank, place) => Math.abs(rank - ranks[1][place]));
}

/** Ranks from 0 to 1, equal scores with their mean rank; NaN without a score. */
function ranksOf(scores, sign) {
  const known = Array.from(scores.keys()).filter((place) => !Number.isNaN(scores[place]));
  known.sort((x, y) => sign * (scores[x] - scores[y]));
  const ranks = new Float64Array(scores.length).fill(NaN);
  for (let start = 0; start < known.length; ) {
    let end = start;
    while (end + 1 < known.length && scores[known[end + 1]] === scores[known[start]]) end++;
    for (let place = start; place <= end; place++) ranks[known[place]] = (start + end) / 2 / Math.max(1, known.length - 1);
    start = end + 1;
  }
  return ranks;
}

/** The places whose example holds a text, in the same order. */
async function matching(its, kept, places, text, tell, wanted) {
  const { number, chunk } = its.examples;
  const found = new Set();
  for (let start = 0; start < number; start += chunk) {
    for (let place = start; place < Math.min(start + chunk, number); place++) {
      const example = await exampleAt(its, place);
      const texts = [example.id, example.source, ...example.references, example.answer(kept.a), example.answer(kept.b)];
      if (texts.some((its) => its?.toLowerCase().includes(text))) found.add(place);
    }
    if (!wanted()) return [];
    tell(Math.round((100 * Math.min(start + chunk, number)) / number));
    await new Promise((done) => setTimeout(done));
  }
  return places.filter((place) => found.has(place));
}
