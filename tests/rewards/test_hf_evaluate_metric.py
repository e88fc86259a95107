"""Metrics of the library evaluate: found with and without a hub, told apart, and refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

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
from speechbench.specs import Spec

pytestmark = pytest.mark.slow  # the library alone takes ten seconds to import

TEXT, TEXTS = 'datasets.Value("string")', 'datasets.Sequence(datasets.Value("string"))'
Writer = Callable[..., str]


BATCH = Batch.of(
    ["two cats", "a cat", "two red cats sleep", "dogs"],
    [Example("e", None, "", (reference,), None, "en", "en") for reference in ("two cats", "a cat", "red", "cats")],
)


def test_a_configuration_is_chosen(write_metric: Writer) -> None:
    path = write_metric("        return {'mine': float(self.config_name == 'hard')}")
    assert Evaluate(path, "mine").score(BATCH) == [0.0] * 4
    assert Evaluate(path, "mine", config_name="hard").score(BATCH) == [1.0] * 4


def test_a_folder_with_a_script_of_its_name_is_a_metric(write_metric: Writer) -> None:
    script = write_metric(name="rated/rated.py")
    folder = str(Path(script).parent)
    assert Evaluate(folder, "overlap").score(BATCH) == Evaluate(script, "overlap").score(BATCH)
    assert Evaluate(folder, "overlap").signature() == Evaluate(script, "overlap").signature()


def test_every_file_that_a_script_imports_is_in_the_signature(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from . import helper, other as another")
    seen = []
    for name in ("helper.py", "other.py"):
        (tmp_path / name).write_text("import sacrebleu")
        seen.append(hf_evaluate_metric.fingerprint(tmp_path / "mine.py"))
    assert seen[0]["sha256"] != seen[1]["sha256"] and "sacrebleu" in seen[0]["packages"]


def refusal(
    path: str, field: str = "overlap", kind: type[SpeechbenchError] = UsageError, **options: bool | int | float | str
) -> str:
    with pytest.raises(kind) as caught:
        load_reward(Spec("evaluate", {"path": path, "field": field, **options})).score(BATCH)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_metric_of_something_other_than_texts_is_refused(write_metric: Writer) -> None:
    numbers = write_metric(references='datasets.Value("int32")')
    assert "judges texts" in refusal(numbers)
    images = write_metric(images=TEXT, arguments="predictions, references, images", name="images.py")
    assert "judges texts" in refusal(images)
    classes = write_metric(
        features=f'datasets.Features({{"predictions": datasets.Value("int32"), "references": {TEXT}}})'
    )
    assert "judges texts" in refusal(classes)


def test_options_that_a_metric_does_not_take_are_refused(write_metric: Writer) -> None:
    assert "it takes: power" in refusal(write_metric(), pwoer=2)
    anything = write_metric(arguments="predictions, references, power=1, **others", name="anything.py")
    assert Evaluate(anything, "overlap", pwoer=2).score(BATCH) == Evaluate(anything, "overlap").score(BATCH)


def test_a_script_that_cannot_be_loaded_is_named_when_its_reward_is_made(
    write_metric: Writer, tmp_path: Path, few_manifest: Path
) -> None:
    assert "mine.py" in refusal(write_metric(imports="raise ValueError('broken')"))
    lacking = write_metric(imports="open('/no/such/file')", name="lacking.py")
    assert "lacking.py" in refusal(lacking) and "/no/such/file" in refusal(lacking)
    needy = write_metric(imports="import no_such_package_anywhere", name="needy.py")
    assert "no_such_package_anywhere" in refusal(needy, kind=MissingError)
    with pytest.raises(MissingError, match="no_such_package_anywhere"):
        load_reward(f"evaluate(path={needy}, field=overlap)", Manifest(str(few_manifest)))
    for name, text in {"empty": "", "broken": "def ("}.items():
        (tmp_path / f"{name}.py").write_text(text)
        with pytest.raises(UsageError, match=rf"{name}\.py.*subclass of evaluate\.Metric"):
            Evaluate(str(tmp_path / f"{name}.py"), "overlap")


@pytest.mark.parametrize("answer", ["silence", "refusal"])
def test_without_a_hub_it_fails_at_once_and_says_how_to_do_without(
    evaluate_library: ModuleType, monkeypatch: pytest.MonkeyPatch, answer: str
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
    assert not evaluate_library.config.HF_EVALUATE_OFFLINE


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
    evaluate_library: ModuleType, write_metric: Writer, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    script = Path(write_metric(references=TEXT))
    cached = evaluate_library.loading.init_dynamic_modules()
    factory = evaluate_library.loading._create_importable_file
    factory(str(script), [], [], cached, "metrics", "evaluate-metric/mine", None)
    reward = Evaluate("mine", "overlap")
    assert (reward.needs, reward.several_references) == ({"reference"}, "first")
    assert reward.score(BATCH) == Evaluate(str(script), "overlap").score(BATCH)
    assert reward.signature()["sha256"] == Evaluate(str(script), "overlap").signature()["sha256"]
    assert asked == []


def test_nothing_is_asked_of_the_hub_where_nothing_is_to_be_downloaded(
    evaluate_library: ModuleType, write_metric: Writer, asked: list[str]
) -> None:
    reward = Evaluate("rouge", "rougeL")  # looks no further than this machine
    with without_downloads(), pytest.raises(MissingError, match=r"'rouge'.*is not downloaded to be looked at.*path="):
        reward.signature()
    described = show("evaluate(path=rouge, field=rougeL)")
    assert described.signature is None and "is not downloaded" in described.no_signature
    assert described.needs == ("reference",)
    fetching = write_metric(
        imports="import evaluate.utils.file_utils as f\nf.cached_path('https://hub.invalid/weights')"
    )
    assert "Offline mode" in show(f"evaluate(path={fetching}, field=overlap)").no_signature
    assert asked == []
    with pytest.raises(MissingError, match=r"'rouge'.*the hub does not give it"):
        reward.signature()
    assert asked[0] == "evaluate-metric/rouge" and len(asked) > 1
