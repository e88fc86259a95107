import hashlib
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.speaker_split import ValidationSplit, drawn, stable_order
from speechbench.errors import SpeechbenchError, UsageError

SHARES = st.floats(0, 0.99)
ROWS = [(f"{speaker}-1-{take:04d}#1", str(speaker)) for speaker in range(20) for take in range(5)]


@given(st.dictionaries(st.text(max_size=4), st.integers(1, 9), max_size=12), SHARES, st.integers(0, 5))
def test_no_more_is_drawn_than_the_share_takes(rows: dict[str, int], share: float, seed: int) -> None:
    chosen = drawn(rows, share, seed)
    wanted = share * sum(rows.values())
    held = sum(rows[name] for name in chosen)
    assert held >= wanted
    by_hash = sorted(rows, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    assert chosen == set(by_hash[: len(chosen)])
    assert not chosen or held - rows[by_hash[len(chosen) - 1]] < wanted  # without the last one it was too little


@given(st.sets(st.text(max_size=4), max_size=12), st.text(max_size=4), st.integers(0, 5))
def test_one_more_speaker_changes_no_order(names: set[str], further: str, seed: int) -> None:
    order = stable_order(names | {further}, seed)
    assert [name for name in order if name in names] == stable_order(names, seed)


def test_seeds_draw_different_speakers() -> None:
    assert len({drawn(dict.fromkeys("abcdefghij", 5), 0.2, seed) for seed in range(9)}) > 1


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_by_speaker_nobody_is_in_both(share: float) -> None:
    division = ValidationSplit(share=share).divide(ROWS, "data")
    heard = Counter(speaker for identity, speaker in ROWS if identity in division.held_out)
    assert set(heard.values()) <= {5} and len(heard) == math.ceil(share * 20)
    assert division.warnings == ()


def test_at_random_the_shared_speakers_are_counted() -> None:
    split = ValidationSplit("random", 0.2, 3)
    division = split.divide(ROWS, "data")
    assert len(division.held_out) == 20 == split.expected_counts(100)["validation"]
    speakers = {True: set(), False: set()}  # type: dict[bool, set[str]]
    for identity, speaker in ROWS:
        speakers[identity in division.held_out].add(speaker)
    shared = speakers[True] & speakers[False]
    (warning,) = division.warnings
    assert warning.startswith(f"{len(shared)} of the {len(speakers[True])} speakers of validation are also in train")
    assert division.held_out != ValidationSplit("random", 0.2, 4).divide(ROWS, "data").held_out
    assert ValidationSplit(share=0.2).expected_counts(100) == {}


@pytest.mark.parametrize(("by", "share"), [("speaker", 0.3), ("random", 0.3), ("speaker", 0.0), ("random", 0.0)])
def test_a_listing_makes_the_same_division(tmp_path: Path, by: str, share: float) -> None:
    first = ValidationSplit(by, share, 7).divide(ROWS, "data")
    listed = tmp_path / "list.txt"
    listed.write_text(first.listing)
    again = ValidationSplit(file=listed).divide(ROWS, "data")
    assert (again.held_out, again.warnings) == (first.held_out, first.warnings)
    names = {line for line in first.listing.splitlines() if not line.startswith("#")}
    column = 1 if by == "speaker" else 0
    assert names == {row[column] for row in ROWS if row[0] in first.held_out}
    header = " ".join(line for line in first.listing.splitlines() if line.startswith("#"))
    assert f"split_by={by}, validation_share={share}, split_seed=7" in header
    assert f"{len(first.held_out)} of 100 rows" in header


def test_a_list_written_by_hand(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"\xef\xbb\xbf# mine\r\n 3 \r\n\r\n4-1-0002#1\r\nnobody\r\n3\r\n")
    division = ValidationSplit(file=listed).divide(ROWS, "data")
    assert division.held_out == {f"3-1-{take:04d}#1" for take in range(5)} | {"4-1-0002#1"}
    unknown, shared = division.warnings
    assert "1 listed name of 3 are not in train, 'nobody' first" in unknown
    assert shared.startswith("1 of the 2 speakers")
    listed.write_text("nobody\nno one\n")
    with pytest.raises(SpeechbenchError, match=r"list\.txt lists no speaker and no row .* only nobody, no one: name"):
        ValidationSplit(file=listed).divide(ROWS, "data")
    listed.write_text("")
    with pytest.raises(SpeechbenchError, match=r"list\.txt lists no speaker and no row .* only nothing: name"):
        ValidationSplit(file=listed).divide(ROWS, "data")
    with pytest.raises(UsageError, match=r"speakers=.*gone\.txt: there is no such file"):
        ValidationSplit(file=tmp_path / "gone.txt").divide(ROWS, "data")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"by": "chapter"}, "split_by='chapter'.*speaker or random"),
        ({"share": 1}, "validation_share=1 must be"),
        ({"share": -0.1}, "validation_share=-0.1"),
        ({"share": math.nan}, "validation_share=nan"),
        ({"share": "half"}, "validation_share='half'"),
        ({"share": True}, "validation_share=True"),
        ({"seed": "x"}, "split_seed='x'"),
        ({"file": Path("a.txt"), "share": 0.1}, "speakers=a.txt says .* leave out"),
        ({"file": Path("a.txt"), "by": "random"}, "leave out split_by"),
        ({"file": Path("a.txt"), "seed": 1}, "leave out .*split_seed"),
    ],
)
def test_what_makes_no_split_is_refused(parameters: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ValidationSplit(**parameters)  # type: ignore[arg-type]
