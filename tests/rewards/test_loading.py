"""From spec to reward: registered, from a file, class or function, with the benchmark's say."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import UsageError
from speechbench.grammar import parse, parse_expression
from speechbench.registry import REWARDS
from speechbench.rewards import Batch, Reward, load_reward
from speechbench.rewards.loading import identity, is_own, resolve, row_name
from speechbench.specs import Spec

BREVITY = """
def brevity(completions, longest=10, **columns):
    return [max(0.0, 1 - len(text) / longest) for text in completions]

brevity.range = (0.0, 1.0)
"""
LENGTH = """
from speechbench.errors import UsageError
from speechbench.grammar import parse, parse_expression
from speechbench.rewards import Reward

class Length(Reward):
    def __init__(self, unit=1):
        self.unit = 10 / unit

    def score(self, batch):
        return [len(text) / self.unit for text in batch.hypotheses]

    def signature(self):
        return {"name": "length", "unit": self.unit}

    def check(self, benchmark):
        raise UsageError(f"not on {benchmark.name}")

class Half(Reward):
    pass

number = 3
"""


class Corpus(Benchmark):
    name = "corpus"
    comet_checkpoint = "tiny"

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return []


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.py"
    file.write_text(text)
    return file


def score(reward: Reward, hypothesis: str) -> float | None:
    return reward.score(Batch.of([hypothesis], [Example("1", None, "", ("Ja.",), None, "en", "de")]))[0]


@pytest.mark.parametrize("spec", ["bleu", "bleu(tokenize=char)", "chrf(word_order=2)", "binary", "constant", "random"])
def test_registered_reward_keeps_its_spec(spec: str) -> None:
    reward = load_reward(spec, Corpus())
    assert str(reward.spec) == spec
    assert load_reward(reward.spec, Corpus()).signature() == reward.signature() != {}
    assert reward.display


def test_ten_line_function_in_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, BREVITY)
    reward = load_reward(f"{file}:brevity")
    assert score(reward, "12345") == 0.5
    assert (reward.display, reward.range, reward.scale) == ("brevity", (0.0, 1.0), 100.0)
    shorter = load_reward(f"{file}:brevity(longest=20)")
    assert score(shorter, "12345") == 0.75
    assert shorter.display == "brevity(longest=20)"
    assert shorter.signature() != reward.signature()


def test_class_in_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, LENGTH)
    reward = load_reward(f"{file}:Length(unit=2)")
    assert score(reward, "1234") == 0.8
    assert reward.display == "Length(unit=2)"
    with pytest.raises(UsageError, match="not on corpus"):
        load_reward(f"{file}:Length", Corpus())


@pytest.mark.parametrize(("text", "name"), [(BREVITY, "brevity"), (LENGTH, "Length")])
def test_edited_file_is_a_new_reward(tmp_path: Path, text: str, name: str) -> None:
    first = load_reward(f"{write(tmp_path, text)}:{name}").signature()
    assert load_reward(f"{write(tmp_path, text)}:{name}").signature() == first
    assert load_reward(f"{write(tmp_path, text + '# edited')}:{name}").signature() != first


def test_reward_from_a_file_can_be_pickled(tmp_path: Path) -> None:
    reward = load_reward(f"{write(tmp_path, LENGTH)}:Length")
    again = pickle.loads(pickle.dumps(reward))
    assert again.signature() == reward.signature() and score(again, "1") == score(reward, "1")


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("number", "is of type int: it should be a subclass"),
        ("Half", "the class lacks score"),
        ("Length(unit=0)", "cannot be made: ZeroDivisionError"),
        ("Length(units=1)", "'units'"),
        ("Length(1, 2)", "too many positional"),
        ("UsageError", "is the class UsageError"),
    ],
)
def test_what_is_no_reward(tmp_path: Path, attribute: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_reward(f"{write(tmp_path, LENGTH)}:{attribute}")


def test_registered_function() -> None:
    def registered(completions: list[str]) -> list[float]:
        return [float(len(text)) for text in completions]

    try:
        REWARDS.register("registered-function")(registered)
        reward = load_reward("registered-function")
        assert score(reward, "123") == 3.0
        assert reward.display == "registered-function"
    finally:
        REWARDS._loaded.pop("registered-function", None)


def test_comet_means_the_benchmarks_checkpoint() -> None:
    assert resolve(parse("comet"), Corpus()) == Spec("comet", {"model": "tiny"})
    assert resolve(parse("comet(model=other)"), Corpus()) == parse("comet(model=other)")
    assert resolve(parse("comet")) == parse("comet")
    assert resolve(parse("bleu"), Corpus()) == parse("bleu")
    assert str(resolve(parse("shuffled(comet)"), Corpus())) == "shuffled(comet(model=tiny))"
    weighted = resolve(parse_expression("0.7*bleu + 0.3*comet*language"), Corpus())
    assert str(weighted) == "0.7*bleu + 0.3*comet(model=tiny)*language"
    with pytest.raises(UsageError, match=r"comet\(model=tiny\) stands twice"):
        resolve(parse_expression("comet + comet(model=tiny)"), Corpus())


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("bleu(char)", "bleu(tokenize=char)"),
        ("comet(other, 8)", "comet(batch_size=8, model=other)"),
        ("shuffled( chrf( 2 ) )", "shuffled(chrf(word_order=2))"),
        ("chrf(2) + bleu(char)", "bleu(tokenize=char) + chrf(word_order=2)"),
        ("chrf(word_order=0)", "chrf"),
        ("constant(0.5)", "constant"),
        ("bleu(tokenize=none, case=true)", "bleu"),
    ],
)
def test_reward_has_one_spelling(text: str, canonical: str) -> None:
    assert str(resolve(parse_expression(text))) == canonical
    assert resolve(parse_expression(canonical)) == parse_expression(canonical)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("bleu(tokenize=char)", "bleu(tokenize=char)"),
        ("comet(model=tiny)", "comet"),
        ("comet(batch_size=8, model=tiny)", "comet(batch_size=8)"),
        ("./a/mine.py:brevity(longest=20)", "brevity(longest=20)"),
        ("./mine.py:comet(model=x)", "comet(model=x)"),
        ("shuffled(comet(model=tiny))", "shuffled(comet)"),
        ("shuffled(./a/mine.py:brevity)", "shuffled(brevity)"),
        ("shuffled(./mine.py:brevity(longest=20))", "shuffled(brevity(longest=20))"),
        ("0.5*comet(model=tiny) + ./a/mine.py:brevity", "0.5*comet + brevity"),
        ("sum(comet(model=tiny), bleu, normalize=group)", "sum(bleu, comet, normalize=group)"),
    ],
)
def test_row_name(text: str, name: str) -> None:
    assert row_name(parse_expression(text)) == name


def test_which_rewards_are_from_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, BREVITY)
    assert is_own(parse(f"{file}:brevity")) and is_own(parse(f"shuffled({file}:brevity(longest=3))"))
    assert is_own(parse_expression(f"2*bleu*{file}:brevity"))
    assert not is_own(parse_expression("bleu + chrf"))
    assert not is_own(parse("bleu")) and not is_own(parse("shuffled(bleu)"))


def test_parameters_of_a_function_need_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"reward brevity\(5\): a function's parameters need their names"):
        load_reward(f"{write(tmp_path, BREVITY)}:brevity(5)")


def test_identity_leaves_out_what_cannot_change_a_score(tmp_path: Path) -> None:
    same, other = tmp_path / "here", tmp_path / "there"
    for folder in (same, other):
        folder.mkdir()
        write(folder, BREVITY)
    names = {identity(load_reward(f"{folder}/mine.py:brevity + 2*bleu", Corpus())) for folder in (same, other)}
    assert names == {"2*bleu + brevity"}
    asked = "judge(url=http://localhost:1/v1, model=m{})"
    slow, quick, cool = (
        load_reward(asked.format(more)) for more in (", retries=8, timeout=120", ", concurrency=2", ", temperature=0.5")
    )
    assert identity(slow) == identity(quick) != identity(cool)


def test_order_of_a_sum_does_not_depend_on_folders(tmp_path: Path) -> None:
    spellings = set()
    for name in ("a dir", "z dir"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, BREVITY)
        spellings.add(row_name(load_reward(f"0.5*bleu + {tmp_path / name / 'mine.py'}:brevity", Corpus()).spec))
    assert len(spellings) == 1
