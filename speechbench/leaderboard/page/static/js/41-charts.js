// The charts, drawn by plotly, which is unpacked when they are first shown.

let library = null;

/** Runs the library as a script of this page: the security policy knows its hash. */
function charting() {
  library ??= bytesOf("charts").then((bytes) => {
    const script = el("script");
    script.textContent = new TextDecoder().decode(bytes);
    document.head.append(script);
    if (!window.Plotly) throw new Error("the charts’ library does not run in this browser");
    return window.Plotly;
  });
  return library;
}

let drawing = 0;
let redraw = null;

async function drawCharts(box, its, curves, kept) {
  const mine = ++drawing;
  redraw = () => drawCharts(box, its, curves, kept);
  if (!box.firstChild) box.append(el("p", { class: "waiting" }, "Drawing…"));
  const Plotly = await charting();
  if (mine !== drawing || !box.isConnected) return; // asked for anew, or the view was left
  box.querySelectorAll(".plot").forEach((plot) => Plotly.purge(plot));
  const keys = curves.keys.filter((key) => kept.keys.includes(key));
  const figures = keys.map((key) => {
    const lines = linesOf(curves, key, kept);
    const plot = el("div", { class: "plot", "aria-hidden": "true" });
    const id = `curve-${keys.indexOf(key)}`;
    const figure = el(
      "section",
      { class: "chart", "aria-labelledby": id },
      el("h3", { id }, titleOfCurve(key)),
      lines.length ? [plot, curveTable(its, lines, key)] : el("p", {}, "No row shown here has logged it."),
    );
    return { figure, plot, lines };
  });
  box.replaceChildren(...figures.map(({ figure }) => figure));
  if (!keys.length) box.replaceChildren(el("p", {}, "Choose a figure above."));
  for (const { plot, lines } of figures) {
    if (lines.length) await Plotly.newPlot(plot, tracesOf(its, lines), layoutOf(), { displayModeBar: false, responsive: true });
  }
}

document.addEventListener("theme", () => {
  if (redraw && document.querySelector(".charts")) redraw();
});

/** A colour of the present theme as plotly reads it. */
function colour(variable, opacity = 1) {
  const probe = el("span");
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const parts = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return `rgba(${parts[0]}, ${parts[1]}, ${parts[2]}, ${opacity})`;
}

/** Plotly reads some HTML in texts: labels are to be shown as they are. */
const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function tracesOf(its, lines) {
  return lines.flatMap((line) => {
    const { points } = line;
    const x = points.map((point) => point.step);
    const name = plain(nameOfLine(its, line));
    const main = {
      x,
      y: points.map((point) => point.mean),
      name,
      mode: points.length > 1 ? "lines" : "markers",
      line: { color: colour(colourVariable(line.place)), width: 2, dash: dashOf(line.place) },
      hovertemplate: "%{y:.4~g}<extra>%{fullData.name}</extra>",
    };
    if (!line.band) return [main];
    const ends = line.band === "range" ? (point) => [point.low, point.high] : (point) => [point.mean - point.deviation, point.mean + point.deviation];
    const side = (which, more) => ({
      x,
      y: points.map((point) => ends(point)[which]),
      mode: "lines",
      line: { width: 0 },
      hoverinfo: "skip",
      ...more,
    });
    return [side(0, {}), side(1, { fill: "tonexty", fillcolor: colour(colourVariable(line.place), 0.16) }), main];
  });
}

function layoutOf() {
  const ink = colour("--muted");
  const axis = { gridcolor: colour("--rule"), linecolor: colour("--rule"), zeroline: false, tickcolor: colour("--rule"), automargin: true };
  return {
    showlegend: false,
    height: 260,
    margin: { l: 48, r: 12, t: 8, b: 40 },
    paper_bgcolor: "rgba(0, 0, 0, 0)",
    plot_bgcolor: "rgba(0, 0, 0, 0)",
    font: { family: "system-ui, sans-serif", size: 12, color: ink },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--rule"), font: { color: colour("--ink") }, namelength: -1 },
    dragmode: false,
    xaxis: { ...axis, title: { text: "step" }, hoverformat: ".0f" },
    yaxis: { ...axis, exponentformat: "power" },
  };
}
