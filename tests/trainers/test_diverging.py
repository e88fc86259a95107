"""A training that diverges: it stops, says at which step, and leaves the last good checkpoint to go on from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import DivergedError, SpeechbenchError
from speechbench.evaluation import Evaluation
from speechbench.models.tiny import Tiny
from speechbench.trainers import sft, validation
from speechbench.trainers.sft import SftConfig
from tests.trainers.conftest import assert_equal, log_of, weights

SETTINGS: dict[str, Any] = {"per_device_train_batch_size": 2, "save_steps": 1, "warmup_ratio": 0.0}


class Diverges(Tiny):
    """Its loss is no number from a given learning pass on, while its weights are."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.passes = at, 0

    def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        logprobs, entropy = super().forward(*args, **kwargs)
        self.passes += torch.is_grad_enabled()
        return (logprobs * float("nan") if self.passes >= self.at else logprobs), entropy


def test_a_loss_that_is_no_number_stops_before_the_weights_are_spoilt(few: Benchmark, tmp_path: Path) -> None:
    model = Diverges(1)
    before = weights(model)
    with pytest.raises(SpeechbenchError, match=r"^sft: the loss of step 1 is nan.*lower learning_rate \(now 0.0002\)"):
        sft.train(model, few, None, SftConfig(output_dir=tmp_path, max_steps=2, per_device_train_batch_size=2))
    assert all(torch.equal(before[name], value) for name, value in weights(model).items())
    assert not list((tmp_path / "checkpoints").glob("*"))


@pytest.mark.slow
def test_a_loss_that_becomes_no_number_leaves_the_last_good_checkpoint(few: Benchmark, tmp_path: Path) -> None:
    constant = {**SETTINGS, "lr_scheduler_type": "constant"}  # so that it is no matter how many steps were planned
    with pytest.raises(SpeechbenchError, match=r"the loss of step 3 is nan.*checkpoint-1 holds the last weights"):
        sft.train(Diverges(3), few, None, SftConfig(output_dir=tmp_path / "bad", max_steps=4, **constant))
    assert len(log_of(tmp_path / "bad")) == 2
    good, saved = Tiny(), Tiny()
    sft.train(good, few, None, SftConfig(output_dir=tmp_path / "good", max_steps=1, **constant))
    saved.load_weights(tmp_path / "bad" / "checkpoints" / "checkpoint-1")
    assert_equal(good, saved)


class Ruins(Tiny):
    """Its weights are no numbers any more after a given step."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after, self.passes = after, 0

    def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.passes += torch.is_grad_enabled()
        if torch.is_grad_enabled() and self.passes == self.after:
            next(p for p in self.parameters() if p.requires_grad).register_post_accumulate_grad_hook(ruin)
        return super().forward(*args, **kwargs)


def ruin(parameter: torch.Tensor) -> None:
    parameter.data.fill_(float("nan"))


def complete(folder: Path) -> list[str]:
    """Names of the checkpoints that a training goes on from."""
    return sorted(marker.parent.name for marker in (folder / "checkpoints").glob("*/complete.json"))


@pytest.mark.parametrize("steps", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_weights_that_a_step_has_ruined_get_into_no_checkpoint(few: Benchmark, tmp_path: Path, steps: int) -> None:
    """The last step's neither, after which there is no loss to tell."""
    settings: dict[str, Any] = {**SETTINGS, "max_steps": steps}
    config = SftConfig(output_dir=tmp_path, learning_rate=1e-4, **settings)
    with pytest.raises(DivergedError, match=r"norm of the weights after step 2 is nan.*checkpoint-1 holds the last"):
        sft.train(Ruins(2), few, None, config)
    assert complete(tmp_path) == ["checkpoint-1"]
    straight, again = Tiny(), Tiny()
    sft.train(again, few, None, config)
    sft.train(straight, few, None, SftConfig(output_dir=tmp_path / "straight", learning_rate=1e-4, **settings))
    assert_equal(straight, again)


def test_once_a_step_went_well_one_checkpoint_stays(few: Benchmark, tmp_path: Path) -> None:
    config = SftConfig(output_dir=tmp_path, max_steps=3, per_device_train_batch_size=2, save_steps=1)
    sft.train(Tiny(), few, None, config)
    assert [path.name for path in (tmp_path / "checkpoints").glob("checkpoint-*")] == ["checkpoint-3"]


