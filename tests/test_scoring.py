"""Plain files scored, held against sacrebleu's own command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from speechbench.cli import main
from speechbench.errors import UsageError
from speechbench.leaderboard.resampling import bootstrap
from speechbench.leaderboard.statistics import holm, paired_p
from speechbench.leaderboard.statistics import interval as spread
from speechbench.scoring import Scores, score, score_texts

WORDS = ["der", "die", "das", "Mann", "Frau", "Kind", "liest", "sieht", "kauft", "Buch", "Haus", "heute", "gern", "für"]
REFERENCES = [
    " ".join(np.random.default_rng(row).choice(WORDS, size=4 + row % 7)).capitalize() + "." for row in range(120)
]


def system(quality: float, seed: int = 0) -> list[str]:
    """Hypotheses that keep about this share of the references' words."""
    rng = np.random.default_rng(seed)
    return [
        " ".join(word if rng.random() < quality else str(rng.choice(WORDS)) for word in reference.split())
        for reference in REFERENCES
    ]


Write = Callable[[str, list[str]], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines to a file and gives its path."""

    def to(name: str, lines: list[str]) -> str:
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return str(tmp_path / name)

    return to


@pytest.fixture
def errors(tmp_path: Path) -> str:
    """A reward of one's own that counts wrong words; none for an empty hypothesis."""
    (tmp_path / "errors.py").write_text(
        "import numpy as np\n"
        "from speechbench.rewards import Reward\n"
        "class Errors(Reward):\n"
        "    display, aggregate, lower_is_better = 'errors', 'rate', True\n"
        "    def _pairs(self, batch):\n"
        "        pairs = zip(batch.hypotheses, batch.examples)\n"
        "        return [(h.split(), e.references[0].split()) for h, e in pairs]\n"
        "    def statistics(self, batch):\n"
        "        pairs = self._pairs(batch)\n"
        "        return np.array([(sum(map(str.__ne__, h, r)), len(r)) if h else (0, 0) for h, r in pairs], float)\n"
        "    def score(self, batch):\n"
        "        return [1 - e / n if n else None for e, n in self.statistics(batch)]\n"
    )
    return f"{tmp_path / 'errors.py'}:Errors"


def call(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["score", *words], input=stdin)


def sacrebleus(*words: str) -> list[float]:
    """What sacrebleu's command prints, to more decimals than it usually does."""
    command = [sys.executable, "-m", "sacrebleu", *words, "--score-only", "--width", "9", "--format", "text"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


def corpus(found: Scores, place: int = 0) -> list[float | None]:
    return [metric.systems[place].score for metric in found.metrics]


@pytest.mark.parametrize("several", [False, True])
def test_corpus_scores_are_those_of_sacrebleus_command(write: Write, several: bool) -> None:
    hyp = write("hyp.txt", system(0.7))
    refs = [write("ref.txt", REFERENCES), *([write("other.txt", system(0.9, 1))] if several else [])]
    found = score(hyp, refs, target_language="de")
    assert corpus(found) == pytest.approx(sacrebleus(*refs, "-i", hyp, "-m", "bleu", "chrf"), abs=1e-8)
    plus = score(hyp, refs, reward=["chrf(word_order=2)"])
    assert corpus(plus) == pytest.approx(sacrebleus(*refs, "-i", hyp, "-m", "chrf", "--chrf-word-order", "2"), abs=1e-8)


def test_segment_scores_are_those_of_sacrebleus_command(write: Write) -> None:
    hyp, ref = write("hyp.txt", system(0.7)), write("ref.txt", REFERENCES)
    (bleu,) = score(hyp, ref, reward=["bleu"]).metrics
    assert bleu.systems[0].segments == pytest.approx(sacrebleus(ref, "-i", hyp, "-m", "bleu", "-sl"), abs=1e-8)


def test_the_target_language_chooses_the_tokenizer(write: Write) -> None:
    hyp, ref = write("hyp.txt", ["我喜歡 Python", "他在看書"]), write("ref.txt", ["我愛 Python", "他在看一本書"])
    (found,) = score(hyp, ref, reward=["bleu"], target_language="zh").metrics
    assert "tok:zh" in found.signature["metric"]
    assert found.systems[0].score == pytest.approx(sacrebleus(ref, "-i", hyp, "-m", "bleu", "-tok", "zh")[0])
    assert found.systems[0].score != pytest.approx(corpus(score(hyp, ref, reward=["bleu"]))[0])


def test_an_empty_line_in_one_of_several_reference_files_is_no_reference() -> None:
    others: list[str | None] = [None if row % 3 == 0 else text for row, text in enumerate(system(0.9, 1))]
    found = score_texts({"a": system(0.7)}, [REFERENCES, [text or " " for text in others]])
    expected = [metric.corpus_score(system(0.7), [REFERENCES, others]).score for metric in (BLEU(), CHRF())]
    assert corpus(found) == pytest.approx(expected)
    assert found.references == 2


@pytest.mark.parametrize("files", [1, 2])
def test_a_segment_without_any_reference_text_has_an_empty_reference(files: int) -> None:
    references = [*REFERENCES[:-1], ""]
    found = score_texts({"a": system(0.7)}, [references] * files)
    expected = [metric.corpus_score(system(0.7), [references]).score for metric in (BLEU(), CHRF())]
    assert corpus(found) == pytest.approx(expected)
    assert found.metrics[0].systems[0].segments[-1] == 0.0  # it counts


def test_each_system_is_scored_as_if_alone() -> None:
    systems = {"a": system(0.7), "b": system(0.9), "c": [""] * len(REFERENCES)}
    found = score_texts(systems, [REFERENCES], resamples=200)
    for place, (name, hypotheses) in enumerate(systems.items()):
        alone = score_texts({name: hypotheses}, [REFERENCES], resamples=200)
        for together, single in zip(found.metrics, alone.metrics, strict=True):
            assert (together.metric, together.signature) == (single.metric, single.signature)
            mine, its = together.systems[place], single.systems[0]
            assert (mine.system, mine.score, mine.interval, mine.segments) == (
                its.system, its.score, its.interval, its.segments
            )  # fmt: skip
        assert alone.family == 0 and all(metric.systems[0].test is None for metric in alone.metrics)


def test_systems_are_tested_against_the_first_by_paired_bootstrap_and_holm() -> None:
    systems = {"a": system(0.70), "b": system(0.72, 1), "c": system(0.80, 2)}
    found = score_texts(systems, [REFERENCES], reward=["bleu"], resamples=2000)
    assert (found.family, found.resamples, found.segments) == (2, 2000, len(REFERENCES))
    statistics = []
    for hypotheses in systems.values():
        rows = np.array(BLEU()._extract_corpus_statistics(hypotheses, [REFERENCES]), dtype=float)
        statistics.append(np.concatenate([rows[:, 2:], rows[:, :2]], axis=1))
    scores, draws = bootstrap(statistics, ["bleu"] * 3, 2000)
    raw = [paired_p(scores[i] - scores[0], draws[i] - draws[0], len(REFERENCES)) for i in (1, 2)]
    (metric,) = found.metrics
    assert metric.systems[0].test is None
    for place, p, p_holm in zip((1, 2), raw, holm(raw), strict=True):
        test, interval = metric.systems[place].test, metric.systems[place].interval
        assert test is not None and test.against == "a"
        assert (test.p, test.p_holm) == (p, p_holm)
        assert test.difference == pytest.approx(scores[place] - scores[0])
        assert test.interval == pytest.approx(spread(draws[place] - draws[0], len(REFERENCES)))
        assert interval == pytest.approx(spread(draws[place], len(REFERENCES)))
    named = list(systems.items())
    _, theirs = PairedTest(named, {"BLEU": BLEU()}, [REFERENCES], test_type="ar", n_samples=1000)()
    assert raw == pytest.approx([result.p_value for result in theirs["BLEU"][1:]], abs=0.05)


def test_of_an_error_rate_less_is_better(write: Write, errors: str) -> None:
    worse, better = write("worse.txt", system(0.5)), write("better.txt", system(0.9))
    ref = write("ref.txt", REFERENCES)
    (metric,) = score([worse, better], ref, reward=[errors], resamples=500).metrics
    test = metric.systems[1].test
    assert metric.lower_is_better and test is not None and test.difference < 0 and test.verdict == 1
    shown = call("--hyp", worse, "--hyp", better, "--ref", ref, "--reward", errors).stdout
    assert "errors ↓" in shown and "▲" in shown.split("segments")[0] and "↓ lower is better" in shown
    assert "↓" not in call("--hyp", worse, "--ref", ref).stdout


def test_a_metric_that_applies_to_none_of_a_systems_segments_has_no_score(write: Write, errors: str) -> None:
    hyp, empty, ref = write("a.txt", system(0.5)), write("b.txt", [""] * len(REFERENCES)), write("r.txt", REFERENCES)
    found = score([hyp, empty], ref, reward=[errors, "bleu"], resamples=100)
    none, bleu = (metric.systems[1] for metric in found.metrics)
    assert (none.score, none.interval, none.test) == (None, None, None) and set(none.segments) == {None}
    assert bleu.score == 0.0 and bleu.test is not None
    assert found.family == 2  # planned before it was seen
    assert bleu.test.p_holm == min(1.0, 2 * bleu.test.p)
    words = ["--hyp", hyp, "--hyp", empty, "--ref", ref, "--reward", errors]
    assert "–" in call(*words).stdout and call(*words, "--per-line").stdout.splitlines()[2].endswith("b.txt\t")
    assert json.loads(call(*words, "--json").stdout)["metrics"][0]["systems"][1]["score"] is None


def test_a_system_that_leaves_out_what_is_hard_is_not_better(
    write: Write, errors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two systems are compared where the metric applies to both."""
    monkeypatch.setenv("COLUMNS", "1000")  # long names of folders are not broken
    whole = system(0.6)
    wrong = [sum(map(str.__ne__, h.split(), r.split())) for h, r in zip(whole, REFERENCES, strict=True)]
    picky = [text if errors < 2 else "" for text, errors in zip(whole, wrong, strict=True)]
    paths, ref = [write("whole.txt", whole), write("picky.txt", picky)], write("r.txt", REFERENCES)
    (metric,) = score(paths, ref, reward=[errors], resamples=500).metrics
    first, second = metric.systems
    kept = sum(map(bool, picky))
    assert (first.applies, second.applies) == (120, kept) and 20 < kept < 100
    assert first.score is not None and second.score is not None and second.score < first.score / 2
    test = second.test
    assert test is not None and (test.difference, test.p, test.examples) == (0.0, 1.0, kept)
    words = ["--hyp", paths[0], "--hyp", paths[1], "--ref", ref, "--reward", f"{errors},bleu"]
    said = " ".join(call(*words).stdout.split())
    assert f"errors applies to 120 of 120 segments ({paths[0]}), to {kept} ({paths[1]}); two are compared" in said
    assert "BLEU applies" not in said
    alone = " ".join(call("--hyp", paths[1], "--ref", ref, "--reward", errors).stdout.split())
    assert f"errors applies to {kept} of 120 segments below" in alone


def test_a_resample_without_a_segment_that_counts_is_no_perfect_one(write: Write, errors: str) -> None:
    """Of four segments the metric applies to one, which is all wrong: about a third of the resamples lack it."""
    hyp, ref = write("h.txt", ["x", "", "", ""]), write("r.txt", ["a", "b", "c", "d"])
    (metric,) = score(hyp, ref, reward=errors, resamples=200).metrics
    assert (metric.systems[0].score, metric.systems[0].interval) == (100.0, (100.0, 100.0))


def test_many_systems_are_readable_on_a_narrow_terminal(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"the_system_number_{number}_and_a_long_file_name.hyp.txt" for number in range(12)]
    paths = [write(name, system(0.4 + number / 30, number)) for number, name in enumerate(names)]
    ref = write("r.txt", REFERENCES)
    words = [word for path in paths for word in ("--hyp", path)]
    shown = call(*words, "--ref", ref, "--reward", "bleu,chrf(word_order=2)").stdout
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown
    tables, _ = shown.split("120 segments")
    count = tables.count("BLEU ")
    assert 1 < count < 12 and count == tables.count("chrF++ ") == tables.count("───\n")
    found = score(paths, ref, reward=["bleu", "chrf(word_order=2)"])
    lines = tables.splitlines()
    for metric in found.metrics:
        for its in metric.systems:
            assert its.interval is not None
            assert f"{its.score:.1f}" in tables and "–".join(f"{end:.1f}" for end in its.interval) in tables
            if its.test is not None:
                low, high = its.test.interval
                ends = f"{low:.1f} to {high:.1f}" if low < 0 else f"{low:.1f}–{high:.1f}"
                assert any(f"{its.test.difference:+.1f} ({ends})" in line for line in lines)


def test_notes_name_both_languages_and_where_the_number_of_references_is(write: Write) -> None:
    hyp, refs = write("h.txt", ["h"]), [write("r.txt", ["r"]), write("s.txt", ["s"])]
    words = ["--hyp", hyp, "--source-language", "fr", "--target-language", "de"]
    given = [word for ref in refs for word in ("--ref", ref)]
    said = " ".join(call(*words, *given).stdout.split())
    assert "1 segment, 2 references, source language fr, target language de" in said
    assert "without their nrefs: the number of references is that above, 2" in said
    assert "nrefs" not in call(*words, *given, "--reward", "binary").stdout


def test_a_reward_may_be_one_text(write: Write) -> None:
    hyp, ref = write("h.txt", system(0.7)), write("r.txt", REFERENCES)
    found = score(hyp, ref, reward="chrf(word_order=2), bleu(case=false)", resamples=10)
    assert [metric.metric for metric in found.metrics] == ["chrf(word_order=2)", "bleu(case=false)"]
    with pytest.raises(UsageError, match="name a reward"):
        score(hyp, ref, reward=" ,")


@pytest.mark.parametrize("resamples", [0, -1])
def test_a_number_of_resamples_that_is_none_is_refused(resamples: int) -> None:
    with pytest.raises(UsageError, match=rf"resamples={resamples}: give a whole number"):
        score_texts({"a": ["h"]}, [["r"]], resamples=resamples)


def test_a_path_is_the_same_file_as_its_name(write: Write) -> None:
    hyp = write("h.txt", ["h"])
    with pytest.raises(UsageError, match=r"h\.txt is given twice"):
        score([hyp, Path(hyp)], hyp)


def test_rewards_see_what_is_given_and_nothing_else(tmp_path: Path, write: Write) -> None:
    (tmp_path / "mine.py").write_text(
        "def given(completions, references, source, language, id):\n"
        "    return [float((r, s, l, i) == (['x', 'y'], 'q', 'de-AT', 'line 1')) for r, s, l, i in"
        " zip(references, source, language, id)]\n"
        "def short(completions):\n"
        "    return [-len(text) for text in completions]\n"
    )
    hyp, refs, src = write("h.txt", ["h"]), [write("r1.txt", ["x"]), write("r2.txt", ["y"])], write("s.txt", ["q"])
    found = score(hyp, refs, src, [f"{tmp_path}/mine.py:given"], target_language="de-AT", resamples=10)
    assert corpus(found) == [1.0]
    alone = score(hyp, reward=[f"{tmp_path}/mine.py:short"], resamples=10)
    assert corpus(alone) == [-1.0] and alone.references == 0


@pytest.mark.parametrize("need", ["reference", "source", "audio"])
def test_what_a_reward_needs_and_there_is_not_is_told(tmp_path: Path, write: Write, need: str) -> None:
    (tmp_path / "needy.py").write_text(
        "from speechbench.rewards import Reward\n"
        "class Needy(Reward):\n"
        f"    needs = frozenset({{'{need}'}})\n"
        "    def score(self, batch):\n"
        "        return [1.0] * len(batch.hypotheses)\n"
    )
    remedy = {"reference": "--ref FILE", "source": "--src FILE", "audio": "`speechbench eval`"}[need]
    hyp, ref = write("h.txt", ["h"]), write("r.txt", ["r"])
    words = ["--hyp", hyp, "--reward", f"{tmp_path}/needy.py:Needy"]
    lacking = call(*words, *([] if need == "reference" else ["--ref", ref]))
    assert lacking.exit_code == 2 and f"Needy needs {'references' if need == 'reference' else 'the'}" in lacking.stderr
    assert remedy in lacking.stderr
    if need != "audio":
        assert call(*words, "--ref", ref, "--src", ref).exit_code == 0


def test_what_plain_files_cannot_measure_is_refused(write: Write) -> None:
    hyp, ref = write("h.txt", ["h"]), write("r.txt", ["r"])
    for reward, said in (("confidence", "log-probabilities"), ("slots", "plain files"), ("blue", "did you mean")):
        result = call("--hyp", hyp, "--ref", ref, "--reward", reward)
        assert result.exit_code == 2 and said in result.stderr and len(result.stderr.splitlines()) == 1


def test_files_that_do_not_fit_are_told(write: Write) -> None:
    hyp, ref = write("h.txt", ["h", "i"]), write("r.txt", ["r"])
    for words, said in (
        (["--hyp", hyp, "--ref", ref], "r.txt has 1 line and"),
        (["--hyp", ref, "--ref", ref, "--src", hyp], "line 2 of"),
        (["--hyp", "-", "--ref", "-"], "standard input can be read once"),
        (["--hyp", hyp, "--hyp", hyp, "--ref", hyp], "is given twice"),
        (["--hyp", f"{hyp}x", "--ref", ref], "there is no file"),
        (["--ref", ref], "--hyp"),
    ):
        result = call(*words)
        assert result.exit_code == 2 and said in result.stderr, words
    with pytest.raises(UsageError, match=r"list 1 of references has 1 line and"):
        score_texts({"a": ["h", "i"]}, [["r"]])
    with pytest.raises(UsageError, match="name hypotheses"):
        score([], ref)
    with pytest.raises(UsageError, match="name a reward"):
        score(hyp, hyp, reward=[])


def test_the_command_prints_scores_intervals_and_signatures(write: Write) -> None:
    hyp, ref = write("h.txt", system(0.7)), write("r.txt", REFERENCES)
    shown = call("--ref", ref, "--hyp", "-", stdin="\n".join(system(0.7))).stdout
    found = score(hyp, ref)
    for metric in found.metrics:
        (its,) = metric.systems
        assert its.interval is not None and metric.signature["metric"] in shown
        assert f"{its.score:.1f}" in shown and "–".join(f"{end:.1f}" for end in its.interval) in shown
    assert "standard input" in shown and "120 segments, 1 reference, source language en, target language en" in shown
    assert "Holm" not in shown


def test_rewards_are_named_once_or_more_and_measured_once(write: Write) -> None:
    hyp, ref = write("h.txt", system(0.7)), write("r.txt", REFERENCES)
    words = ["--hyp", hyp, "--ref", ref, "--json"]
    content = json.loads(call(*words, "--reward", "chrf,bleu", "--reward", "chrf(word_order=2),bleu").stdout)
    assert [metric["metric"] for metric in content["metrics"]] == ["chrf", "bleu", "chrf(word_order=2)"]
    default = json.loads(call(*words).stdout)
    assert [metric["metric"] for metric in default["metrics"]] == ["bleu", "chrf"]


def test_json_and_lines_hold_the_figures(write: Write) -> None:
    paths = [write("a.txt", system(0.6)), write("b.txt", system(0.8, 1))]
    ref = write("r.txt", REFERENCES)
    found = score(paths, ref, target_language="de")
    words = ["--hyp", paths[0], "--hyp", paths[1], "--ref", ref, "--target-language", "de"]
    content = json.loads(call(*words, "--json", "--per-line").stdout)
    assert (content["target_language"], content["family"], content["segments"]) == ("de", 2, 120)
    bleu, expected = content["metrics"][0]["systems"][1], found.metrics[0].systems[1]
    assert expected.test is not None
    assert (bleu["system"], bleu["score"], bleu["segments"]) == (paths[1], expected.score, list(expected.segments))
    assert (bleu["test"]["p_holm"], bleu["test"]["against"]) == (expected.test.p_holm, paths[0])
    assert "segments" not in json.loads(call(*words, "--json").stdout)["metrics"][0]["systems"][1]
    lines = [line.split("\t") for line in call(*words, "--per-line").stdout.splitlines()]
    assert lines[0] == ["line", "system", "bleu", "chrf"] and len(lines) == 1 + 2 * 120
    for place, (name, system_) in enumerate(zip(paths, found.metrics[1].systems, strict=True)):
        own = lines[1 + place :: 2]
        assert [line[:2] for line in own] == [[str(row), name] for row in range(1, 121)]
        assert [float(line[3]) for line in own] == pytest.approx(system_.segments, abs=1e-4)


def test_two_systems_are_shown_with_difference_and_p(write: Write) -> None:
    paths = [write("a.txt", system(0.6)), write("b.txt", system(0.8, 1))]
    ref = write("r.txt", REFERENCES)
    for hyps, mark in ((paths, "▲"), (paths[::-1], "▼")):
        test = score(hyps, ref).metrics[0].systems[1].test
        assert test is not None
        shown = call("--hyp", hyps[0], "--hyp", hyps[1], "--ref", ref).stdout
        table, notes = shown.split("120 segments")
        assert f"{test.difference:+.1f} (" in table and f"p={test.p_holm:.2g}" in table and mark in table
        assert "Holm over 2 tests" in " ".join(notes.split())


def test_scoring_with_light_rewards_loads_no_torch(write: Write) -> None:
    hyp, ref = write("h.txt", ["h"]), write("r.txt", ["r"])
    script = (
        "import sys\nfrom speechbench.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules], file=sys.stderr)"
    )
    words = ["score", "--hyp", hyp, "--ref", ref, "--quiet"]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n" and "BLEU" in done.stdout
