"""What all tables of scores share: how many decimals, how many columns, and how counts and tests are worded."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from speechbench.parameters import Parameter

T = TypeVar("T")

_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}

NOTHING = "\N{EN DASH}"
"""Where there is no figure."""


def decimals_of(scale: float) -> int:
    """How many decimals of a metric's scores are worth showing, by its field's scale over unit scale."""
    return 1 if abs(scale) >= 10 else 3


def figure(value: float | None, scale: float) -> str:
    """A score or a difference on the field's scale, to the decimals worth showing; never "-0.0"."""
    decimals = decimals_of(scale)
    return NOTHING if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def interval_text(interval: tuple[float, float], decimals: int) -> str:
    """Both ends of an interval, "56.5–61.7"; "-0.3 to 1.2" where a dash would be read as a minus."""
    low, high = (f"{end:.{decimals}f}" for end in interval)
    return f"{low} to {high}" if interval[0] < 0 else f"{low}\N{EN DASH}{high}"


def p_text(p: float) -> str:
    """A probability with two significant digits, "p=0.0045"."""
    return f"p={p:.2g}" if p >= 0.0001 else "p<0.0001"


def printable(text: str) -> str:
    """Text that does no more in a terminal than stand there: control characters are written out as escapes.

    Among them are those that colour, erase or type (C0 and C1), those that turn the direction of what follows, and lone
    surrogates. Line ends are escaped too, white space is not.
    """
    return "".join(c.encode("unicode_escape").decode() if _acts(c) else c for c in text)


def _acts(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cs", "Zl", "Zp") or (kind == "Cf" and unicodedata.bidirectional(character) in _TURNING)


def counted(number: int, thing: str) -> str:
    """A number of things, "1 segment" or "2 segments"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def packed(parts: Sequence[T], table_of: Callable[[Sequence[T]], Table], console: Console) -> list[list[T]]:
    """Shares columns out among as few tables as the console's width allows, in their order.

    Args:
        parts: What has a column each.
        table_of: The table of some of them.
        console: Where the tables are printed.

    Returns:
        The parts of each table, at least one in each.
    """
    tables: list[list[T]] = []
    for part in parts:
        if tables and fits(table_of([*tables[-1], part]), console):
            tables[-1].append(part)
        else:
            tables.append([part])
    return tables


def fits(table: Table, console: Console) -> bool:
    """Whether a table can be printed without a cell being broken that need not be."""
    from rich.measure import Measurement

    wide = console.options.update_width(10_000)
    return Measurement.get(console, wide, table).maximum <= console.width


def told_of(summary: str, where: str, broken: str) -> str:
    """What a list says of a plug: its summary, where it is registered unless it is ours, and why it is broken."""
    what = summary
    if broken or not where.startswith("speechbench."):
        what = f"{what} ({where})" if what else where
    return f"{what} cannot be imported: {broken}" if broken else what


def bare_table(header: bool = True) -> Table:
    """A table without a frame."""
    from rich import box
    from rich.table import Table

    shape = box.SIMPLE_HEAD if header else None
    return Table(box=shape, show_header=header, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))


def facts_table(facts: Iterable[tuple[str, str]], width: int) -> Table:
    """Names and what is to be said of each, in two columns.

    Args:
        facts: The texts are folded, and printed as they stand.
        width: Of the names, at least.
    """
    from rich.text import Text

    table = bare_table(header=False)
    table.add_column(no_wrap=True, min_width=width)
    table.add_column(overflow="fold")
    for name, text in facts:
        table.add_row(name, Text(text))
    return table


def parameter_facts(parameters: Iterable[Parameter]) -> Iterator[tuple[str, str]]:
    """A line for each parameter of a plug: its default, what it is here, and its text."""
    for number, parameter in enumerate(parameters):
        is_set = f" (here {parameter.value})" if parameter.value is not None else ""
        default = "" if parameter.default is None else f"={parameter.default}"
        text = f": {parameter.text}" if parameter.text else ""
        yield "" if number else "parameters", f"{parameter.name}{default}{is_set}{text}"
