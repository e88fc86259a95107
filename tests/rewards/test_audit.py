"""`speechbench rewards audit`: what the control rows score, and what that says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from click.testing import CliRunner, Result
from rich.console import Console

from speechbench.benchmarks.loading import load_benchmark
from speechbench.cli import main
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.printing import rewards as printing_rewards
from speechbench.progress import Progress
from speechbench.rewards.audit import ALSO, Audit, audit
from speechbench.rewards.control_rows import GOLD, NEAR_MISS, ROWS, control_rows

OWN = '''
from speechbench.rewards import Reward

def length(completions, **columns):
    """Pays for every character."""
    return [len(text) / 1000 for text in completions]

def flat(completions, **columns):
    return [0.5 for text in completions]

def sometimes(completions, id, **columns):
    return [float(bool(text)) if name[-1] in "02468" else None for text, name in zip(completions, id)]

sometimes.range = (0.0, 1.0)

def hardly(completions, **columns):
    return [0.5 if text else 0.5004 for text in completions]

def slightly(completions, **columns):
    return [0.5 if text else 0.5006 for text in completions]

hardly.range = slightly.range = (0.0, 1.0)

def never(completions, **columns):
    return [None for text in completions]

class Braggart(Reward):
    """Says that gold scores 1."""
    display = "braggart"
    maximum = 1.0

    def score(self, batch):
        return [0.9 if text.startswith("D") else float(text in example.references)
                for text, example in zip(batch.hypotheses, batch.examples)]

class Spy(Reward):
    """Keeps what it is asked."""
    display = "spy"
    batches = []
    prepared = []

    def prepare(self, examples):
        self.prepared.append(list(examples))

    def score(self, batch):
        self.batches.append(batch)
        return [seed / 1000 for seed in batch.seeds]
'''


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["rewards", "audit", *words])


def parsed(*words: str) -> dict[str, Any]:
    result = call(*words, "--json")
    assert result.exit_code == 0, result.output
    content: dict[str, Any] = json.loads(result.output)
    return content


def only(found: Audit) -> tuple[Any, str]:
    """The one reward's cells, and all findings in one text."""
    (reward,) = found.rewards
    return reward.cells, "\n".join(found.findings)


def test_figures_are_means_over_examples_and_differences_to_the_near_miss() -> None:
    found = audit(["bleu"], limit=20)
    cells, _ = only(found)
    examples = load_benchmark("covost2-mini").load("test", 20)
    rows = control_rows(examples, load_benchmark("covost2-mini"))
    scores = {
        name: [
            sacrebleu.sentence_bleu(str(text), list(own.references)).score
            for text, own in zip(row, examples, strict=True)
        ]
        for name, row in rows.items()
    }
    for name, row in scores.items():
        assert cells[name].mean == pytest.approx(sum(row) / 20)
        assert cells[name].examples == 20
        if name in (GOLD, NEAR_MISS):
            continue
        over = [a - b for a, b in zip(row, scores[NEAR_MISS], strict=True)]
        assert cells[name].over_near_miss == pytest.approx(sum(over) / 20)
        assert cells[name].share_over_near_miss == sum(d > 1e-6 for d in over) / 20
    assert cells[GOLD].over_near_miss is None and cells[NEAR_MISS].over_near_miss is None


def test_a_reward_that_pays_for_length_is_caught() -> None:
    cells, said = only(audit(["./own.py:length"], limit=10))
    repeated = cells["ten times repeated"]
    assert repeated.beats_near_miss and repeated.share_over_near_miss == 1 and repeated.examples_over_gold == 10
    assert not cells["truncated"].beats_near_miss and not cells["empty"].beats_near_miss
    assert "length pays more than for the near-miss for ten times repeated" in said
    assert "length pays more than for gold, on average, for" in said and "on 10 of 10 examples" in said
    assert "No row is better than gold" not in said


def test_what_a_reward_cannot_tell_apart_is_a_tie() -> None:
    cells, said = only(audit(["./own.py:flat"], limit=10))
    assert all(
        cells[name].ties_near_miss and not cells[name].beats_near_miss for name in cells.keys() - {GOLD, NEAR_MISS}
    )
    assert "flat pays as much as for the near-miss for truncated, ten times repeated," in said
    assert "No row is better than gold on average under flat" in said


