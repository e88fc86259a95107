"""Two runs side by side, computed and printed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.leaderboard.pairing import RunComparison, compare
from speechbench.leaderboard.resampling import bootstrap
from speechbench.leaderboard.statistics import holm, interval, paired_p
from speechbench.printing import pairing
from speechbench.runs import MetricInfo, Score, read_run, write_result, write_samples

MakeRun = Callable[..., Path]
B = 1000


@pytest.fixture
def two(make_run: MakeRun, with_wer: tuple[MetricInfo, ...]) -> tuple[Path, Path]:
    return make_run("grpo(bleu)", 0.8, 1, metrics=with_wer), make_run("sft", 0.6, metrics=with_wer, reverse=True)


def shown(found: RunComparison, width: int = 100) -> str:
    out = io.StringIO()
    pairing.comparison(found, Console(file=out, width=width, color_system=None), False)
    return out.getvalue()


def test_every_metric_is_tested_both_ways_and_holms_family_is_the_metrics(two: tuple[Path, Path]) -> None:
    found = compare(*two, resamples=B)
    assert found.names == ("grpo(bleu) seed 1", "sft seed 0") and (found.examples, found.family) == (60, 4)
    assert [its.metric.name for its in found.metrics] == ["bleu", "comet", "binary", "wer"]
    raw = []
    for its in found.metrics:
        stored = []
        for folder in two:
            samples = read_run(folder).samples
            stored.append(samples.statistics[its.metric.name][np.argsort(samples.ids)])
        scores, draws = bootstrap(stored, [its.metric.aggregate] * 2, B)
        assert its.scores == pytest.approx(tuple(scores)) and its.bootstrap is not None
        assert its.intervals == (
            pytest.approx(interval(draws[0], 60)),
            pytest.approx(interval(draws[1], 60)),
        )
        assert its.bootstrap.difference == pytest.approx(scores[0] - scores[1])
        raw.append(paired_p(scores[0] - scores[1], draws[0] - draws[1], 60))
        assert its.bootstrap.p == pytest.approx(raw[-1])
        assert its.bootstrap.against == "sft seed 0" and its.bootstrap.seeds is None
        assert its.randomisation is not None and abs(its.randomisation - its.bootstrap.p_holm) < 0.15
    assert [its.bootstrap.p_holm for its in found.metrics if its.bootstrap] == pytest.approx(holm(raw))
    wer = found.metrics[3]
    assert wer.bootstrap is not None and wer.bootstrap.difference < 0 and wer.bootstrap.verdict == 1


@pytest.mark.parametrize("metric", [None, "wer", "WER", "comet"])
def test_wins_and_losses_are_where_examples_differ_most(two: tuple[Path, Path], metric: str | None) -> None:
    found = compare(*two, metric=metric, examples=7, resamples=100)
    name = "wer" if metric == "WER" else metric or "bleu"
    sign = -1 if name == "wer" else 1
    assert found.by.name == name
    by_id = [dict(zip(s.ids, s.scores[name], strict=True)) for s in (read_run(folder).samples for folder in two)]
    gains = {id_: sign * (by_id[0][id_] - by_id[1][id_]) for id_ in by_id[0]}
    for differing, direction in ((found.wins, 1), (found.losses, -1)):
        expected = sorted((direction * gain for gain in gains.values() if direction * gain > 0), reverse=True)[:7]
        assert [direction * gains[its.id] for its in differing] == pytest.approx(expected)
        for its in differing:
            assert its.scores == (by_id[0][its.id], by_id[1][its.id])
            records = [{s.id: s for s in read_run(folder).samples.records}[its.id] for folder in two]
            assert its.hypotheses == tuple(record.hypothesis for record in records)
            assert (its.source, its.reference) == (records[0].source, records[0].references[0])
    assert 0 < len(found.losses) <= 7
    none = compare(*two, examples=0, resamples=100)
    assert none.wins == none.losses == ()


def test_turned_round_it_is_the_same_turned_round(two: tuple[Path, Path]) -> None:
    there, back = compare(*two, resamples=B), compare(*two[::-1], resamples=B)
    for one, other in zip(there.metrics, back.metrics, strict=True):
        assert one.bootstrap is not None and other.bootstrap is not None
        assert one.bootstrap.difference == pytest.approx(-other.bootstrap.difference)
        assert (one.bootstrap.p, one.randomisation) == (other.bootstrap.p, other.randomisation)
    assert {its.id for its in there.wins} == {its.id for its in back.losses}


def test_a_run_is_named_by_folder_id_or_label(make_run: MakeRun, two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "runs"
    for names in (two, ("grpo-bleu-1", "sft-0"), ("grpo(bleu) seed 1", "sft seed 0"), ("grpo(bleu)", "sft")):
        assert compare(*names, folder=out, resamples=50).names == ("grpo(bleu) seed 1", "sft seed 0")
    with pytest.raises(UsageError, match=r"no run in .*has that id or name: did you mean 'sft seed 0'"):
        compare("sft seed 9", "sft", folder=out)
    with pytest.raises(UsageError, match=r"no run in .*has that id or name"):
        compare("x" * 5000, "sft", folder=out)  # which no file can be called
    make_run("sft", 0.7, 1, metrics=read_run(two[0]).info.metrics)
    with pytest.raises(UsageError, match=r"'sft' is the name of several runs: .*sft seed 0 \(.*sft seed 1 \("):
        compare("sft", "grpo(bleu)", folder=out)


def test_what_does_not_compare_is_refused(make_run: MakeRun, two: tuple[Path, Path]) -> None:
    with pytest.raises(SpeechbenchError, match="is not finished: run the same command again"):
        compare(two[0], make_run("grpo(comet)", finished=False))
    with pytest.raises(SpeechbenchError, match="were tested on different data"):
        compare(two[0], make_run("grpo(comet)", ablation="b", data_fingerprint="other"))
    with pytest.raises(SpeechbenchError, match="were not tested on the same examples"):
        compare(two[0], make_run("grpo(comet)", ablation="c", n=50))
    changed = tuple(replace(m, signature={"other": 1}) for m in read_run(two[0]).info.metrics)
    with pytest.raises(SpeechbenchError, match="no metric of one signature in common"):
        compare(two[0], make_run("grpo(comet)", ablation="d", metrics=changed))
    with pytest.raises(UsageError, match=r"both runs have no metric 'blue'.*did you mean 'bleu'"):
        compare(*two, metric="blue")


def test_a_metric_that_does_not_apply_to_an_example_makes_no_difference_there(two: tuple[Path, Path]) -> None:
    run = read_run(two[1])
    assert run.result is not None
    samples = list(run.samples.records)
    samples[0] = replace(samples[0], metrics={**samples[0].metrics, "comet": Score(None, (0.0, 0.0))})
    write_samples(two[1], samples)
    write_result(two[1], run.result)
    found = compare(*two, metric="comet", examples=60, resamples=100)
    assert samples[0].id not in {its.id for its in (*found.wins, *found.losses)}
    assert found.metrics[1].bootstrap is not None and found.metrics[1].bootstrap.examples == 59


@pytest.mark.parametrize("width", [60, 80, 160])
def test_what_is_printed_fits_and_says_it_all(two: tuple[Path, Path], width: int) -> None:
    found = compare(*two, examples=2, resamples=B)
    text = shown(found, width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    assert "grpo(bleu) seed 1 against sft seed 0: covost2-mini, 60 test examples" in words
    assert "WER ↓" in words and "BLEU ↑" not in words and "p after Holm over 4 metrics" in words
    assert "the 2 largest wins of grpo(bleu) seed 1, by BLEU" in words and "the 2 largest losses" in words
    for its in (*found.wins, *found.losses):
        assert its.id in text and " ".join(its.hypotheses[0].split()) in words.replace(" sft seed 0", " sft seed 0")


def test_without_differences_that_is_said(two: tuple[Path, Path]) -> None:
    text = shown(compare(two[0], two[0], resamples=100))
    assert "no win of" in text and "no loss of" in text


def test_as_json_it_is_all_there(two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = compare(*two, resamples=100)
    pairing.comparison(found, Console(quiet=True), True)
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert printed == json.loads(json.dumps(asdict(found))) and printed["by"]["name"] == "bleu"


HOSTILE = "\x1b]0;owned\x07\x1b[2Ja\u202eb[red]c[/red]\nd"


def test_what_a_model_wrote_only_stands_there(two: tuple[Path, Path]) -> None:
    run = read_run(two[1])
    assert run.result is not None
    samples = [
        replace(s, hypothesis=HOSTILE, source=HOSTILE, references=(HOSTILE,), audio=HOSTILE)
        for s in run.samples.records
    ]
    write_samples(two[1], samples)
    write_result(two[1], run.result)
    found = compare(two[1], two[0], examples=3, resamples=50)
    hostile = replace(found, names=(HOSTILE, HOSTILE), benchmark=HOSTILE, by=replace(found.by, display=HOSTILE))
    for text in (shown(found, 200), shown(hostile, 200)):
        assert not set(text) & {"\x1b", "\x07", "\u202e", "\r"}
        assert "\\x1b]0;owned\\x07\\x1b[2Ja\\u202eb[red]c[/red]\\nd" in text
