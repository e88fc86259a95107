// What the page shows: in the address, so that it can be linked to, and kept over a reload.

const VIEWS = [
  ["matrix", "Matrix"],
  ["gains", "Gains"],
  ["curves", "Curves"],
  ["examples", "Examples"],
  ["runs", "Runs"],
];
const KEPT = `speechbench:${location.pathname}`;
const THEMES = ["auto", "light", "dark"];

const state = { matrix: {}, curves: {}, examples: {}, scroll: null };

function restore() {
  try {
    Object.assign(state, JSON.parse(sessionStorage.getItem(KEPT) ?? "{}"));
  } catch {
    // without storage nothing is kept
  }
}

function keep() {
  state.scroll = [location.hash, scrollX, scrollY];
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(state));
  } catch {
    // as above
  }
}

/** What is kept of a view for the present board. */
function keptOf(view, its, initial) {
  const kept = (state[view] ??= {});
  return (kept[its.place] = { ...initial, ...kept[its.place] });
}

/** Where the address leads: board, view, run. */
function routeOf(hash = location.hash) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const run = asked.get("run");
  let board = Math.min(Math.max(Number(asked.get("board")) || 0, 0), data.boards.length - 1);
  if (run !== null && !data.boards[board]?.runById.has(run)) {
    const found = data.boards.findIndex((its) => its.runById.has(run));
    if (found >= 0) board = found;
  }
  const known = VIEWS.some(([view]) => view === asked.get("view"));
  return { board, view: run !== null ? "runs" : known ? asked.get("view") : "matrix", run };
}

/** The address of a view, a run, or another board. */
function addressOf({ board, view, run }) {
  const asked = new URLSearchParams();
  if (run) asked.set("run", run);
  else asked.set("view", view ?? "matrix");
  if (board) asked.set("board", String(board));
  return `#${asked}`;
}

function runLink(its, id, text) {
  return el("a", { href: addressOf({ board: its.place, run: id }) }, text);
}

let theme = "auto";

function setTheme(wanted, store = true) {
  theme = THEMES.includes(wanted) ? wanted : "auto";
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
  const button = byId("theme");
  button.replaceChildren(el("span", { "aria-hidden": "true" }, { auto: "◐", light: "○", dark: "●" }[theme]), ` ${theme}`);
  button.setAttribute("aria-label", `Colours: ${theme}. Change`);
  if (store) {
    try {
      localStorage.setItem("speechbench:theme", theme);
    } catch {
      // as above
    }
  }
  document.dispatchEvent(new Event("theme"));
}

function startTheme() {
  let stored = null;
  try {
    stored = localStorage.getItem("speechbench:theme");
  } catch {
    stored = null;
  }
  setTheme(stored ?? "auto", false);
  byId("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("theme")));
}
