"""From folders to boards."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from speechbench.leaderboard.counting import Tick
from speechbench.leaderboard.kept import keep, kept, key_of
from speechbench.leaderboard.store import Group, groups
from speechbench.leaderboard.table import Board, board_of
from speechbench.run_files import run_folders


def leaderboard(
    folders: Path | str | Sequence[Path | str] = "runs",
    resamples: int | None = None,
    only: Collection[str] | None = None,
    together: bool = False,
    test: str = "bootstrap",
    tick: Tick | None = None,
) -> list[Board]:
    """Reads run folders and computes what they amount to; the same once more is taken from the cache.

    Args:
        folders: Of ablations, one ablation's, or one run's; or several.
        resamples: B; `None` for 2,000 and more where these leave a verdict open, up to 20·m/α.
        only: Ids of the runs that count; `None` for all.
        together: One board for all ablations on the same data.
        test: What gives p over examples: "bootstrap", or "randomisation" (approximate, Riezler & Maxwell 2005).
        tick: Told of resamples done.

    Returns:
        One board for each ablation and benchmark. A run that cannot be read is listed there and counts as unfinished.

    Raises:
        SpeechbenchError: If there are no runs, none can be read, or two of a board do not compare.
        UsageError: If the number of resamples is not positive, or there is no such test.
    """
    outs = [folders] if isinstance(folders, (str, Path)) else list(folders)
    runs = [run for out in outs for run in run_folders(out, only)]
    key = key_of(runs, [resamples, together, test, [str(out) for out in outs]])
    found = kept(key)
    if found is None:
        found = [board for _, board in read_boards(outs, resamples, only, together, test, tick)]
        keep(key, found)
    return found


def read_boards(
    folders: Path | str | Sequence[Path | str] = "runs",
    resamples: int | None = None,
    only: Collection[str] | None = None,
    together: bool = False,
    test: str = "bootstrap",
    tick: Tick | None = None,
) -> list[tuple[Group, Board]]:
    """As `leaderboard`, with the runs behind each board."""
    with _uncollected():
        return [(group, board_of(group, resamples, test, tick)) for group in groups(folders, only, together)]


@contextmanager
def _uncollected() -> Iterator[None]:
    """While it lasts nobody looks for cycles among the many objects that are read: there are none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
