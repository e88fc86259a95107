"""The reward `evaluate`, against the library's own `compute` on scripts that are written here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import requests

from speechbench.benchmarks.base import Example
from speechbench.benchmarks.manifest import Manifest
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.hub import without_downloads
from speechbench.rewards import hf_evaluate_metric
from speechbench.rewards.base import Batch
from speechbench.rewards.describing import show
from speechbench.rewards.hf_evaluate import Evaluate
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import measure
from speechbench.specs import Spec

pytestmark = pytest.mark.slow  # the library alone takes ten seconds to import

TEXT, TEXTS = 'datasets.Value("string")', 'datasets.Sequence(datasets.Value("string"))'
SCRIPT = """
import datasets
import evaluate
import numpy as np
{imports}

class Mine(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features={features})

    def _compute(self, {arguments}):
{body}
"""
OVERLAP = """
        each = []
        for said, right in zip(predictions, references):
            right = [right] if isinstance(right, str) else right
            each.append(max(len(set(said.split()) & set(r.split())) / len(set(said.split())) for r in right) ** power)
        return {"overlap": float(np.mean(each)), "each": each, "array": np.array(each, dtype="float32"),
                "percent": 100 * np.mean(each), "pair": [0.5, 0.5], "text": "good", "seen": len(predictions)}
"""

Writer = Callable[..., str]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The library, with its own caches in a folder that goes again."""
    evaluate = pytest.importorskip("evaluate")
    folder = tmp_path_factory.mktemp("evaluate")
    evaluate.config.HF_MODULES_CACHE = folder / "modules"
    evaluate.config.HF_METRICS_CACHE = folder / "metrics"
    return evaluate


@pytest.fixture
def write(library: ModuleType, tmp_path: Path) -> Writer:
    """Writes a metric's script; its path."""

    def written(
        body: str = OVERLAP,
        references: str | None = TEXTS,
        arguments: str = "predictions, references, power=1",
        features: str | None = None,
        imports: str = "",
        name: str = "mine.py",
        **others: str,
    ) -> str:
        columns = {"predictions": TEXT, **({"references": references} if references else {}), **others}
        declared = "datasets.Features({" + ", ".join(f"{key!r}: {value}" for key, value in columns.items()) + "})"
        script = SCRIPT.format(features=features or declared, arguments=arguments, body=body, imports=imports)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        return str(path)

    return written


def example(*references: str, source: str | None = None, name: str = "e") -> Example:
    return Example(name, None, "", references, source, "en", "en")


HYPOTHESES = ["two cats", "a cat", "two red cats sleep", "dogs"]
EXAMPLES = [example("two cats", "a pair of cats"), example("a cat"), example("two cats", "red"), example("cats")]
BATCH = Batch.of(HYPOTHESES, EXAMPLES)


def of_library(library: ModuleType, path: str, field: str, references: list[Any], **options: Any) -> list[float]:
    metric = library.load(path)
    return [
        float(metric.compute(predictions=[h], references=[r], **options)[field])
        for h, r in zip(HYPOTHESES, references, strict=True)
    ]


@pytest.mark.parametrize("options", [{}, {"power": 2}])
def test_each_hypothesis_scores_as_the_library_says(
    library: ModuleType, write: Writer, options: dict[str, Any]
) -> None:
    path = write()
    expected = of_library(library, path, "overlap", [list(e.references) for e in EXAMPLES], **options)
    reward = Evaluate(path, "overlap", **options)
    assert reward.score(BATCH) == expected
    assert (reward.needs, reward.several_references) == ({"reference"}, "pooled")


def test_a_metric_of_one_reference_gets_the_first(library: ModuleType, write: Writer) -> None:
    path = write(references=TEXT)
    reward = Evaluate(path, "overlap")
    assert reward.score(BATCH) == of_library(library, path, "overlap", [e.references[0] for e in EXAMPLES])
    assert reward.several_references == "first"


