"""A validation split for data sets that come without one: drawn from train, listed in a file, read from such a file."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.tables import counted
from speechbench.text_files import read_lines

WAYS = ("speaker", "random")
SHARE = 0.05
"""Of train's rows, unless something else is asked for."""


def stable_order(names: Iterable[str], seed: int) -> list[str]:
    """Names in an order that depends on each one and the seed alone, not on which others there are."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())


def drawn(rows_per_name: Mapping[str, int], share: float, seed: int) -> frozenset[str]:
    """The names that go to validation: the first of `stable_order` that hold at least the wanted share of rows.

    Args:
        rows_per_name: How many rows each has: speakers, or single rows by their ids.
        share: Of all rows, from 0 (none) up to but without 1.
        seed: Another seed draws others.
    """
    wanted = share * sum(rows_per_name.values())
    chosen: set[str] = set()
    rows = 0
    for name in stable_order(rows_per_name, seed):
        if rows >= wanted:
            break
        chosen.add(name)
        rows += rows_per_name[name]
    return frozenset(chosen)


@dataclass(frozen=True)
class Division:
    """How a data set's train rows were divided.

    Attributes:
        held_out: The ids of the rows that go to validation.
        listing: The content of a file from which `ValidationSplit` makes the same division.
        warnings: What a reader of scores should know of it.
    """

    held_out: frozenset[str]
    listing: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class ValidationSplit:
    """What of train goes to validation.

    Attributes:
        by: "speaker" for whole speakers, "random" for single rows, whoever speaks.
        share: Of train's rows, at least this share goes to validation; 0 up to but without 1.
        seed: Another seed draws others.
        file: Where the speakers of validation, or the ids of its rows, stand instead of a draw: one a line, in UTF-8;
            empty lines and those that begin with "#" are none. Benchmarks call it `speakers`.

    Raises:
        UsageError: If one of them is none of these, or a file is given and a draw asked for.
    """

    by: str = WAYS[0]
    share: float = SHARE
    seed: int = 0
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.by not in WAYS:
            raise UsageError(f"split_by={self.by!r}: a validation split is made by {' or '.join(WAYS)}")
        if isinstance(self.share, bool) or not isinstance(self.share, (int, float)) or not 0 <= self.share < 1:
            raise UsageError(f"validation_share={self.share!r} must be a number of at least 0 and less than 1")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise UsageError(f"split_seed={self.seed!r} must be a whole number")
        if self.file is not None and (self.by, self.share, self.seed) != (WAYS[0], SHARE, 0):
            raise UsageError(
                f"speakers={self.file} says what goes to validation: leave out split_by, validation_share and "
                "split_seed"
            )

    def __str__(self) -> str:
        """As parameters of a benchmark."""
        if self.file is not None:
            return f"speakers={self.file}"
        return f"split_by={self.by}, validation_share={self.share}, split_seed={self.seed}"

    def identity(self) -> dict[str, Any]:
        """What tells two splits apart, the content of the file aside; JSON-able."""
        return {**vars(self), "file": None if self.file is None else str(self.file.absolute())}

    def divide(self, rows: Sequence[tuple[str, str]], title: str) -> Division:
        """Divides train.

        Args:
            rows: Ids and speakers.
            title: What the data set is called in the listing.

        Raises:
            UsageError: If there is no such file, or it is no text.
            SpeechbenchError: If it lists nothing that is in train.
        """
        warnings = []
        chosen: frozenset[str] = frozenset()
        rows_per_speaker = Counter(speaker for _, speaker in rows)
        if self.file is not None and rows:
            chosen, unknown = self._listed({name for row in rows for name in row})
            if unknown:
                warnings.append(
                    f"{self.file}: {counted(len(unknown), 'listed name')} of {len(unknown) + len(chosen)} are not in "
                    f"train, {unknown[0]!r} first: the list was made for other data"
                )
        elif self.by == WAYS[0]:
            chosen = drawn(rows_per_speaker, self.share, self.seed)
        else:
            chosen = drawn({identity: 1 for identity, _ in rows}, self.share, self.seed)
        held_out = frozenset(identity for identity, speaker in rows if identity in chosen or speaker in chosen)
        heard = {speaker for identity, speaker in rows if identity in held_out}
        shared = heard & {speaker for identity, speaker in rows if identity not in held_out}
        if shared:
            warnings.append(
                f"{len(shared)} of the {counted(len(heard), 'speaker')} of validation are also in train, so scores on "
                "validation tell less of new voices; split_by=speaker keeps them apart"
            )
        header = (
            f"A validation split of {title} by speechbench: what it takes out of train, one speaker or row a line.",
            f"Made with {self}.",
            f"Holds {len(held_out)} of {len(rows)} rows; {len(heard)} of {len(rows_per_speaker)} speakers, of whom "
            f"{len(shared)} are in train too.",
        )
        listing = "".join(f"# {line}\n" for line in header) + "".join(f"{name}\n" for name in sorted(chosen))
        return Division(held_out, listing, tuple(warnings))

    def expected_counts(self, rows: int) -> dict[str, int]:
        """How many of so many rows each part gets, where that does not depend on who speaks them."""
        if self.by == WAYS[0] or self.file is not None:
            return {}
        held_out = math.ceil(self.share * rows)
        return {"train": rows - held_out, "validation": held_out}

    def _listed(self, known: set[str]) -> tuple[frozenset[str], list[str]]:
        """The names in the file that are known, and the others in its order."""
        assert self.file is not None
        if not self.file.is_file():
            raise UsageError(f"speakers={self.file}: there is no such file; name one that lists speakers, one a line")
        lines = [line.strip() for line in read_lines(self.file)] if self.file.stat().st_size else []
        names = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
        chosen = frozenset(names) & known
        if not chosen and (names or not any(lines)):  # a header alone is the listing of a share of 0
            raise SpeechbenchError(
                f"{self.file} lists no speaker and no row that is in train, only {', '.join(names[:3]) or 'nothing'}: "
                "name the list that was made for this data"
            )
        return chosen, [name for name in names if name not in chosen]