@pytest.mark.parametrize("max_grad_norm", [0.0, 1.0])
def test_a_gradient_that_is_no_number_stops_before_the_weights_are_spoilt(
    few: Benchmark, tmp_path: Path, max_grad_norm: float
) -> None:
    model = Tiny()
    learns = next(p for p in model.parameters() if p.requires_grad)
    learns.register_hook(lambda gradient: gradient * float("inf"))
    before = weights(model)
    config = SftConfig(output_dir=tmp_path, max_steps=2, per_device_train_batch_size=2, max_grad_norm=max_grad_norm)
    with pytest.raises(SpeechbenchError, match=r"1 is (nan|inf), .*(lower max_\w+ \(now 1\)|set max_\w+: 1 \(now 0)"):
        sft.train(model, few, None, config)
    assert all(torch.equal(before[name], value) for name, value in weights(model).items())


def test_the_first_step_of_all_leaves_no_checkpoint_and_says_so(few: Benchmark, tmp_path: Path) -> None:
    config = SftConfig(output_dir=tmp_path, **SETTINGS, max_steps=2)
    with pytest.raises(DivergedError, match=r"loss of step 1 is nan.*\(no checkpoint holds weights .* finite one\)$"):
        sft.train(Diverges(1), few, None, config)


@pytest.mark.slow
def test_the_best_model_of_the_checkpoint_that_is_gone_back_to_is_still_there(
    few: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step does better than the one before, so the newest checkpoint needs another best model."""
    scores = iter([1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr(validation, "evaluate", lambda *_, **__: Evaluation((), {"bleu": next(scores)}, {}))
    config = SftConfig(output_dir=tmp_path, **SETTINGS, max_steps=3, eval_steps=1)
    with pytest.raises(DivergedError, match=r"step 3 is nan.*checkpoint-1 holds.*; checkpoint-2 counts no more\)$"):
        sft.train(Diverges(3), few, None, config)
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("best-*")) == ["best-1", "best-2"]
    result = sft.train(Tiny(), few, None, config)
    assert result.best is not None and result.best.step == 3 and result.best.score == 4.0
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["best-3", "checkpoint-3", "final"]


@pytest.mark.slow
def test_a_training_that_was_killed_keeps_the_older_checkpoint_until_its_first_step_went_well(
    few: Benchmark, tmp_path: Path
) -> None:
    """Killed right after a checkpoint whose weights turn out to be bad."""

    class Killed(BaseException):
        pass

    class Dies(Tiny):
        passes = 0

        def forward(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
            self.passes += torch.is_grad_enabled()
            if self.passes == 3:
                raise Killed
            return super().forward(*args, **kwargs)

    config = SftConfig(output_dir=tmp_path, **SETTINGS, max_steps=4)
    with pytest.raises(Killed):
        sft.train(Dies(), few, None, config)
    assert complete(tmp_path) == ["checkpoint-1", "checkpoint-2"]
    with pytest.raises(DivergedError, match=r"step 3 is nan.*checkpoint-1 holds.*; checkpoint-2 counts no more\)$"):
        sft.train(Diverges(1), few, None, config)
    assert complete(tmp_path) == ["checkpoint-1"]
    sft.train(Tiny(), few, None, config)
    assert complete(tmp_path) == ["checkpoint-4"]


SCRIPT = """
import os, sys
from pathlib import Path
import torch
from speechbench import distributed
from speechbench.benchmarks.covost2 import Covost2
from speechbench.models.tiny import Tiny
from speechbench.trainers import sft

class Diverges(Tiny):
    passes = 0

    def forward(self, *args, **kwargs):
        logprobs, entropy = super().forward(*args, **kwargs)
        self.passes += 1
        return (logprobs * float("nan") if self.passes == 3 and distributed.rank() == 1 else logprobs), entropy

config = sft.SftConfig(Path(sys.argv[2]), max_steps=4, per_device_train_batch_size=2, save_steps=1)
try:
    with distributed.ending_together():
        sft.train(Diverges(), Covost2(root=sys.argv[1]), None, config)
except Exception as error:
    print(f"{distributed.rank()} {type(error).__name__} {error}", flush=True)
distributed.leave(0)
"""


@pytest.mark.slow
def test_of_two_processes_the_one_that_sees_it_takes_the_newest_checkpoint_out_of_account(
    few_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    found = subprocess.run(
        [sys.executable, *launcher, str(tmp_path / "script.py"), str(few_folder), str(tmp_path)],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=280,
    )  # fmt: skip
    said = [line for line in found.stdout.splitlines() if "EndedElsewhere" not in line]
    assert len(said) == 1 and said[0].startswith("1 DivergedError sft: the loss of step 3 is nan"), found.stderr
    assert said[0].endswith("checkpoint-2 counts no more)") and complete(tmp_path) == ["checkpoint-1"]
