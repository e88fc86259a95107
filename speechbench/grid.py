"""One run of a grid, known by its id: a hash of all that decides its outcome."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechbench.registry import TRAINERS
from speechbench.rewards.base import Reward
from speechbench.rewards.loading import identity, is_own, row_name
from speechbench.run_schema import RESULT
from speechbench.settings import described, hashed
from speechbench.stage_configs import StageConfigs
from speechbench.trainers.base import TrainConfig


@dataclass(frozen=True)
class PlannedRun:
    """One run of the grid.

    Attributes:
        id: Hash of all that decides the outcome.
        label: What its row is called.
        trainer: Names in the registry, joined by "+" where it builds on other stages; `None` for the base model,
            which is only measured.
        reward: `None` where no stage takes one.
        seed: `None` for the base model.
        config: What the trainer of this stage is told; `None` for the base model.
        folder: Where it is kept.
        start: The run whose trained model it starts from; `None` for the base model's.
        control: Of `speechbench.benchmarks.controls.INPUTS`, what the base model is given instead of the speech.
    """

    id: str
    label: str
    trainer: str | None
    reward: Reward | None
    seed: int | None
    config: TrainConfig | None
    folder: Path
    start: PlannedRun | None = None
    control: str | None = None

    @property
    def stage(self) -> str | None:
        """Name in the registry of the trainer that does this run."""
        return None if self.trainer is None else self.trainer.split("+")[-1]

    @property
    def stages(self) -> tuple[str, ...]:
        """The trainers' names without paths, as the run's folder says them."""
        return () if self.trainer is None else tuple(map(short, self.trainer.split("+")))

    @property
    def before(self) -> tuple[PlannedRun, ...]:
        """The runs that it builds on, the first one first."""
        return () if self.start is None else (*self.start.before, self.start)

    @property
    def steps(self) -> int:
        """Optimizer steps of its training; 0 for the base model."""
        return 0 if self.config is None else self.config.max_steps

    @property
    def is_finished(self) -> bool:
        """Whether its result is there."""
        return (self.folder / RESULT).exists()


@dataclass(frozen=True)
class Maker:
    """Makes the runs of an ablation.

    Attributes:
        folder: The ablation's.
        shared: What all of its runs share, as it is hashed.
        configs: What each stage is told.
    """

    folder: Path
    shared: Mapping[str, Any]
    configs: StageConfigs

    def base(self, control: str | None = None) -> PlannedRun:
        """Measuring the model before training, hearing, or under a control of its input."""
        id_ = self._id(None, None, None, None, {} if control is None else {"input": control})
        return PlannedRun(id_, control or "base", None, None, None, None, self.folder / id_, control=control)

    def chain(self, name: str, reward: Reward | None, seed: int) -> list[PlannedRun]:
        """A run for each stage of a trainer."""
        runs: list[PlannedRun] = []
        stages = name.split("+")
        for place, stage in enumerate(stages):
            start = runs[-1] if runs else None
            of_reward = str(reward.spec) if reward and self.configs.takes_reward(name, place) else None
            config = dataclasses.replace(self.configs.of(name, place, of_reward), seed=seed)
            own = reward if config.uses_reward else None
            id_ = self._id(stage, own, seed, config, {} if start is None else {"start": start.id})
            label = short(stage) if own is None else f"{short(stage)}({row_name(own.spec)})"
            runs.append(
                PlannedRun(
                    id=id_,
                    label=label if start is None else f"{start.label}+{label}",
                    trainer="+".join(stages[: place + 1]),
                    reward=own or (start.reward if start else None),
                    seed=seed,
                    config=dataclasses.replace(config, output_dir=self.folder / id_),
                    folder=self.folder / id_,
                    start=start,
                )
            )
        return runs

    def _id(
        self, stage: str | None, reward: Reward | None, seed: int | None, config: TrainConfig | None,
        more: Mapping[str, str],
    ) -> str:  # fmt: skip
        content = {
            **self.shared,
            "trainer": None if stage is None else short(stage),
            "trainer_file": TRAINERS.file_hash(stage) if stage else None,
            "reward": reward and {"spec": identity(reward), "signature": dict(reward.signature())},
            "seed": seed,
            "config": None if config is None else described(config),
            **more,
        }
        return hashed(content)[:16]


def lasting_name(reward: Reward) -> str:
    """A reward's spec; of one's own without the path: its code counts (in the signature), not where it lies."""
    return row_name(reward.spec) if is_own(reward.spec) else str(reward.spec)


def short(trainer: str) -> str:
    """A trainer's name; of one from a file without the path."""
    return trainer.rpartition(":")[2]
