"""A sweep is done: its trials, and what is chosen from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechbench import distributed
from speechbench.ablation import run_all
from speechbench.errors import DivergedError, SpeechbenchError
from speechbench.grid import PlannedRun
from speechbench.planning import Plan
from speechbench.progress import Progress
from speechbench.rewards.base import Reward
from speechbench.run_files import dump, replace
from speechbench.runs import read_run
from speechbench.stage_configs import section_name
from speechbench.sweep.plan import Sweep, Unit, replanned, unit_of, with_settings
from speechbench.sweep.space import Values
from speechbench.tables import figure

_DIVERGED = "diverged.txt"
"""In a trial's folder: why it has no result, and will have none however often it is done."""


@dataclass(frozen=True)
class Trial:
    """A candidate and how it did.

    Attributes:
        values: By field.
        run: Id of its run.
        folder: Name of the folder that the run's stands in: the sweep's, or another where a field that is tried also
            changes how is measured, as `max_completion_length`.
        score: On the validation split, on the field's scale; `None` where training failed.
        failure: Why it did; `None` where it did not.
    """

    values: Values
    run: str
    folder: str
    score: float | None
    failure: str | None = None


@dataclass(frozen=True)
class Choice:
    """What was tried for one trainer and reward, and what was chosen.

    Attributes:
        section: How its section of a configuration is called.
        metric: What it was chosen by.
        trials: In their order; one at least has a score.
        base: Score of the model before training.
    """

    section: str
    metric: Reward
    trials: tuple[Trial, ...]
    base: float

    @property
    def chosen(self) -> Trial:
        """The best; the first of equals."""
        sign = -1 if self.metric.lower_is_better else 1
        scored = [(trial, trial.score) for trial in self.trials if trial.score is not None]
        return max(scored, key=lambda pair: sign * pair[1])[0]

    @property
    def gains(self) -> bool:
        """Whether it is better than the model before training."""
        assert self.chosen.score is not None
        gain = self.chosen.score - self.base
        return (-gain if self.metric.lower_is_better else gain) > 0

    @property
    def ties(self) -> int:
        """How many other candidates are as good as the chosen one."""
        return sum(trial.score == self.chosen.score for trial in self.trials if trial.values != self.chosen.values)

    @property
    def at_an_end(self) -> list[str]:
        """Fields whose chosen value is the smallest or the largest of three numbers or more that were tried."""
        found = []
        for name, value in self.chosen.values.items():
            tried = {trial.values[name] for trial in self.trials}
            is_number = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in tried)
            if is_number and len(tried) > 2 and value in (min(tried), max(tried)):
                found.append(name)
        return found

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "section": self.section,
            "metric": str(self.metric.spec),
            "lower_is_better": self.metric.lower_is_better,
            "base": self.base,
            "trials": [dataclasses.asdict(trial) for trial in self.trials],
            "chosen": dict(self.chosen.values),
        }

    @property
    def notes(self) -> list[str]:
        """What a person should know of the choice."""
        found = [] if self.gains else ["the model before training does as well or better"]
        if self.ties:
            others = "another candidate does" if self.ties == 1 else f"{self.ties} other candidates do"
            found.append(f"{others} as well, and the first is taken")
        return found + [f"{name} is at the end of what was tried: try more beyond it" for name in self.at_an_end]

    def __str__(self) -> str:
        """What was chosen, in one sentence."""
        score = f"{self.metric.display} {figure(self.chosen.score, self.metric.scale)}"
        return "; ".join(
            [f"{self.section}: {written(self.chosen.values)} is the best on validation, {score}", *self.notes]
        )


@dataclass(frozen=True)
class Swept:
    """A sweep that is done.

    Attributes:
        sweep: It.
        planned: The ablation with what was chosen.
        choices: One for each trainer and reward.
        table: JSON of what was tried and chosen, in the ablation's folder.
        config: YAML of the whole configuration with what was chosen, as `--config` takes it; beside it.
    """

    sweep: Sweep
    planned: Plan
    choices: tuple[Choice, ...]
    table: Path
    config: Path


