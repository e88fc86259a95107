"""The reward `evaluate`, against the library's own `compute` on scripts that are written here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.rewards.base import Batch
from speechbench.rewards.hf_evaluate import Evaluate
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import measure
from speechbench.specs import Spec

pytestmark = pytest.mark.slow  # the library alone takes ten seconds to import

TEXT, TEXTS = 'datasets.Value("string")', 'datasets.Sequence(datasets.Value("string"))'
Writer = Callable[..., str]


def example(*references: str, source: str | None = None, name: str = "e") -> Example:
    return Example(name, None, "", references, source, "en", "en")


HYPOTHESES = ["two cats", "a cat", "two red cats sleep", "dogs"]
EXAMPLES = [example("two cats", "a pair of cats"), example("a cat"), example("two cats", "red"), example("cats")]
BATCH = Batch.of(HYPOTHESES, EXAMPLES)


def of_library(
    evaluate_library: ModuleType, path: str, field: str, references: list[Any], **options: Any
) -> list[float]:
    metric = evaluate_library.load(path)
    return [
        float(metric.compute(predictions=[h], references=[r], **options)[field])
        for h, r in zip(HYPOTHESES, references, strict=True)
    ]


@pytest.mark.parametrize("options", [{}, {"power": 2}])
def test_each_hypothesis_scores_as_the_library_says(
    evaluate_library: ModuleType, write_metric: Writer, options: dict[str, Any]
) -> None:
    path = write_metric()
    expected = of_library(evaluate_library, path, "overlap", [list(e.references) for e in EXAMPLES], **options)
    reward = Evaluate(path, "overlap", **options)
    assert reward.score(BATCH) == expected
    assert (reward.needs, reward.several_references) == ({"reference"}, "pooled")


def test_a_metric_of_one_reference_gets_the_first(evaluate_library: ModuleType, write_metric: Writer) -> None:
    path = write_metric(references=TEXT)
    reward = Evaluate(path, "overlap")
    assert reward.score(BATCH) == of_library(evaluate_library, path, "overlap", [e.references[0] for e in EXAMPLES])
    assert reward.several_references == "first"


def test_of_several_declarations_the_one_with_all_references_is_taken(
    evaluate_library: ModuleType, write_metric: Writer
) -> None:
    one, all_of_them = (f'datasets.Features({{"predictions": {TEXT}, "references": {form}}})' for form in (TEXT, TEXTS))
    path = write_metric(features=f"[{one}, {all_of_them}]")
    expected = of_library(evaluate_library, path, "overlap", [list(e.references) for e in EXAMPLES])
    assert Evaluate(path, "overlap").score(BATCH) == expected


@pytest.mark.parametrize(("field", "calls"), [("each", 4), ("array", 4), ("overlap", 1)])
def test_a_list_of_values_is_computed_in_one_call(
    evaluate_library: ModuleType, write_metric: Writer, field: str, calls: int
) -> None:
    body = """
        count = len(predictions)
        array = np.array([count] * count, dtype="float32")
        return {"overlap": count, "each": [count] * count, "array": array}
