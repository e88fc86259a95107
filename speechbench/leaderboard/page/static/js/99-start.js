// From the address to what is shown.

function headOf(its) {
  const { board } = its;
  byId("title").textContent = board.benchmark ?? "";
  const examples = isNumber(board.examples) && board.examples ? counted(board.examples, `${board.split ?? "test"} example`) : "no finished run";
  const clusters = board.clusters && board.clusters.level !== "example" ? counted(board.clusters.number, board.clusters.level) : null;
  const unfinished = its.runs.filter((run) => !run.finished).length;
  const runs = `${counted(its.runs.length, "run")}${unfinished ? `, ${unfinished} not finished` : ""}`;
  byId("facts").textContent = [board.ablation, examples, clusters, runs].filter(Boolean).join(" · ");
}

function viewsOf(route) {
  byId("views").replaceChildren(
    ...VIEWS.map(([view, text]) =>
      el("li", {}, el("a", { href: addressOf({ board: route.board, view }), "aria-current": view === route.view ? "page" : null }, text)),
    ),
  );
}

let shown = null;

function show(focus) {
  const route = routeOf();
  const its = data.boards[route.board];
  redraw = null;
  byId("cell").close?.();
  if (!its) {
    byId("title").textContent = "No runs";
    return;
  }
  headOf(its);
  viewsOf(route);
  byId("board").value = String(route.board);
  const views = { matrix: matrixView, gains: gainsView, curves: curvesView, examples: examplesView, runs: runsView };
  const content = views[route.view](its, route.run);
  fill(byId("main"), content);
  const name = route.run ? nameOfRun(its.runById.get(route.run) ?? { label: "run" }) : VIEWS.find(([view]) => view === route.view)[1];
  document.title = `${name} · ${its.board.benchmark} leaderboard`;
  const where = JSON.stringify(route);
  if (focus && where !== shown) {
    byId("main").focus({ preventScroll: true });
    scrollTo(0, 0);
    announce(name);
  }
  shown = where;
}

/** Scrolls to where the page was; what is unpacked first may need a moment to be there. */
function scrollBack(x, y) {
  let left = 40;
  const stop = () => (left = 0);
  for (const event of ["wheel", "touchstart", "keydown", "hashchange"]) addEventListener(event, stop, { once: true, passive: true });
  const attempt = () => {
    scrollTo(x, y);
    if (Math.abs(scrollY - y) > 1 && left-- > 0) setTimeout(attempt, 50);
  };
  attempt();
}

function start() {
  restore();
  startTheme();
  const choice = byId("board");
  choice.append(...data.boards.map((its) => el("option", { value: its.place }, `${its.board.benchmark} · ${its.board.ablation}`)));
  byId("board-field").hidden = data.boards.length < 2;
  choice.addEventListener("change", () => {
    location.hash = addressOf({ board: Number(choice.value), view: routeOf().view });
  });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  byId("cell").addEventListener("click", (event) => {
    if (event.target === byId("cell")) byId("cell").close(); // beside it
  });
  byId("foot").textContent = `speechbench ${data.version}`;
  addEventListener("hashchange", () => show(true));
  addEventListener("pagehide", keep);
  show(false);
  if (state.scroll && state.scroll[0] === location.hash) scrollBack(state.scroll[1], state.scroll[2]);
  document.documentElement.setAttribute("data-ready", String(Math.round(performance.now())));
  startLive();
}

start();
