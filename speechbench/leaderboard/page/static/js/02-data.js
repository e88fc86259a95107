// The data of the page: what stands in it as JSON, and what is unpacked when it is asked for.

const data = JSON.parse(byId("data").textContent);

for (const [place, its] of data.boards.entries()) {
  its.place = place;
  const board = its.board;
  for (const key of ["columns", "rows", "goodhart", "runs", "broken", "notes"]) board[key] ??= [];
  its.byLabel = new Map(board.rows.map((row) => [row.label, row]));
  its.state = new Map(board.runs.map((run) => [run.id, run]));
  its.runById = new Map(its.runs.map((run) => [run.id, run]));
}

/** Whether the rest of the file, which holds what is packed, is there. */
const loaded = new Promise((done) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => done(), { once: true });
  else done();
});

const unpacked = new Map();

/** What was packed into an element, as bytes. */
async function bytesOf(id) {
  await loaded;
  const element = byId(id);
  if (element === null) throw new Error(`this file is cut: it lacks ${id}`);
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old to unpack the data");
  const stream = new Blob([fromBase64(element.textContent)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let place = 0; place < binary.length; place++) bytes[place] = binary.charCodeAt(place);
  return bytes;
}

/** What was packed as JSON; it is unpacked once. */
function jsonOf(id) {
  if (!unpacked.has(id)) {
    const promise = bytesOf(id).then((bytes) => JSON.parse(new TextDecoder().decode(bytes)));
    promise.catch(() => unpacked.delete(id));
    unpacked.set(id, promise);
  }
  return unpacked.get(id);
}

const MISSING = 65535;

/** The scores of a run by metric: numbers, NaN where there is none. */
function scoresOf(its, runId) {
  const number = its.examples.runs.indexOf(runId);
  const id = `b${its.place}-scores-${number}`;
  if (!unpacked.has(id)) unpacked.set(id, bytesOf(id).then((bytes) => columnsOf(its.examples, bytes)));
  return unpacked.get(id);
}

function columnsOf(examples, bytes) {
  const places = new Uint16Array(bytes);
  return new Map(
    examples.metrics.map((metric, number) => {
      const some = places.subarray(number * examples.number, (number + 1) * examples.number);
      const scores = new Float64Array(examples.number);
      for (let place = 0; place < some.length; place++) {
        scores[place] = some[place] === MISSING ? NaN : metric.low + some[place] * metric.step;
      }
      return [metric.key, scores];
    }),
  );
}

/** An example by its place in the order of ids. */
async function exampleAt(its, place) {
  const { chunk, runs } = its.examples;
  const records = await jsonOf(`b${its.place}-texts-${Math.floor(place / chunk)}`);
  const [id, source, references, instruction, speaker, audio, answers, cut] = records[place % chunk];
  return {
    place, id, source, references, instruction, speaker, audio,
    answer: (run) => answers[runs.indexOf(run)] ?? null,
    isCut: (run) => cut.includes(runs.indexOf(run)),
  };
}
