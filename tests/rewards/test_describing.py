"""`speechbench rewards list` and `show`: what the scorers are, as their code says it."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from click.testing import CliRunner, Result

from speechbench import hub
from speechbench.cli import main
from speechbench.errors import UsageError
from speechbench.registry import REWARDS
from speechbench.rewards.base import Reward
from speechbench.rewards.describing import listing, missing_packages, show
from speechbench.rewards.overlap import Chrf

BUILT_IN = sorted(REWARDS._lazy)

OWN = '''
from speechbench.rewards import Reward

def vowels(completions, question, weight=1.0, of="aeiou", source=None, **columns):
    """The share of vowels.

    Rarely useful.

    Args:
        weight: In front,
            of the share.
        of: Which letters (they count
            in lower case).

    Raises:
        ValueError: Never.
    """
    return [weight * sum(c in of for c in text) / max(1, len(text)) for text in completions]

class Silent(Reward):
    display = "silent"

    def __init__(self, needed_one):
        pass

    def score(self, batch):
        return [0.0] * len(batch.hypotheses)

class Picky(Reward):
    """Goes only with others."""
    display = "picky"

    def __init__(self, level=1):
        self.maximum = float(level)

    def score(self, batch):
        return [0.0] * len(batch.hypotheses)

    def check(self, benchmark):
        from speechbench.errors import UsageError
        raise UsageError("picky: not on " + str(benchmark.name))
'''


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["rewards", *words])


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_reward_says_what_it_is_and_what_each_parameter_does(name: str) -> None:
    plug = REWARDS.get(name)
    found = show(name)
    assert found.summary and found.summary == " ".join(plug.__doc__.partition("\n\n")[0].split())
    assert [parameter.name for parameter in found.parameters] == list(inspect.signature(plug).parameters)
    for parameter in found.parameters:
        assert parameter.text, parameter.name
        default = inspect.signature(plug).parameters[parameter.name].default
        assert (parameter.default is None) == (default is inspect.Parameter.empty)
    assert found.signature is not None or found.no_signature
    listed = listing()[name]
    assert (listed.summary, listed.family, listed.extra) == (found.summary, plug.family, plug.extra)


def test_what_is_declared_is_shown_with_the_specs_parameters() -> None:
    found = show("chrf(word_order=2)")
    reward = Chrf(word_order=2)
    assert (found.display, found.family, found.aggregate) == (reward.display, "overlap", "chrf")
    assert (found.lowest, found.highest, found.maximum, found.scale) == (*reward.range, reward.maximum, reward.scale)
    (word_order,) = [parameter for parameter in found.parameters if parameter.name == "word_order"]
    assert (word_order.default, word_order.value) == ("0", "2")
    assert found.signature == reward.signature() and sacrebleu.__version__ in str(found.signature)
    assert show("chrf").signature != found.signature
    assert show("ter").lower_is_better and not found.lower_is_better
    assert "sum" in show("0.7*bleu + 0.3*chrf").signature.values()  # type: ignore[union-attr]


def test_the_benchmark_decides_on_checkpoint_and_tokenizer(few_manifest: Path) -> None:
    found = show("comet")
    assert found.spec == "comet(model=tiny)" and found.signature is not None
    assert (found.lowest, found.highest) == (None, None)
    elsewhere = show("slots", f"manifest(path={few_manifest})")
    assert elsewhere.signature is None and "slots knows only the grammar" in elsewhere.no_signature
    chinese = few_manifest.with_name("zh.jsonl")
    chinese.write_text(few_manifest.read_text().replace('"de"', '"zh-CN"'))
    assert show("bleu").signature != show("bleu", f"manifest(path={chinese})").signature


def test_without_its_checkpoint_a_scorer_is_shown_all_the_same() -> None:
    found = show("comet(model=no/where/model.ckpt)")
    assert found.signature is None and "there is no checkpoint no/where/model.ckpt" in found.no_signature
    assert found.needs == ("reference", "source") and found.display == "COMET (no)"
    assert show("shuffled(comet(model=no/where/model.ckpt))").signature is None
    shown = call("show", "comet(model=no/where/model.ckpt)")
    assert shown.exit_code == 0 and "cannot be had: comet: there is no checkpoint" in " ".join(shown.output.split())


def test_nothing_is_downloaded_only_to_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_reach", lambda *_: pytest.fail("the hub was asked"))
    assert "is not downloaded to be looked at" in show("comet(model=Unbabel/wmt22-comet-da)").no_signature


def test_a_plain_function_has_parameters_and_columns() -> None:
    found = show("./own.py:vowels(weight=0.5)")
    assert found.summary == "The share of vowels." and found.details == ("Rarely useful.",)
    assert [(p.name, p.default, p.value, p.text) for p in found.parameters] == [
        ("weight", "1.0", "0.5", "In front, of the share."),
        ("of", "aeiou", None, "Which letters (they count in lower case)."),
    ]
    assert found.columns == ("completions", "question", "source", "*")
    assert found.family == "" and found.where == "./own.py:vowels" and found.signature is not None
    assert "question, source, all others" in call("show", "./own.py:vowels").output


def test_a_plain_function_needs_what_it_names() -> None:
    Path("equal.py").write_text("def equal(hypothesis, reference):\n    return float(hypothesis == reference)\n")
    assert show("./equal.py:equal").needs == ("reference",)
    assert "nothing but the hypothesis" not in call("show", "./equal.py:equal").output
    assert show("./own.py:vowels").needs == ()


def test_a_class_without_docstring_does_not_speak_with_its_parents_words() -> None:
    found = show("./own.py:Silent")
    assert found.summary == "" and found.details == () and Reward.__doc__
    assert "missing a required argument: 'needed_one'" in found.no_signature
    assert [(p.name, p.default, p.text) for p in found.parameters] == [("needed_one", None, "")]


def test_a_scorer_that_refuses_the_benchmark_is_described_with_its_own_values() -> None:
    found = show("./own.py:Picky(level=3)")
    assert found.maximum == 3.0 and found.signature is None
    assert found.no_signature == "picky: not on covost2-mini"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("blue", "did you mean 'bleu'?"),
        ("chrf(word_order=5)", "the word order is 0"),
        ("chrf(words=5)", "words"),
        ("./own.py:vowels(wait=1)", "did you mean 'weight'?"),
        ("bleu + blue", "did you mean 'bleu'?"),
        ("./own.py:OWN", "defines no 'OWN'"),
    ],
)
def test_a_wrong_spec_is_one_sentence_and_status_2(spec: str, said: str) -> None:
    result = call("show", spec)
    assert result.exit_code == 2 and said in result.output and "Traceback" not in result.output


def test_json_of_show_and_list() -> None:
    shown = json.loads(call("show", "chrf", "--json").output)
    assert shown["spec"] == "chrf" and shown["parameters"][0]["text"] and shown["signature"]["name"] == "chrf"
    unbounded = call("show", "comet", "--json").output
    assert json.loads(unbounded)["highest"] is None and "Infinity" not in unbounded
    listed = json.loads(call("list", "--json").output)
    assert [row["name"] for row in listed] == REWARDS.names()
    by_name = {row["name"]: row for row in listed}
    assert by_name["comet"]["needs"] == ["reference", "source"] and by_name["judge"]["extra"] == "judge"


def test_a_broken_plug_does_not_break_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("exploding.py").write_text("raise RuntimeError('no [bold] luck')\n")
    monkeypatch.syspath_prepend(".")
    monkeypatch.setitem(REWARDS._lazy, "broken", "exploding:Thing")
    found = listing()["broken"]
    assert (found.where, found.broken) == ("exploding:Thing", "RuntimeError: no [bold] luck")
    printed = call("list")
    assert printed.exit_code == 0 and "bleu" in printed.output
    assert "exploding:Thing cannot be imported: RuntimeError: no [bold] luck" in " ".join(printed.output.split())


def test_the_list_says_where_a_reward_is_from_that_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("theirs.py").write_text('def theirs(completions, **columns):\n    """Not ours."""\n    return []\n')
    monkeypatch.syspath_prepend(".")
    monkeypatch.setitem(REWARDS._lazy, "theirs", "theirs:theirs")
    monkeypatch.setenv("COLUMNS", "200")
    lines = call("list").output.splitlines()
    assert any(line.startswith("theirs ") and "Not ours. (theirs:theirs)" in line for line in lines)
    REWARDS.get("bleu")  # whether it was imported before makes no difference
    assert listing()["bleu"].where == "speechbench.rewards.overlap:Bleu"
    assert "Bleu" not in next(line for line in lines if line.startswith("bleu "))


def test_the_list_loads_nothing_heavy() -> None:
    heavy = (
        "torch",
        "transformers",
        "sacrebleu",
        "nltk",
        "lingua",
        "openai",
        "evaluate",
        "jiwer",
        "rouge_score",
        "rich",
    )
    script = (
        "import sys\nfrom speechbench.cli import main\n"
        "try: main(['rewards', 'list', '--json'])\nexcept SystemExit: pass\n"
        f"print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]" and all(not row["broken"] for row in json.loads(done.stdout))


def test_the_packages_of_an_extra_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements: dict[str, list[str]] = {
        "speechbench": [
            "always>=1", "tagged; extra == 'a'", "there>=2; extra == 'a'", "there[deep]; extra == 'b'",
            "elsewhere; sys_platform == 'nowhere' and extra == 'a'", "old; python_version < '3.0'",
        ],
        "there": ["hidden; extra == 'deep'", "other; extra == 'high'"],
    }  # fmt: skip

    def version(name: str) -> str:
        if name != "there":
            raise importlib.metadata.PackageNotFoundError(name)
        return "2"

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requirements[name])
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert missing_packages("") == ()
    assert missing_packages("a") == ("tagged",)
    assert missing_packages("b") == ("hidden",)
    assert missing_packages("a,b") == ("hidden", "tagged")

    def unknown(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", unknown)
    assert missing_packages("a") is None


def test_there_is_no_such_benchmark() -> None:
    with pytest.raises(UsageError, match="unknown benchmark 'covost'"):
        show("bleu", "covost")
