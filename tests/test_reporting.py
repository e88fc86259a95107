"""What experiment trackers are told, and that they can do no harm."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from speechbench import reporting
from speechbench.ablation import run_all
from speechbench.errors import MissingError, UsageError
from speechbench.planning import Plan, plan
from speechbench.progress import Progress
from speechbench.reporting import check
from speechbench.runs import read_run

SETTINGS = {"grpo": {"max_steps": 3, "num_generations": 2, "max_completion_length": 8}}


def planned(manifest: Path, out: Path, *trackers: str) -> Plan:
    return plan(["bleu"], ["grpo"], f"manifest(path={manifest})", config=SETTINGS, limit=2, out=out, metrics=["bleu"],
                report_to=trackers)  # fmt: skip


class Told(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def tell(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.slow
def test_tensorboard_has_the_curves_of_the_log_and_the_scores_of_the_result(few_manifest: Path, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    asked = planned(few_manifest, tmp_path, "tensorboard")
    assert asked.runs[1].id == planned(few_manifest, tmp_path).runs[1].id  # who looks on makes no other run
    run_all(asked, Progress())
    run = read_run(asked.runs[1].folder)
    (folder,) = (asked.folder / reporting.EVENTS).iterdir()
    assert folder.name == f"grpo(bleu) seed 0 {asked.runs[1].id[:8]}"
    found = events.EventAccumulator(str(folder))
    found.Reload()
    for name in ("reward", "loss", "kl"):
        curve = [(scalar.step, scalar.value) for scalar in found.Scalars(f"train/{name}")]
        assert curve == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in run.log]
    assert run.result is not None
    (score,) = found.Scalars("test/bleu")
    assert (score.step, score.value) == (3, pytest.approx(run.result.metrics["bleu"], rel=1e-6))
    (configuration,) = found.Tensors("configuration/text_summary")
    assert b'"num_generations": 2' in configuration.tensor_proto.string_val[0]


class Service(ModuleType):
    """As much of wandb and trackio as accelerate's trackers ask for; it writes down what it is told."""

    def __init__(self, name: str, fails_at: int | None = None) -> None:
        super().__init__(name)
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished, self.fails_at = 0, fails_at

    def init(self, **given: Any) -> Service:
        self.begun.append(given)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        if step == self.fails_at:
            raise ConnectionError("no route\nto the service")
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


@pytest.mark.slow
def test_services_are_told_of_trainings_and_one_that_fails_is_left_alone(
    few_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb, trackio = Service("wandb"), Service("trackio", fails_at=2)
    for module in (wandb, trackio):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    asked, told = planned(few_manifest, tmp_path, "wandb", "trackio", "wandb"), Told()
    run_all(asked, told)
    run = asked.runs[1]
    (begun,), (other,) = wandb.begun, trackio.begun
    assert (begun["project"], other["project"]) == ("mine", "speechbench")
    assert begun["name"] == other["name"] == f"grpo(bleu) seed 0 {run.id[:8]}"
    assert begun["id"] == run.id and begun["resume"] == other["resume"] == "allow"
    assert begun["config"] == other["config"] and begun["config"]["trainer"] == "grpo"
    assert [step for step, _ in wandb.logged] == [1, 2, 3, 3] and "test/bleu" in wandb.logged[-1][1]
    assert [step for step, _ in trackio.logged] == [1]
    assert wandb.finished == 1 and trackio.finished == 0
    (failed,) = [text for text in told.texts if "report_to" in text]
    assert failed == "report_to=trackio fails, and hears no more of this run, which goes on: no route to the service"
    assert run.is_finished


def test_a_tracker_that_is_none_or_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check([]) == ()
    with pytest.raises(UsageError, match=r"report_to='tensorbord' is none of .*did you mean 'tensorboard'"):
        check(["tensorbord"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingError, match=r"report_to=wandb needs the package wandb.*speechbench\[wandb\]"):
        check(["wandb"])