"""
    reward = Evaluate(write_metric(body), field)
    assert reward.score(BATCH) == reward.score(Batch.of(HYPOTHESES, EXAMPLES)) == [calls] * 4


def test_a_list_of_values_is_the_library_s(evaluate_library: ModuleType, write_metric: Writer) -> None:
    path = write_metric()
    expected = evaluate_library.load(path).compute(
        predictions=HYPOTHESES, references=[list(e.references) for e in EXAMPLES]
    )
    assert Evaluate(path, "each").score(BATCH) == expected["each"]


def test_the_corpus_score_is_the_mean_on_the_metric_s_own_scale(
    evaluate_library: ModuleType, write_metric: Writer
) -> None:
    path = write_metric()
    reward = load_reward(f"evaluate(path={path}, field=percent, scale=100)")
    measured = measure(reward, HYPOTHESES, EXAMPLES)
    own = of_library(evaluate_library, path, "percent", [list(e.references) for e in EXAMPLES])
    assert measured.segments == own and measured.corpus == pytest.approx(np.mean(own))
    assert reward.score(BATCH) == [value / 100 for value in own]
    assert measured.display == "evaluate[mine, percent]"


def test_an_error_is_turned_round_and_clipped_as_a_reward_alone(write_metric: Writer) -> None:
    path = write_metric("        return {'mine': 0.5 * len(predictions[0].split())}")
    reward = load_reward(f"evaluate(path={path}, field=mine, lower_is_better=true)")
    assert reward.score(BATCH) == [0.0, 0.0, 0.0, 0.5]
    measured = measure(reward, HYPOTHESES, EXAMPLES)
    assert measured.lower_is_better and measured.segments == [1.0, 1.0, 2.0, 0.5] and measured.corpus == 1.125
    assert measured.display == "evaluate[mine]" and reward.range == (0.0, 1.0)
    assert Evaluate(path, "mine", scale=2, lower_is_better=True).score(BATCH) == [0.5, 0.5, 0.0, 0.75]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "result", ["float({value!r})", "[float({value!r}) if p == 'dogs' else 0.5 for p in predictions]"]
)
def test_what_is_no_finite_number_is_never_turned_into_a_score(write_metric: Writer, value: str, result: str) -> None:
    path = write_metric(f"        return {{'mine': {result.format(value=value)}}}")
    reward = Evaluate(path, "mine", lower_is_better=True)
    examples = [example("r", name=str(number)) for number in range(4)]
    which = 0 if result.startswith("float") else 3
    with pytest.raises(SpeechbenchError, match=rf"evaluate\[mine\] is {value} .*example '{which}'.*another field"):
        reward.score(Batch.of(HYPOTHESES, examples))
    with pytest.raises(SpeechbenchError, match=r"empty="):
        Evaluate(write_metric(f"        return {{'mine': float({value!r})}}", name="b.py"), "mine").score(
            Batch.of([" "], examples[:1])
        )


def test_numpy_s_numbers_are_numbers(write_metric: Writer) -> None:
    path = write_metric(
        "        return {'mine': [np.float32(0.5)] * len(predictions), 'yes': [np.bool_(True)] * len(predictions)}"
    )
    assert Evaluate(path, "mine").score(BATCH) == [0.5] * 4
    assert Evaluate(path, "yes").score(BATCH) == [1.0] * 4


def test_measuring_computes_once(write_metric: Writer, tmp_path: Path) -> None:
    path = write_metric(f"        open({str(tmp_path / 'calls')!r}, 'a').write('x')\n        return {{'mine': 1.0}}")
    measure(load_reward(f"evaluate(path={path}, field=mine)"), HYPOTHESES[:1], EXAMPLES[:1])
    # One call to tell that the value is no list, one for the score, none for the statistics.
    assert (tmp_path / "calls").read_text() == "xx"


def test_what_an_example_lacks_makes_it_none(write_metric: Writer) -> None:
    source = write_metric(
        "        return {'same': [float(a == b) for a, b in zip(predictions, sources)]}",
        references=None,
        arguments="predictions, sources",
        sources=TEXT,
    )
    reward = Evaluate(source, "same")
    examples = [example(), example("r", source="a"), example(source="b")]
    assert reward.score(Batch.of(["a", "a", "a"], examples)) == [None, 1.0, 0.0]
    assert (reward.needs, reward.several_references) == ({"source"}, "none")
    reward = Evaluate(write_metric(name="other.py"), "overlap")
    batch = Batch.of(["a", "a"], [example(), example("a")])
    assert reward.score(batch) == [None, 1.0]
    assert reward.statistics(batch).tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert reward.score(Batch.of([], [])) == []


def test_what_a_script_needs_is_known_when_its_reward_is_made(write_metric: Writer) -> None:
    alone = write_metric(
        "        return {'words': len(predictions[0].split())}",
        references=None,
        arguments="predictions",
        name="words.py",
    )
    source = write_metric(
        "        return {'same': float(predictions == sources)}",
        references=None,
        arguments="predictions, sources",
        sources=TEXT,
        name="same.py",
    )
    plain = load_reward(f"evaluate(path={alone}, field=words)")
    assert (plain.needs, plain.several_references) == (frozenset(), "none")
    first = load_reward(f"evaluate(path={write_metric(references=TEXT)}, field=overlap)")
    assert (first.needs, first.several_references) == ({"reference"}, "first")
    control = load_reward(f"shuffled(evaluate(path={source}, field=same))")
    assert (control.needs, control.several_references) == ({"source"}, "none")
    both = load_reward(f"evaluate(path={alone}, field=words) + evaluate(path={source}, field=same)")
    assert both.needs == {"source"}


def test_different_scorers_have_different_columns(write_metric: Writer) -> None:
    path = write_metric(arguments="predictions, references, power=1, lang='en'")
    others: list[dict[str, Any]] = [{}, {"power": 2}, {"lang": "de"}, {"config_name": "c"}, {"empty": 0}]
    shown = {Evaluate(path, "overlap", **other).display for other in others}
    assert len(shown) == len(others) and "evaluate[mine, overlap, c]" in shown
    assert Evaluate(path, "overlap", lang="de", power=2).display == "evaluate[mine, overlap, lang=de, power=2]"


def test_what_an_empty_hypothesis_is_worth_can_be_said(write_metric: Writer) -> None:
    path = write_metric()  # which divides by the number of words
    batch = Batch.of(["two cats", " \n"], EXAMPLES[:2])
    reward = Evaluate(path, "overlap")
    for _ in range(2):  # what failed leaves nothing behind
        with pytest.raises(SpeechbenchError, match=r"empty hypothesis of example 'e'.*empty=0"):
            reward.score(batch)
    assert reward.score(BATCH) == Evaluate(path, "overlap").score(BATCH)
    assert Evaluate(path, "percent", scale=100, empty=10).score(batch) == [1.0, 0.1]
    asked = Evaluate(write_metric("        return {'mine': len(predictions[0])}", name="length.py"), "mine")
    assert asked.score(Batch.of([""], EXAMPLES[:1])) == [0.0]


@pytest.mark.parametrize("hypothesis", ["x " * 50_000, "🐈\u200d⬛ e\u0301\u0301", "שני חתולים", "a\0b"])
def test_odd_texts_are_scored(write_metric: Writer, hypothesis: str) -> None:
    assert Evaluate(write_metric(), "overlap").score(Batch.of([hypothesis], [example(hypothesis)])) == [1.0]


def test_a_metric_that_draws_numbers_draws_the_same_each_time(write_metric: Writer) -> None:
    path = write_metric("        return {'mine': [float(np.random.rand()) for _ in predictions]}")
    first = Evaluate(path, "mine").score(BATCH)
    np.random.seed(5)
    state = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    assert Evaluate(path, "mine").score(BATCH) == first
    assert np.random.get_state()[1].tolist() == state  # type: ignore[union-attr]


def test_whatever_can_change_a_score_is_in_the_signature(write_metric: Writer, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import sacrebleu\nWORTH = 1.0")
    path = write_metric("        return {'mine': WORTH}", imports="from .helper import WORTH")
    plain = Evaluate(path, "mine").signature()
    assert json.loads(json.dumps(plain)) == plain
    assert {"evaluate", "datasets", "numpy", "sacrebleu"} <= set(plain["packages"])
    others: list[dict[str, Any]] = [
        {"field": "other"},
        {"scale": 100.0},
        {"lower_is_better": True},
        {"empty": 0.0},
        {"config_name": "c"},
        {"power": 2},
    ]
    signatures = [Evaluate(**{"path": path, "field": "mine", **other}).signature() for other in others]
    (tmp_path / "helper.py").write_text("import sacrebleu\nWORTH = 0.5")
    signatures.append(Evaluate(path, "mine").signature())
    assert Evaluate(path, "mine").score(BATCH) == [0.5] * 4
    Path(path).write_text(Path(path).read_text() + "\n# edited")
    signatures.append(Evaluate(path, "mine").signature())
    assert len({json.dumps(signature) for signature in [plain, *signatures]}) == len(signatures) + 1


def test_the_place_of_a_script_is_incidental(write_metric: Writer) -> None:
    here, there = (Evaluate(write_metric(name=f"{folder}/mine.py"), "overlap") for folder in ("here", "there"))
    assert here.signature() == there.signature() and Evaluate.incidental == {"path"}
    assert Evaluate(write_metric(name="here/yours.py"), "overlap").signature() != here.signature()


def test_a_field_that_is_no_score_is_refused_with_those_there_are(write_metric: Writer) -> None:
    path, bare = write_metric(), write_metric("        return 1.0", name="bare.py")
    for script, field, said in [
        (path, "bleu", "overlap, each, array, percent"),
        (path, "pair", "neither one number nor one for each"),
        (path, "text", "neither one number nor one for each"),
        (bare, "mine", "only a float"),
    ]:
        with pytest.raises(UsageError, match=rf"\A.*{said}.*\Z"):  # on one line
            load_reward(Spec("evaluate", {"path": script, "field": field})).score(BATCH)


def test_a_failing_metric_is_named_with_the_example(write_metric: Writer) -> None:
    path = write_metric("        return {'mine': [1 / (p != 'dogs') for p in predictions]}")
    examples = [example("r", name=str(number)) for number in range(4)]
    with pytest.raises(SpeechbenchError, match=r"example '3'.*ZeroDivisionError"):
        measure(load_reward(f"evaluate(path={path}, field=mine)"), HYPOTHESES, examples)


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "no/such/script.py"},
        {"path": "/no/such/folder"},
        {"path": ""},
        {"field": 4},
        {"config_name": 2},
        {"scale": 0},
        {"scale": float("inf")},
        {"lower_is_better": "yes"},
        {"empty": "zero"},
        {"references": "r"},
        {"predictions": "p"},
    ],
)
def test_wrong_parameters_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=rf"evaluate\({next(iter(wrong))}="):
        Evaluate(**{"path": "rouge", "field": "rougeL", **wrong})


def test_without_the_library_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "evaluate", None)
    with pytest.raises(MissingError, match=r"pip install 'speechbench\[evaluate\]'"):
        Evaluate("rouge", "rougeL").signature()


def test_a_list_of_rewards_does_not_import_the_library() -> None:
    work = """if True:
        import sys
        from speechbench.rewards.describing import listing
        print(listing()["evaluate"].needs, "evaluate" in sys.modules, "datasets" in sys.modules)
        """
    ran = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=True)
    assert ran.stdout == "('reference',) False False\n"