def test_gold_without_the_declared_maximum_is_a_bug() -> None:
    found = audit(["./own.py:Braggart", "binary"], limit=10)
    braggart, binary = found.rewards
    examples = load_benchmark("covost2-mini").load("test", 10)
    off = [example.id for example in examples if example.references[0].startswith("D")]
    assert 1 < len(off) < 10 and list(braggart.gold_off_maximum) == off
    assert set(braggart.gold_off_maximum.values()) == {90.0}
    assert f"braggart declares that gold scores 100, but on {len(off)} of 10 examples" in found.findings[0]
    assert f"{off[0]} (90)" in found.findings[0]
    assert binary.maximum == 1.0 and not binary.gold_off_maximum
    assert "Gold has the declared maximum on every example under binary." in found.findings


def test_where_a_reward_does_not_apply_counts_for_nothing() -> None:
    cells, said = only(audit(["./own.py:sometimes"], limit=9))
    assert (cells[GOLD].mean, cells[GOLD].examples) == (100.0, 5)
    assert cells["empty"].over_near_miss == -100.0 and cells["full stop"].ties_near_miss
    assert "sometimes applies to 5 of 9 examples." in said


def test_a_reward_that_applies_to_nothing_is_refused_where_it_is_named(few_manifest: Path) -> None:
    result = call("--rewards", "./own.py:never", "--limit", "3")
    assert result.exit_code == 1 and "never does not apply here: it gave no score to any of 27 hyp" in result.output
    metrics = f"manifest(path={few_manifest}, metrics='./own.py:never,bleu')"
    found = audit(benchmark=metrics)
    assert "./own.py:never" not in [reward.spec for reward in found.rewards]
    assert any(finding.startswith("./own.py:never is left out: reward ./own.py:never") for finding in found.findings)
    with pytest.raises(SpeechbenchError, match="no score to any of"):
        audit(["./own.py:never"], metrics)


def test_a_reward_may_be_one_text() -> None:
    assert [reward.spec for reward in audit("bleu, chrf(word_order=2)", limit=2).rewards] == [
        *("bleu", "chrf(word_order=2)")
    ]


def test_what_is_not_seen_to_differ_is_a_tie() -> None:
    """No mark stands at figures that look the same."""
    for spec, is_tie in (("./own.py:hardly", True), ("./own.py:slightly", False)):
        cells, said = only(audit([spec], limit=4))
        assert cells["empty"].mean == pytest.approx(50.04 if is_tie else 50.06)
        assert cells["empty"].ties_near_miss == is_tie and cells["empty"].beats_near_miss != is_tie
        assert ("pays more than for gold" in said) != is_tie
        assert "by 0.0" not in said and "-0.0" not in said


def test_one_is_one() -> None:
    result = call("--rewards", "bleu,./own.py:length", "--limit", "1")
    assert "mean reward over 1 example of test" in result.output and "on 1 of 1 example)" in result.output
    assert "1 examples" not in result.output


