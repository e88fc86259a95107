"""Plots for papers: the matrix as a heat map, learning curves with seed bands, reward against metric, and gains."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechbench.errors import SpeechbenchError, UsageError, did_you_mean
from speechbench.leaderboard.page.curves import is_number, logged
from speechbench.leaderboard.render import texts
from speechbench.leaderboard.store import Group, Row
from speechbench.leaderboard.table import Board
from speechbench.libraries import needed
from speechbench.run_files import replace_bytes
from speechbench.tables import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES = {
    "reward": "reward",
    "loss": "loss",
    "kl": "KL to the model before",
    "entropy": "entropy",
    "completion_length": "tokens of a completion",
    "zero_variance_groups": "groups without variance",
}
"""What is logged at each step, and what its axis is called."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Told apart by the colour-blind (Okabe & Ito, 2008, "Color Universal Design")."""
_STYLES = ("-", "--", ":", "-.")
_MARKERS = "osD^vPX*"
_LATE = 0.1  # the last tenth of a training is what its reward is the mean of
_POINTS = 400  # of a curve


def draw(group: Group, board: Board, plot: str, out: Path) -> Path:
    """Draws a board into a file.

    Args:
        group: The runs, whose logs the curves are of.
        board: What they amount to.
        plot: "matrix", "curves", "scatter" or "gains".
        out: PNG, PDF or SVG by its suffix; text stays text in the latter two.

    Returns:
        The file.

    Raises:
        UsageError: If there is no such plot.
        MissingError: If matplotlib is not installed.
        SpeechbenchError: If there is nothing to draw.
    """
    if plot not in PLOTS:
        raise UsageError(f"plot={plot!r} is none of {', '.join(PLOTS)}{did_you_mean(plot, PLOTS)}")
    needed("matplotlib", "plots", f"plot {plot}")
    import matplotlib
    from matplotlib.figure import Figure

    style: dict[str, Any] = {
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "svg.hashsalt": "speechbench",  # the same board is the same file
        "text.parse_math": False,  # a dollar sign in a name is one
    }
    with matplotlib.rc_context(style):
        figure = Figure(layout="constrained")
        PLOTS[plot](figure, group, board)
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(out.suffix.lower())
        drawn = io.BytesIO()
        figure.savefig(drawn, format=out.suffix.lower().removeprefix("."), dpi=200, metadata=metadata)
    return replace_bytes(out, drawn.getvalue())


def _matrix(figure: Figure, group: Group, board: Board) -> None:
    """Every row in every metric; the colour says where a score lies between the worst and the best of its column."""
    metrics = texts.metrics(board)
    places = [place for place, column in enumerate(board.columns) if column.kind == "metric"]
    shades = np.full((len(board.rows), len(places)), np.nan)
    for index, (place, column) in enumerate(zip(places, metrics, strict=True)):
        values = np.array([math.nan if (v := row.cells[place].value) is None else v for row in board.rows])
        known = values[~np.isnan(values)]
        if known.size and known.max() > known.min():
            shades[:, index] = (values - known.min()) / (known.max() - known.min())
            if column.lower_is_better:
                shades[:, index] = 1 - shades[:, index]
    labels = [
        [texts.value(row, place, board.columns[place]) + texts.marks(row.cells[place]) for place in places]
        for row in board.rows
    ]
    bold = [[row.cells[place].level_with_best for place in places] for row in board.rows]
    axes = _heat(
        figure, shades, labels, bold, [row.label for row in board.rows], [c.heading for c in metrics], "viridis", 0, 1
    )
    axes.set_title(printable(texts.title(board)), loc="left", fontsize=8)


def _gains(figure: Figure, group: Group, board: Board) -> None:
    """Relative gain over SFT of every reward in every metric; its own metrics are starred and bold."""
    if not board.goodhart:
        raise SpeechbenchError("there are no gains to draw: no row that was trained on a reward has a baseline")
    metrics = texts.metrics(board)
    gains = [[its.gains.get(column.key) for column in metrics] for its in board.goodhart]
    values = np.array([[math.nan if g is None or g.relative is None else g.relative for g in row] for row in gains])
    widest = max(float(np.nanmax(np.abs(values))) if not np.isnan(values).all() else 0.0, 1e-9)
    labels = [[texts.gain(g) for g in row] for row in gains]
    own = [[g is not None and g.is_own for g in row] for row in gains]
    names = [its.label for its in board.goodhart]
    axes = _heat(figure, values, labels, own, names, [c.title for c in metrics], "RdBu", -widest, widest)
    axes.set_title(printable(texts.gains_heading(board.goodhart)), loc="left", fontsize=8)