def test_of_several_declarations_the_one_with_all_references_is_taken(library: ModuleType, write: Writer) -> None:
    one, all_of_them = (f'datasets.Features({{"predictions": {TEXT}, "references": {form}}})' for form in (TEXT, TEXTS))
    path = write(features=f"[{one}, {all_of_them}]")
    expected = of_library(library, path, "overlap", [list(e.references) for e in EXAMPLES])
    assert Evaluate(path, "overlap").score(BATCH) == expected


@pytest.mark.parametrize(("field", "calls"), [("each", 4), ("array", 4), ("overlap", 1)])
def test_a_list_of_values_is_computed_in_one_call(library: ModuleType, write: Writer, field: str, calls: int) -> None:
    body = OVERLAP.replace('"each": each', '"each": [len(predictions)] * len(each)').replace(
        "np.array(each", "np.array([len(predictions)] * len(each)"
    )
    body = body.replace('"overlap": float(np.mean(each))', '"overlap": len(predictions)')
    reward = Evaluate(write(body), field)
    assert reward.score(BATCH) == reward.score(Batch.of(HYPOTHESES, EXAMPLES)) == [calls] * 4


def test_a_list_of_values_is_the_library_s(library: ModuleType, write: Writer) -> None:
    path = write()
    expected = library.load(path).compute(predictions=HYPOTHESES, references=[list(e.references) for e in EXAMPLES])
    assert Evaluate(path, "each").score(BATCH) == expected["each"]


def test_the_corpus_score_is_the_mean_on_the_metric_s_own_scale(library: ModuleType, write: Writer) -> None:
    path = write()
    reward = load_reward(f"evaluate(path={path}, field=percent, scale=100)")
    measured = measure(reward, HYPOTHESES, EXAMPLES)
    own = of_library(library, path, "percent", [list(e.references) for e in EXAMPLES])
    assert measured.segments == own and measured.corpus == pytest.approx(np.mean(own))
    assert reward.score(BATCH) == [value / 100 for value in own]
    assert measured.display == "evaluate[mine, percent]"


def test_an_error_is_turned_round_and_clipped_as_a_reward_alone(write: Writer) -> None:
    path = write("        return {'mine': 0.5 * len(predictions[0].split())}")
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
def test_what_is_no_finite_number_is_never_turned_into_a_score(write: Writer, value: str, result: str) -> None:
    path = write(f"        return {{'mine': {result.format(value=value)}}}")
    reward = Evaluate(path, "mine", lower_is_better=True)
    examples = [example("r", name=str(number)) for number in range(4)]
    which = 0 if result.startswith("float") else 3
    with pytest.raises(SpeechbenchError, match=rf"evaluate\[mine\] is {value} .*example '{which}'.*another field"):
        reward.score(Batch.of(HYPOTHESES, examples))
    with pytest.raises(SpeechbenchError, match=r"empty="):
        Evaluate(write(f"        return {{'mine': float({value!r})}}", name="b.py"), "mine").score(
            Batch.of([" "], examples[:1])
        )


def test_numpy_s_numbers_are_numbers(write: Writer) -> None:
    path = write(
        "        return {'mine': [np.float32(0.5)] * len(predictions), 'yes': [np.bool_(True)] * len(predictions)}"
    )
    assert Evaluate(path, "mine").score(BATCH) == [0.5] * 4
    assert Evaluate(path, "yes").score(BATCH) == [1.0] * 4


def test_measuring_computes_once(write: Writer, tmp_path: Path) -> None:
    path = write(f"        open({str(tmp_path / 'calls')!r}, 'a').write('x')\n        return {{'mine': 1.0}}")
    measure(load_reward(f"evaluate(path={path}, field=mine)"), HYPOTHESES[:1], EXAMPLES[:1])
    # One call to tell that the value is no list, one for the score, none for the statistics.
    assert (tmp_path / "calls").read_text() == "xx"


