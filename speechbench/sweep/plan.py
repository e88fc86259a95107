"""What a sweep will try: on the validation split, each trainer and reward by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speechbench import distributed
from speechbench.costs import Cost, cost_of, lengths_of, most, total
from speechbench.errors import UsageError
from speechbench.grid import PlannedRun
from speechbench.planning import Plan, replan
from speechbench.progress import Progress
from speechbench.rewards.base import Reward
from speechbench.rewards.measure import check_metric
from speechbench.settings import hashed, settable
from speechbench.stage_configs import section_name
from speechbench.sweep.space import Axis, Draws, Grid, Search, Values, axes_of, representatives

SEED = 1000
"""Of the trials' training and of the sampler: none that an ablation is likely to use."""
OWN = "reward"
"""As a metric: each run is chosen by the reward that it is trained on."""

Unit = tuple[str, str | None]
"""What a run is but for its seed: its trainer and the resolved spec of its reward."""


@dataclass(frozen=True)
class Sweep:
    """A sweep before it is done.

    Attributes:
        planned: The ablation, without what the sweep will choose.
        trials: The plan of its trials, on the validation split.
        axes: What is tried for each trainer and reward, in the order in which they are done; typed as its fields are.
        candidates: Plans of one trial each, on top of the settings before the sweep: of all, or where candidates are
            drawn, of some that stand for them.
        count: How many candidates are drawn for each; `None` where all are tried.
        metric: As it was asked for; `None` for the benchmark's first.
        asked: The axes as they were asked for.
        seed: Of training and sampler.
    """

    planned: Plan
    trials: Plan
    axes: Mapping[Unit, tuple[Axis, ...]]
    candidates: Mapping[Unit, tuple[Plan, ...]]
    count: int | None
    metric: str | None
    asked: tuple[str, ...]
    seed: int

    @property
    def id(self) -> str:
        """Hash of what is tried, on top of which settings, and by what it is chosen."""
        return hashed([[run.id for run in self.trials.runs], self.count, self.metric, self.asked])[:8]

    def search(self, unit: Unit) -> Search:
        """The candidates for a trainer and reward, from the first."""
        return _search(self.axes[unit], self.count, self.seed)

    def metric_of(self, unit: Unit) -> Reward:
        """What says which of its candidates is the best."""
        by_spec = {str(metric.spec): metric for metric in self.trials.metrics}
        return by_spec.get(unit[1] or "", self.trials.metrics[0])

    def cost(self) -> Cost:
        """Of what is left to do: the trials, what they start from, and measuring the base model.

        At most: of drawn candidates each is taken to be as large as any, and not yet done. Nor are those of later
        stages, for only what is chosen before says which they are.
        """
        lengths = lengths_of(self.trials)
        base, *others = self.trials.runs
        starts = [start for run in others if unit_of(run) in self.axes for start in run.before]
        once = {run.id: run for run in (base, *starts) if unit_of(run) not in self.axes and not run.is_finished}
        found = [cost_of(self.trials, run, lengths) for run in once.values()]
        for plans in self.candidates.values():
            if self.count is None:
                found += [cost_of(plan, run, lengths) for plan in plans for run in plan.runs if not run.is_finished]
            else:
                found += self.count * [most(cost_of(plan, run, lengths) for plan in plans for run in plan.runs)]
        return total(found)


def is_asked(axes: Sequence[str], trials: int | None, metric: str | None, seed: int | None) -> bool:
    """Whether there is to be a sweep.

    Raises:
        UsageError: If something is said of it, and there is none.
    """
    others = {"sweep_trials": trials, "sweep_metric": metric, "sweep_seed": seed}
    if said := [name for name, value in others.items() if value is not None and not axes]:
        raise UsageError(
            f"{' and '.join(said)} without sweep: say what is swept, as in sweep=['learning_rate=5e-5,2e-4']"
        )
    return bool(axes)