def _heat(
    figure: Figure,
    shades: np.ndarray[Any, Any],
    labels: Sequence[Sequence[str]],
    bold: Sequence[Sequence[bool]],
    rows: Sequence[str],
    columns: Sequence[str],
    colours: str,
    low: float,
    high: float,
) -> Axes:
    longest = max(map(len, rows), default=0)
    figure.set_size_inches(1.2 + 0.065 * longest + 0.85 * len(columns), 0.9 + 0.26 * len(rows))
    axes = figure.add_subplot()
    image = axes.imshow(shades, cmap=colours, vmin=low, vmax=high, aspect="auto", alpha=0.85)
    axes.set_xticks(range(len(columns)), [printable(c) for c in columns])
    axes.set_yticks(range(len(rows)), [printable(r) for r in rows])
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for y, row in enumerate(labels):
        for x, text in enumerate(row):
            dark = not math.isnan(shades[y, x]) and _is_dark(image.cmap(image.norm(shades[y, x])))
            weight = "bold" if bold[y][x] else "normal"
            axes.text(
                x, y, text, ha="center", va="center", color="white" if dark else "black", weight=weight, fontsize=7
            )
    return axes


def _is_dark(colour: Any) -> bool:
    red, green, blue = (0.85 * part + 0.15 for part in colour[:3])
    return bool(0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45)


def _curves(figure: Figure, group: Group, board: Board) -> None:
    """What was logged at each step: the mean over seeds, in a band from the least to the greatest."""
    rows = [row for row in group.rows if row.is_trained and any(logged(run) for run in row.runs)]
    names = [name for name in CURVES if any(_curve(row, name) is not None for row in rows)]
    if not names:
        raise SpeechbenchError("there are no learning curves to draw: nothing was trained")
    across = min(3, len(names))
    down = -(-len(names) // across)
    figure.set_size_inches(2.6 * across, 1.9 * down + 0.5)
    for number, name in enumerate(names):
        axes = figure.add_subplot(down, across, number + 1)
        for place, row in enumerate(rows):
            curve = _curve(row, name)
            if curve is None:
                continue
            steps, low, mean, high = curve
            colour = _COLOURS[place % len(_COLOURS)]
            style = _STYLES[place // len(_COLOURS) % len(_STYLES)]
            axes.plot(steps, mean, style, color=colour, linewidth=1, label=printable(row.label))
            if len(row.runs) > 1:
                axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.set_ylabel(CURVES[name])
        axes.set_xlabel("step")
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)


def _curve(row: Row, name: str) -> tuple[np.ndarray[Any, Any], ...] | None:
    """Steps, and over the seeds the least, the mean and the greatest value; thinned."""
    by_step: dict[int, list[float]] = {}
    for run in row.runs:
        for line in logged(run):
            value = line.get(name)
            if is_number(value) and is_number(line.get("step")):
                by_step.setdefault(int(line["step"]), []).append(float(value))
    if not by_step:
        return None
    steps = sorted(by_step)[:: max(1, len(by_step) // _POINTS)]
    values = [by_step[step] for step in steps]
    return np.array(steps), *(np.array([of(its) for its in values]) for of in (min, np.mean, max))


def _scatter(figure: Figure, group: Group, board: Board) -> None:
    """Each run's reward at the end of its training against what it scores in each metric."""
    points = [
        (row, run, reward)
        for row in group.rows
        for run in row.finished
        if row.reward is not None and (reward := _late_reward(run.log)) is not None
    ]
    if not points:
        raise SpeechbenchError("there is no reward to draw: no finished run was trained on one")
    metrics = group.metrics
    across = min(3, len(metrics))
    down = -(-len(metrics) // across)
    figure.set_size_inches(2.6 * across, 2.2 * down + 0.5)
    labels = list(dict.fromkeys(row.label for row, _, _ in points))
    for number, metric in enumerate(metrics):
        axes = figure.add_subplot(down, across, number + 1)
        for place, label in enumerate(labels):
            its = [
                (reward, run.result.metrics.get(metric.name))
                for row, run, reward in points
                if row.label == label and run.result
            ]
            known = [(x, y) for x, y in its if y is not None]
            if known:
                x, y = zip(*known, strict=True)
                colour, marker = _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]
                axes.scatter(x, y, s=18, color=colour, marker=marker, label=printable(label))
        axes.set_xlabel("reward at the end of training")
        axes.set_ylabel(printable(metric.display))
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)


def _late_reward(log: Sequence[Mapping[str, Any]]) -> float | None:
    rewards = [float(line["reward"]) for line in log if is_number(line.get("reward"))]
    late = rewards[-max(1, math.ceil(_LATE * len(rewards))) :]
    return sum(late) / len(late) if late else None


PLOTS: dict[str, Callable[[Figure, Group, Board], None]] = {
    "matrix": _matrix,
    "curves": _curves,
    "scatter": _scatter,
    "gains": _gains,
}