def test_what_an_example_lacks_makes_it_none(write: Writer) -> None:
    source = write(
        "        return {'same': [float(a == b) for a, b in zip(predictions, sources)]}",
        references=None,
        arguments="predictions, sources",
        sources=TEXT,
    )
    reward = Evaluate(source, "same")
    examples = [example(), example("r", source="a"), example(source="b")]
    assert reward.score(Batch.of(["a", "a", "a"], examples)) == [None, 1.0, 0.0]
    assert (reward.needs, reward.several_references) == ({"source"}, "none")
    reward = Evaluate(write(name="other.py"), "overlap")
    batch = Batch.of(["a", "a"], [example(), example("a")])
    assert reward.score(batch) == [None, 1.0]
    assert reward.statistics(batch).tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert reward.score(Batch.of([], [])) == []


def test_what_a_script_needs_is_known_when_its_reward_is_made(write: Writer) -> None:
    alone = write(
        "        return {'words': len(predictions[0].split())}",
        references=None,
        arguments="predictions",
        name="words.py",
    )
    source = write(
        "        return {'same': float(predictions == sources)}",
        references=None,
        arguments="predictions, sources",
        sources=TEXT,
        name="same.py",
    )
    plain = load_reward(f"evaluate(path={alone}, field=words)")
    assert (plain.needs, plain.several_references) == (frozenset(), "none")
    first = load_reward(f"evaluate(path={write(references=TEXT)}, field=overlap)")
    assert (first.needs, first.several_references) == ({"reference"}, "first")
    control = load_reward(f"shuffled(evaluate(path={source}, field=same))")
    assert (control.needs, control.several_references) == ({"source"}, "none")
    both = load_reward(f"evaluate(path={alone}, field=words) + evaluate(path={source}, field=same)")
    assert both.needs == {"source"}


def test_different_scorers_have_different_columns(write: Writer) -> None:
    path = write(arguments="predictions, references, power=1, lang='en'")
    others: list[dict[str, Any]] = [{}, {"power": 2}, {"lang": "de"}, {"config_name": "c"}, {"empty": 0}]
    shown = {Evaluate(path, "overlap", **other).display for other in others}
    assert len(shown) == len(others) and "evaluate[mine, overlap, c]" in shown
    assert Evaluate(path, "overlap", lang="de", power=2).display == "evaluate[mine, overlap, lang=de, power=2]"


def test_what_an_empty_hypothesis_is_worth_can_be_said(write: Writer) -> None:
    path = write()  # which divides by the number of words
    batch = Batch.of(["two cats", " \n"], EXAMPLES[:2])
    reward = Evaluate(path, "overlap")
    for _ in range(2):  # what failed leaves nothing behind
        with pytest.raises(SpeechbenchError, match=r"empty hypothesis of example 'e'.*empty=0"):
            reward.score(batch)
    assert reward.score(BATCH) == Evaluate(path, "overlap").score(BATCH)
    assert Evaluate(path, "percent", scale=100, empty=10).score(batch) == [1.0, 0.1]
    asked = Evaluate(write("        return {'mine': len(predictions[0])}", name="length.py"), "mine")
    assert asked.score(Batch.of([""], EXAMPLES[:1])) == [0.0]


@pytest.mark.parametrize("hypothesis", ["x " * 50_000, "🐈\u200d⬛ e\u0301\u0301", "שני חתולים", "a\0b"])
def test_odd_texts_are_scored(write: Writer, hypothesis: str) -> None:
    assert Evaluate(write(), "overlap").score(Batch.of([hypothesis], [example(hypothesis)])) == [1.0]


def test_a_metric_that_draws_numbers_draws_the_same_each_time(write: Writer) -> None:
    path = write("        return {'mine': [float(np.random.rand()) for _ in predictions]}")
    first = Evaluate(path, "mine").score(BATCH)
    np.random.seed(5)
    state = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    assert Evaluate(path, "mine").score(BATCH) == first
    assert np.random.get_state()[1].tolist() == state  # type: ignore[union-attr]


