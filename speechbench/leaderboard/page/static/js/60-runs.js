// All runs of a board: how far each is, and a run by itself.

function runsView(its, run) {
  if (run !== null) return runView(its, run);
  const { board } = its;
  return [
    el("h2", {}, "Runs"),
    scrolling(
      el(
        "table",
        { class: "runs" },
        el("caption", { class: "unseen" }, "All runs of this board"),
        el("thead", {}, el("tr", {}, ["run", "seed", "state", "id", "folder"].map((text) => el("th", { scope: "col" }, text)))),
        el("tbody", {}, its.runs.map((run) => runRow(its, run))),
      ),
      "All runs",
    ),
    board.broken.length
      ? el(
          "section",
          {},
          el("h3", {}, "Folders that could not be read"),
          el("ul", { class: "plain" }, board.broken.map((broken) => el("li", {}, el("code", {}, broken.folder), el("p", { class: "problem" }, broken.reason)))),
        )
      : null,
  ];
}

function runRow(its, run) {
  const entry = its.state.get(run.id);
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, runLink(its, run.id, run.label)),
    el("td", { class: "number" }, run.seed ?? NOTHING),
    el("td", {}, stateOf(its, run), entry?.reason ? el("span", { class: "under" }, entry.reason) : null),
    el("td", {}, el("code", {}, run.id)),
    el("td", {}, entry?.folder ? el("code", { class: "path" }, entry.folder) : NOTHING),
  );
}

const STATES = { finished: "✓", unfinished: "…", failed: "✗" };

function stateOf(its, run) {
  const word = its.state.get(run.id)?.state ?? (run.finished ? "finished" : "unfinished");
  return el("span", { class: `state ${word}` }, el("span", { "aria-hidden": "true" }, `${STATES[word] ?? ""} `), word);
}

function runView(its, id) {
  const run = its.runById.get(id);
  const back = el("p", {}, el("a", { href: addressOf({ board: its.place, view: "runs" }) }, "← all runs"));
  if (!run) return [el("h2", {}, "No such run"), back];
  const box = el("div", { "aria-busy": "true" }, el("p", {}, "Unpacking…"));
  jsonOf(`b${its.place}-runs`)
    .then((all) => fill(box, runContent(its, run, all.runs[id], all.metrics)))
    .catch((error) => box.replaceChildren(problem(error)))
    .finally(() => box.removeAttribute("aria-busy"));
  return [back, el("h2", {}, nameOfRun(run), " ", stateOf(its, run)), box];
}