def test_an_examples_rows_are_one_group_and_seeds_are_told_apart() -> None:
    from speechbench.registry import REWARDS

    spy = REWARDS.get("./own.py:Spy")
    audit(["./own.py:Spy"], limit=40)
    (prepared,) = spy.prepared
    shown = [(text, own) for batch in spy.batches for text, own in zip(batch.hypotheses, batch.examples, strict=True)]
    assert len(prepared) == 40 and len(spy.batches) > 1
    rows = control_rows(prepared, load_benchmark("covost2-mini"))
    assert [text for text, _ in shown] == [rows[name][at] for at in range(40) for name in rows]
    assert all(own is prepared[at // len(rows)] for at, (_, own) in enumerate(shown))
    assert [seed for batch in spy.batches for seed in batch.seeds] == list(range(len(shown)))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("confidence", "reward confidence needs the log-probabilities of the model"),
        ("sum(bleu + chrf, normalize=group)", "group"),
        ("blue", "did you mean 'bleu'?"),
        ("comet(model=no/where/model.ckpt)", "there is no checkpoint no/where/model.ckpt"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(spec: str, said: str) -> None:
    result = call("--rewards", f"bleu,{spec}", "--limit", "2")
    assert result.exit_code in (1, 2) and said in result.output and "Traceback" not in result.output
    assert result.output.startswith("speechbench: ")


def test_an_empty_split_is_an_error(few_manifest: Path) -> None:
    lines = [line for line in few_manifest.read_text().splitlines() if '"split": "test"' not in line]
    few_manifest.write_text("\n".join(lines))
    with pytest.raises(SpeechbenchError):
        audit(["bleu"], f"manifest(path={few_manifest})")
    with pytest.raises(UsageError, match="unknown split 'tset'"):
        audit(["bleu"], split="tset")


def test_without_names_the_metrics_and_some_overlap_rewards_are_audited(few_manifest: Path) -> None:
    found = audit(benchmark=f"manifest(path={few_manifest}, metrics='slots,bleu,binary')")
    assert [reward.spec for reward in found.rewards] == list(dict.fromkeys(["bleu", "binary", *ALSO]))
    assert any(finding.startswith("slots is left out: ") for finding in found.findings)
    with pytest.raises(UsageError, match="slots knows only the grammar"):
        audit(["slots"], f"manifest(path={few_manifest})")


def test_rows_that_some_examples_lack_are_counted(few_manifest: Path) -> None:
    found = audit(["bleu"], f"manifest(path={few_manifest})")
    assert found.examples == 4 and NEAR_MISS not in found.rows  # all have the same reference
    said = "\n".join(found.findings)
    assert "The row copied source applies to 3 of 4 examples." in said and "There is no near-miss" in said
    assert found.rewards[0].cells["copied source"].examples == 3
    assert found.rewards[0].cells["truncated"].over_near_miss is None


def test_it_tells_how_far_it_is() -> None:
    class Listener(Progress):
        def __init__(self) -> None:
            self.told: list[object] = []

        def start(self, what: str, number: int, total: int) -> None:
            self.told.append((what, number, total))

        def advance(self, what: str, done: int, total: int) -> None:
            self.told.append((done, total))

    heard = Listener()
    audit(["bleu", "chrf"], limit=20, progress=heard)
    assert heard.told == [("BLEU", 1, 2), (16, 20), (20, 20), ("chrF", 2, 2), (16, 20), (20, 20)]


def test_the_table_fits_eighty_columns_and_its_marks_need_no_colour() -> None:
    found = audit(["bleu", "chrf", "chrf(word_order=2)", "slots", "binary", "random", "./own.py:length"], limit=10)
    found = replace(found, rewards=(*found.rewards, replace(found.rewards[0], display="a long name of a column")))
    console = Console(width=80, no_color=True)
    with console.capture() as captured:
        printing_rewards.audit(found, console, as_json=False)
    shown = captured.get()
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert shown.count("\ngold ") == 2  # two tables
    repeated = next(line for line in shown.splitlines() if line.startswith("ten times repeated"))
    assert repeated.split()[3:][3] == "100.0▲"  # slots
    assert next(line.count("=") for line in shown.splitlines() if line.startswith("empty")) == 1  # binary
    wide = Console(width=200)
    with wide.capture() as captured:
        printing_rewards.audit(found, wide, as_json=False)
    assert captured.get().count("\ngold ") == 1


def names(content: Sequence[dict[str, Any]]) -> list[str]:
    return [entry["display"] for entry in content]


@pytest.mark.parametrize("benchmark", ["covost2-mini", "librisqa-mini"])
def test_the_command_on_the_embedded_corpora(benchmark: str) -> None:
    rewards = "bleu,chrf,rougeL,ter,binary,slots,comet,0.7*bleu + 0.3*comet"
    content = parsed("--rewards", rewards, "--benchmark", benchmark, "--limit", "30")
    assert (content["benchmark"], content["split"], content["examples"]) == (benchmark, "test", 30)
    assert set(content["rows"]) == set(ROWS) - ({"copied question"} if benchmark == "covost2-mini" else set())
    by_spec = {reward["spec"]: reward for reward in content["rewards"]}
    for spec, reward in by_spec.items():
        cells = reward["cells"]
        assert reward["signature"], spec
        assert cells[GOLD]["mean"] == pytest.approx(100) or "comet" in spec
        assert all(cell["over_gold"] <= 0 for name, cell in cells.items() if name != GOLD), spec
        assert cells[NEAR_MISS]["mean"] < cells[GOLD]["mean"]
        assert not reward["gold_off_maximum"]
        expected = {"slots": {"ten times repeated"}}.get(spec, set())
        if spec == "slots" and benchmark == "librisqa-mini":
            expected = {"ten times repeated", "copied source"}  # it states all that the answer states
        assert {name for name, cell in cells.items() if cell["beats_near_miss"]} == expected, spec
        ties = set(cells) - {GOLD, NEAR_MISS} if spec == "binary" else set()
        assert {name for name, cell in cells.items() if cell["ties_near_miss"]} == ties, spec
    for spec in ("bleu", "chrf", "rougeL", "ter", "binary"):
        assert by_spec[spec]["maximum"] == 1.0, spec
    assert by_spec["ter"]["lower_is_better"] and names(content["rewards"])[0] == "BLEU"


def test_the_command_as_it_is_called_first() -> None:
    result = call("--limit", "10", "--quiet")
    assert result.exit_code == 0, result.output
    assert "covost2-mini · control rows, mean reward over 10 examples of test" in result.output
    for title in ("BLEU", "chrF", "comet[tiny]", "binary", "slots", "TER", *ROWS.keys() - {"copied question"}):
        assert title in result.output