def test_a_configuration_is_chosen(write: Writer) -> None:
    path = write("        return {'mine': float(self.config_name == 'hard')}")
    assert Evaluate(path, "mine").score(BATCH) == [0.0] * 4
    assert Evaluate(path, "mine", config_name="hard").score(BATCH) == [1.0] * 4


def test_a_folder_with_a_script_of_its_name_is_a_metric(write: Writer) -> None:
    script = write(name="rated/rated.py")
    folder = str(Path(script).parent)
    assert Evaluate(folder, "overlap").score(BATCH) == Evaluate(script, "overlap").score(BATCH)
    assert Evaluate(folder, "overlap").signature() == Evaluate(script, "overlap").signature()


def test_whatever_can_change_a_score_is_in_the_signature(write: Writer, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import sacrebleu\nWORTH = 1.0")
    path = write("        return {'mine': WORTH}", imports="from .helper import WORTH")
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


def test_every_file_that_a_script_imports_is_in_the_signature(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from . import helper, other as another")
    seen = []
    for name in ("helper.py", "other.py"):
        (tmp_path / name).write_text("import sacrebleu")
        seen.append(hf_evaluate_metric.fingerprint(tmp_path / "mine.py"))
    assert seen[0]["sha256"] != seen[1]["sha256"] and "sacrebleu" in seen[0]["packages"]


def test_the_place_of_a_script_is_incidental(write: Writer) -> None:
    here, there = (Evaluate(write(name=f"{folder}/mine.py"), "overlap") for folder in ("here", "there"))
    assert here.signature() == there.signature() and Evaluate.incidental == {"path"}
    assert Evaluate(write(name="here/yours.py"), "overlap").signature() != here.signature()


def refusal(
    path: str, field: str = "overlap", kind: type[SpeechbenchError] = UsageError, **options: bool | int | float | str
) -> str:
    with pytest.raises(kind) as caught:
        load_reward(Spec("evaluate", {"path": path, "field": field, **options})).score(BATCH)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_field_that_is_no_score_is_refused_with_those_there_are(write: Writer) -> None:
    path = write()
    assert "overlap, each, array, percent" in refusal(path, "bleu")
    assert "neither one number nor one for each" in refusal(path, "pair")
    assert "neither one number nor one for each" in refusal(path, "text")
    assert "only a float" in refusal(write("        return 1.0", name="bare.py"), "mine")


def test_a_metric_of_something_other_than_texts_is_refused(write: Writer) -> None:
    numbers = write(references='datasets.Value("int32")')
    assert "judges texts" in refusal(numbers)
    images = write(images=TEXT, arguments="predictions, references, images", name="images.py")
    assert "judges texts" in refusal(images)
    classes = write(features=f'datasets.Features({{"predictions": datasets.Value("int32"), "references": {TEXT}}})')
    assert "judges texts" in refusal(classes)


def test_options_that_a_metric_does_not_take_are_refused(write: Writer) -> None:
    assert "it takes: power" in refusal(write(), pwoer=2)
    anything = write(arguments="predictions, references, power=1, **others", name="anything.py")
    assert Evaluate(anything, "overlap", pwoer=2).score(BATCH) == Evaluate(anything, "overlap").score(BATCH)


def test_a_script_that_cannot_be_loaded_is_named_when_its_reward_is_made(
    write: Writer, tmp_path: Path, few_manifest: Path
) -> None:
    assert "mine.py" in refusal(write(imports="raise ValueError('broken')"))
    lacking = write(imports="open('/no/such/file')", name="lacking.py")
    assert "lacking.py" in refusal(lacking) and "/no/such/file" in refusal(lacking)
    needy = write(imports="import no_such_package_anywhere", name="needy.py")
    assert "no_such_package_anywhere" in refusal(needy, kind=MissingError)
    with pytest.raises(MissingError, match="no_such_package_anywhere"):
        load_reward(f"evaluate(path={needy}, field=overlap)", Manifest(str(few_manifest)))
    for name, text in {"empty": "", "broken": "def ("}.items():
        (tmp_path / f"{name}.py").write_text(text)
        with pytest.raises(UsageError, match=rf"{name}\.py.*subclass of evaluate\.Metric"):
            Evaluate(str(tmp_path / f"{name}.py"), "overlap")


def test_a_failing_metric_is_named_with_the_example(write: Writer) -> None:
    path = write("        return {'mine': [1 / (p != 'dogs') for p in predictions]}")
    examples = [example("r", name=str(number)) for number in range(4)]
    with pytest.raises(SpeechbenchError, match=r"example '3'.*ZeroDivisionError"):
        measure(load_reward(f"evaluate(path={path}, field=mine)"), HYPOTHESES, examples)


@pytest.mark.parametrize("answer", ["silence", "refusal"])
def test_without_a_hub_it_fails_at_once_and_says_how_to_do_without(
    library: ModuleType, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        if answer == "silence":
            time.sleep(250)
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.space_info", unreachable)
    monkeypatch.setattr(hf_evaluate_metric, "_SECONDS", -0.9)
    asked: list[str] = []
    monkeypatch.setattr("requests.Session.request", lambda self, method, url, **_: asked.append(url))
    reward = Evaluate("rouge", "rougeL")
    with pytest.raises(MissingError, match=r"'rouge' is not on this machine.*path=path/to/metric\.py"):
        reward.signature()
    assert asked == []  # the library itself was kept from asking, which it does for minutes
    assert not library.config.HF_EVALUATE_OFFLINE


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the hub, which knows nothing."""
    questions: list[str] = []

    def space_info(self: object, name: str, **_: Any) -> None:
        questions.append(name)

    def request(self: object, method: str, url: str, **_: Any) -> None:
        questions.append(url)
        raise requests.exceptions.ConnectionError

    monkeypatch.setattr("huggingface_hub.HfApi.space_info", space_info)
    monkeypatch.setattr("requests.Session.request", request)
    return questions


def test_a_metric_of_the_hub_that_was_loaded_before_is_there_without_it(
    library: ModuleType, write: Writer, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    script = Path(write(references=TEXT))
    cached = library.loading.init_dynamic_modules()
    factory = library.loading._create_importable_file
    factory(str(script), [], [], cached, "metrics", "evaluate-metric/mine", None)
    reward = Evaluate("mine", "overlap")
    assert (reward.needs, reward.several_references) == ({"reference"}, "first")
    assert reward.score(BATCH) == Evaluate(str(script), "overlap").score(BATCH)
    assert reward.signature()["sha256"] == Evaluate(str(script), "overlap").signature()["sha256"]
    assert asked == []


def test_nothing_is_asked_of_the_hub_where_nothing_is_to_be_downloaded(
    library: ModuleType, write: Writer, asked: list[str]
) -> None:
    reward = Evaluate("rouge", "rougeL")  # looks no further than this machine
    with without_downloads(), pytest.raises(MissingError, match=r"'rouge'.*is not downloaded to be looked at.*path="):
        reward.signature()
    described = show("evaluate(path=rouge, field=rougeL)")
    assert described.signature is None and "is not downloaded" in described.no_signature
    assert described.needs == ("reference",)
    fetching = write(imports="import evaluate.utils.file_utils as f\nf.cached_path('https://hub.invalid/weights')")
    assert "Offline mode" in show(f"evaluate(path={fetching}, field=overlap)").no_signature
    assert asked == []
    with pytest.raises(MissingError, match=r"'rouge'.*the hub does not give it"):
        reward.signature()
    assert asked[0] == "evaluate-metric/rouge" and len(asked) > 1


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