def plan_sweep(
    planned: Plan,
    axes: Sequence[str],
    trials: int | None = None,
    metric: str | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Resolves what is to be tried.

    Args:
        planned: The ablation.
        axes: Fields and what is tried of them: "learning_rate=5e-5,2e-4", or with `trials` a range, "1e-6..5e-5". A
            trainer without a field sweeps the others.
        trials: Draw so many candidates by Optuna for each trainer and reward; `None`: try all combinations.
        metric: Spec of what is best on the validation split. `None`: the benchmark's first metric, so that all rewards
            are tuned by one yardstick and none by itself. `OWN`: each reward by itself, where it can measure.
        seed: Of the trials' training and of the sampler, by default `SEED`; none of the ablation's.
        progress: Told which trainers have not all fields.

    Raises:
        UsageError: If a field, a value, the metric or the seed is wrong, or the benchmark has no validation split.
        MissingError: If Optuna is missing.
    """
    progress, seed = progress or Progress(), SEED if seed is None else seed
    if planned.asked.processes != distributed.world_size():
        raise UsageError(
            f"processes={planned.asked.processes} with a sweep, which this process does itself: start the command with "
            f"`accelerate launch --num_processes {planned.asked.processes}` instead"
        )
    if seed in planned.asked.seeds:
        raise UsageError(f"sweep_seed={seed} is a seed of the ablation: give another, or luck is chosen and measured")
    fields = {stage: settable(stage, function) for stage, function in planned.trainers.items()}
    read = axes_of(axes, {name for types_of in fields.values() for name in types_of}, trials)
    for flag, name in (("steps", "max_steps"), ("limit", "limit")):
        if getattr(planned.asked, flag) is not None and name in [axis.name for axis in read]:
            raise UsageError(f"sweep of {name!r}: {flag} sets it for all trainers: leave {flag} out")
    on_validation = _on_validation(planned, metric, seed)
    units = dict.fromkeys(unit_of(run) for run in on_validation.runs if run.trainer is not None)
    tried: dict[Unit, tuple[Axis, ...]] = {}
    for unit in sorted(units, key=lambda unit: unit[0].count("+")):  # a later stage starts from what was chosen
        types_of = fields[unit[0].split("+")[-1]]
        tried[unit] = tuple(axis.typed(types_of[axis.name]) for axis in read if axis.name in types_of)
    for stage, types_of in fields.items():
        if lacking := [axis.name for axis in read if axis.name not in types_of]:
            progress.tell(f"{stage} has no {' and no '.join(lacking)}: what it has is swept")
    tried = {unit: its for unit, its in tried.items() if its}
    candidates = {unit: _candidates(on_validation, unit, its, trials, seed) for unit, its in tried.items()}
    return Sweep(planned, on_validation, tried, candidates, trials, metric, tuple(axes), seed)


def unit_of(run: PlannedRun) -> Unit:
    """What a run is but for its seed; of the base model no trainer."""
    return run.trainer or "", None if run.reward is None else str(run.reward.spec)


def replanned(planned: Plan, progress: Progress, **changes: Any) -> Plan:
    """`replan`, by the main process first."""
    with distributed.main_first():
        return replan(planned, progress, **changes)


def with_settings(planned: Plan, chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The sections of a plan, with these settings on top."""
    sections: dict[str, Mapping[str, Any]] = dict(planned.configs.sections)
    for section, values in chosen.items():
        sections[section] = {**sections.get(section, {}), **values}
    return sections


def _on_validation(planned: Plan, metric: str | None, seed: int) -> Plan:
    """The same runs, with the sweep's seed, measured on as much of the validation split as training would be."""
    limits = {config.eval_limit for config in planned.configs.used([str(r.spec) for r in planned.trained_on])}
    found = replanned(
        planned,
        Progress(),
        split="validation",
        split_limit=None if None in limits else max(limit for limit in limits if limit is not None),
        seeds=(seed,),
        metrics=_metrics(planned, metric),
        sampled=None,
    )
    if not found.examples:
        raise UsageError(f"sweep: benchmark {planned.benchmark.name} has no validation split to choose on")
    if found.metrics[0].family == "control":
        raise UsageError(
            f"sweep_metric={metric!r} is a control, which says nothing of how good an answer is: name another"
        )
    return found


def _metrics(planned: Plan, metric: str | None) -> list[str]:
    """Specs of all that some trial is chosen by."""
    first = planned.benchmark.metrics[0]
    if metric != OWN:
        return [metric or first]
    return list(dict.fromkeys([first, *(str(reward.spec) for reward in planned.trained_on if _measures(reward))]))


def _measures(reward: Reward) -> bool:
    """Whether a reward can choose by itself: controls say nothing of how good an answer is."""
    try:
        check_metric(reward)
    except UsageError:
        return False
    return reward.family != "control"


def _search(axes: Sequence[Axis], count: int | None, seed: int) -> Search:
    return Grid({axis.name: axis.values for axis in axes}) if count is None else Draws(axes, count, seed)


def _candidates(trials: Plan, unit: Unit, axes: Sequence[Axis], count: int | None, seed: int) -> tuple[Plan, ...]:
    """Plans of trials; what makes no sense is so refused before the first is trained."""
    search = _search(axes, count, seed)
    found: dict[str, tuple[Plan, Values]] = {}
    for values in search.all if isinstance(search, Grid) else representatives(axes):
        planned = replanned(trials, Progress(), config=with_settings(trials, {section_name(*unit): values}))
        (run,) = (run for run in planned.runs if unit_of(run) == unit)
        _, other = found.setdefault(run.id, (dataclasses.replace(planned, runs=(run,)), values))
        if other != values:
            changed = ", ".join(name for name in values if values[name] != other[name])
            raise UsageError(f"sweep of {changed}: it changes nothing of what is trained, so leave it out")
    return tuple(planned for planned, _ in found.values())
