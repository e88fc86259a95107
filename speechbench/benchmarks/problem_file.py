"""All that was found wrong with a benchmark's data, in a file: a screen shows only the first of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from speechbench.benchmarks.base import Benchmark, Problem
from speechbench.cache import cache_folder
from speechbench.grammar import slug
from speechbench.run_files import replace

_HEADER = "kind\twhere\twhat\n"
# What would break the table or a terminal: control characters, other ends of lines, halves of surrogate pairs.
_UNSAFE = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def write_problems(
    benchmark: Benchmark, path: str | Path | None = None, remarks: Iterable[Problem] = ()
) -> Path | None:
    """Writes what was found so far, whole or not at all, in the place of what was written before.

    The file is a table in UTF-8: a header, then kind, where and what of one problem a line, separated by tabs.
    Backslashes, control characters and ends of lines stand as Python writes them, `\\\\`, `\\t`, `\\x00`.

    Args:
        benchmark: Whose `problems` are written.
        path: Where; `problem_path` if not given.
        remarks: What is written after them.

    Returns:
        The file; `None` if there is nothing to write and no path was given.

    Raises:
        OSError: If it cannot be written; it names the file.
    """
    found = [*benchmark.problems, *remarks]
    place = Path(path).expanduser() if path is not None else problem_path(benchmark)
    if not found and path is None:
        place.unlink(missing_ok=True)  # of last time
        return None
    return replace(place, _HEADER + "".join(f"{_cell(p.kind)}\t{_cell(p.where)}\t{_cell(p.what)}\n" for p in found))


def problem_path(benchmark: Benchmark) -> Path:
    """Where the file is kept if no other place is named: in the cache folder, one for each spec and working folder."""
    name = str(benchmark.name)
    own = hashlib.sha256(f"{Path.cwd()}\n{name}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return cache_folder() / "problems" / f"{slug(name)}-{own}.tsv"


def _cell(text: str) -> str:
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