def run_sweep(sweep: Sweep, progress: Progress | None = None) -> Swept:
    """Trains and measures every trial that is not there yet, chooses, and writes down what was chosen.

    Raises:
        SpeechbenchError: If a trial fails otherwise than by diverging, all of a trainer and reward diverge, or the
            metric applies to no validation example.
    """
    progress = progress or Progress()
    run_all(dataclasses.replace(sweep.trials, runs=sweep.trials.runs[:1]), progress)
    chosen: dict[str, Values] = {}
    choices = []
    for unit in sweep.axes:
        choice = _choose(sweep, unit, chosen, progress)
        chosen[choice.section] = choice.chosen.values
        choices.append(choice)
        progress.tell(str(choice))
    planned = replanned(sweep.planned, progress, config=with_settings(sweep.planned, chosen))
    table, config = (planned.folder / f"sweep-{sweep.id}.{kind}" for kind in ("json", "yaml"))
    swept = Swept(sweep, planned, tuple(choices), table, config)
    if distributed.is_main():
        _write(swept)
    return swept


def written(values: Values) -> str:
    """Settings in one line."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def _choose(sweep: Sweep, unit: Unit, chosen: Mapping[str, Values], progress: Progress) -> Choice:
    metric, section, search = sweep.metric_of(unit), section_name(*unit), sweep.search(unit)
    trials: list[Trial] = []
    for number in range(len(search)):
        values = search.ask()
        config = with_settings(sweep.trials, {**chosen, section: values})
        planned = replanned(sweep.trials, Progress(), config=config)
        run = next(run for run in planned.runs if unit_of(run) == unit)
        progress.tell(f"sweep of {section}, trial {number + 1} of {len(search)}: {written(values)}")
        trial = Trial(values, run.id, planned.folder.name, *_try(planned, run, metric, progress))
        search.tell(None if trial.score is None else -trial.score if metric.lower_is_better else trial.score)
        trials.append(trial)
    if all(trial.score is None for trial in trials):
        raise SpeechbenchError(f"sweep of {section}: no candidate could be trained; the last: {trials[-1].failure}")
    return Choice(section, metric, tuple(trials), _score(sweep.trials, sweep.trials.runs[0], metric))


def _try(planned: Plan, run: PlannedRun, metric: Reward, progress: Progress) -> tuple[float | None, str | None]:
    """Score and failure of a trial; of the stages that it starts from, what is not done yet is done."""
    done = distributed.from_main([stage.id for stage in run.before if stage.is_finished])
    left = tuple(stage for stage in (*run.before, run) if stage.id not in done)
    kept = run.folder / _DIVERGED
    failure = distributed.from_main(kept.read_text(encoding="utf-8") if kept.exists() else None)
    if failure is None:
        try:
            run_all(dataclasses.replace(planned, runs=left), progress)
        except DivergedError as error:
            failure = str(error)
            replace(kept, failure)
            if distributed.world_size() > 1:  # the others are in the middle of a step
                raise DivergedError(f"{failure}; the same command goes on and passes this candidate over") from error
    if failure is not None:
        progress.tell(f"{failure}; as a candidate it is passed over")
        return None, failure
    return _score(planned, run, metric), None


def _score(planned: Plan, run: PlannedRun, metric: Reward) -> float:
    score = None
    if distributed.is_main():
        result = read_run(run.folder).result
        assert result is not None
        score = result.metrics[str(metric.spec)]
    score = distributed.from_main(score)
    if score is None:
        raise SpeechbenchError(
            f"metric {metric.display} applies to none of the {len(planned.examples)} validation examples: name another "
            "as sweep_metric"
        )
    return float(score)


def _write(swept: Swept) -> None:
    import yaml

    sweep = swept.sweep
    content = {
        "id": sweep.id,
        "axes": list(sweep.asked),
        "candidates": "all" if sweep.count is None else sweep.count,
        "seed": sweep.seed,
        "benchmark": sweep.trials.benchmark.name,
        "split": sweep.trials.asked.split,
        "examples": len(sweep.trials.examples),
        "config": swept.config.name,
        "choices": [choice.as_json() for choice in swept.choices],
    }
    replace(swept.table, dump(content, str(swept.table), indent=1) + "\n")
    config = {section: dict(settings) for section, settings in swept.planned.asked.config.items()}
    said = f"# Chosen on the validation split of {sweep.trials.benchmark.name}; {swept.table.name} says from what.\n"
    replace(swept.config, said + yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
