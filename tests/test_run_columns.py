"""The numbers of samples once more, as columns: never anything else than what the lines say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speechbench.errors import SpeechbenchError
from speechbench.run_columns import columns_name, decode_columns
from speechbench.run_schema import Health, Sampled
from speechbench.runs import (
    MetricInfo,
    Result,
    RunInfo,
    Sample,
    Samples,
    Score,
    check_sealed,
    read_passes,
    read_run,
    read_samples,
    write_passes,
    write_result,
    write_run,
    write_samples,
)

METRICS = tuple(MetricInfo(name, name, "mean", 100.0, {}) for name in ("one", "two"))
INFO = RunInfo("a1", "base", None, None, None, "tiny", "weights", "few", "data", {}, METRICS)
NUMBERS = st.floats(-1e100, 1e100)


def sample(name: str, one: float | None, two: float, speaker: str | None = None, audio: str | None = None) -> Sample:
    scores = {"one": Score(one, (one or 0.0, float(one is not None))), "two": Score(two, (two, 1.0))}
    return Sample(name, None, ("r",), "", audio, speaker, "de", "h", 1, False, scores)


SAMPLES = [sample("b", 0.1 + 0.2, 3.0, "ä", "a.wav"), sample("a", None, -1.5)]


def same(mine: Samples, theirs: Samples) -> bool:
    assert (mine.ids, mine.speakers, mine.audio, mine.number) == (
        theirs.ids, theirs.speakers, theirs.audio, theirs.number
    )  # fmt: skip
    for metric in METRICS:
        np.testing.assert_array_equal(mine.statistics[metric.name], theirs.statistics[metric.name])
        np.testing.assert_array_equal(mine.scores[metric.name], theirs.scores[metric.name])
    return True


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.none() | NUMBERS, NUMBERS, st.none() | st.text()), min_size=1, max_size=5))
def test_columns_say_what_the_lines_say_to_the_last_bit(
    tmp_path: Path, drawn: list[tuple[float | None, float, str | None]]
) -> None:
    written = [sample(f"e{n}", *its) for n, its in enumerate(drawn) if not its[2] or its[2].isprintable()]
    if not written:
        return
    path = write_samples(tmp_path, written)
    columns = path.with_name("samples.columns").read_bytes()
    assert same(read_samples(path, METRICS, b"", columns), read_samples(path, METRICS))
    several = write_passes(tmp_path, [written, written[::-1]])
    columns = several.with_name("sampled.columns").read_bytes()
    found, lines = read_passes(several, METRICS, b"", columns), read_passes(several, METRICS)
    assert len(found) == 2 and all(same(*pair) for pair in zip(found, lines, strict=True))
    assert found[1].records == tuple(written[::-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_run(tmp_path, INFO)
    write_samples(tmp_path, SAMPLES)
    write_passes(tmp_path, [SAMPLES, SAMPLES[::-1]])
    scores = {"one": 0.3, "two": 0.75}
    sampled = Sampled(1.0, 1.0, {name: (score, score) for name, score in scores.items()})
    write_result(tmp_path, Result(scores, Health(0, 0, 0, 0, 1.0), {}, 0, 0, sampled=sampled))
    return tmp_path


@pytest.mark.parametrize("name", ["samples.jsonl", "sampled.jsonl"])
@pytest.mark.parametrize("harm", ["gone", "changed", "empty"])
def test_columns_that_are_gone_or_not_as_they_were_written_are_no_loss(folder: Path, name: str, harm: str) -> None:
    lines = read_samples(folder / "samples.jsonl", METRICS)
    path = folder / columns_name(name)
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(b"" if harm == "empty" else path.read_bytes().replace(b"\x40\x08", b"\x40\x09"))
    run = read_run(folder)
    assert same(run.samples, lines) and same(run.passes[0], lines)
    check_sealed(folder)  # the lines are the truth


@pytest.mark.parametrize("name", ["samples.jsonl", "sampled.jsonl"])
def test_columns_do_not_stand_in_for_lines_that_were_changed(folder: Path, name: str) -> None:
    path = folder / name
    path.write_text(path.read_text().replace("3.0", "4.0"))
    with pytest.raises(SpeechbenchError, match=f"{path.stem}.jsonl was changed or cut"):
        read_run(folder).samples, read_run(folder).passes
    path.unlink()
    with pytest.raises(SpeechbenchError, match=f"{path.stem}.jsonl is missing"):
        read_run(folder).samples, read_run(folder).passes


def test_of_columns_of_another_version_or_without_a_metric_the_lines_are_read(folder: Path) -> None:
    content = (folder / "samples.columns").read_bytes()
    other = {**msgspec.msgpack.decode(content), "version": 999}
    for broken in (msgspec.msgpack.encode(other), b"", b"\xff", content[:-1]):
        assert decode_columns(broken) is None
        assert same(read_samples(folder / "samples.jsonl", METRICS, None, broken), read_run(folder).samples)
    (found,) = decode_columns(content) or []
    assert found.ids == ("b", "a") and found.scores.keys() == {"one", "two"}
    added = (*METRICS, MetricInfo("three", "three", "mean", 100.0, {}))
    with pytest.raises(SpeechbenchError, match="'three' is missing"):
        read_samples(folder / "samples.jsonl", added, None, content)


def test_lines_under_another_name_have_no_columns(tmp_path: Path) -> None:
    write_samples(tmp_path, SAMPLES, "half.jsonl")
    write_passes(tmp_path, [SAMPLES], "other.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.jsonl", "other.jsonl"]
