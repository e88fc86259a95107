"""The command that repeats a run, from what its folder says."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from speechbench.errors import SpeechbenchError
from speechbench.grammar import parse_expression
from speechbench.registry import REWARDS, TRAINERS
from speechbench.run_schema import RunInfo, Sampled
from speechbench.specs import Spec, as_spec

SETTINGS = "settings.yaml"
_NO_SETTINGS = ("start", "reward_signature")  # what tells rows apart beside the trainer's own settings


@dataclass(frozen=True)
class Repeat:
    """How to do a run again.

    Attributes:
        command: Lines for a shell.
        settings: What stands in `SETTINGS`, which the command names; `None` where there is none.
        remarks: What the command leaves open, or does beside.
    """

    command: str
    settings: str | None
    remarks: tuple[str, ...]


def command_of(info: RunInfo) -> str:
    """The command that repeats a run, one line of a shell each: first the commit, where it is known."""
    return repeat(info).command


def repeat(info: RunInfo, limit: int | None = None, sampled: Sampled | None = None) -> Repeat:
    """The command that repeats a run, with the settings that no option of it sets.

    Args:
        info: What the run is.
        limit: Of the ablation it belongs to; a training says so itself.
        sampled: How sampled answers were asked for, where they were.
    """
    stages = _stages(info)
    told = [settings.get("limit") for _, settings in stages]
    if told and all(its == told[0] for its in told):
        limit = told[0]
    settings = _settings_text(stages) if stages else None
    words = _words(info, stages, limit, sampled)
    lines = [*_checkout(info), _line(words)]
    if not stages and not info.control and sampled is not None:
        lines.append(_line([*words, *_passes(sampled, "")]))
    return Repeat("\n".join(lines), settings, tuple(_remarks(info, sampled)))


def _words(
    info: RunInfo, stages: Sequence[tuple[str, dict[str, Any]]], limit: int | None, sampled: Sampled | None
) -> list[str]:
    asked = ["--benchmark", info.benchmark, "--model", info.model]
    if info.metrics:
        asked += ["--metrics", ",".join(metric.name for metric in info.metrics)]
    if limit is not None:
        asked += ["--limit", str(limit)]
    if not stages:
        if info.control:  # nothing else measures it; of the training beside it one step is the least
            return [*_program(info), "ablate", "--controls", "--trainers", "sft", "--steps", "1", *asked]
        return ["speechbench", "eval", "--split", info.split, *asked]
    words = [*_program(info), "train", "--trainer", str(info.trainer)]
    if info.reward is not None:
        words += ["--reward", info.reward]
    if info.seed is not None:
        words += ["--seed", str(info.seed)]
    steps = _common_steps(stages)
    if steps is not None:
        words += ["--steps", str(steps)]
    words += asked
    if sampled is not None:
        words += _passes(sampled, "sampled-")
    return [*words, "--config", SETTINGS]


def _program(info: RunInfo) -> list[str]:
    processes = info.provenance.get("processes")
    if isinstance(processes, int) and processes > 1:
        return ["torchrun", "--standalone", "--nproc-per-node", str(processes), "-m", "speechbench"]
    return ["speechbench"]


def _passes(sampled: Sampled, prefix: str) -> list[str]:
    passes = max(map(len, sampled.metrics.values()), default=0)
    return [
        f"--{prefix}passes", str(passes), f"--{prefix}temperature", str(sampled.temperature),
        f"--{prefix}top-p", str(sampled.top_p),
    ]  # fmt: skip


def _line(words: Sequence[str]) -> str:
    return " ".join(map(shlex.quote, words))


def _checkout(info: RunInfo) -> Iterator[str]:
    commit = str(info.provenance.get("commit") or "").rstrip("+")
    if commit:
        yield _line(["git", "checkout", commit])


def _stages(info: RunInfo) -> list[tuple[str, dict[str, Any]]]:
    """The section of each stage of a training and what it was told, the first stage first; none for a base model."""
    if info.trainer is None:
        return []
    names = info.trainer.split("+")
    configs: list[Mapping[str, Any]] = [info.config]
    while isinstance(before := configs[0].get("start"), Mapping):
        configs.insert(0, before)
    configs = configs[-len(names) :]
    first = len(names) - len(configs)
    return [
        ("+".join(names[: first + place + 1]), {key: its for key, its in config.items() if key not in _NO_SETTINGS})
        for place, config in enumerate(configs)
    ]


def _common_steps(stages: Sequence[tuple[str, dict[str, Any]]]) -> int | None:
    """Of all stages, where it is the same; then an option says it."""
    steps = [settings.get("max_steps") for _, settings in stages]
    return steps[0] if steps and isinstance(steps[0], int) and steps.count(steps[0]) == len(steps) else None


def _settings_text(stages: Sequence[tuple[str, dict[str, Any]]]) -> str:
    import yaml

    limits = [settings.get("limit") for _, settings in stages]
    said = {"seed"}  # by options
    if _common_steps(stages) is not None:
        said.add("max_steps")
    if limits.count(limits[0]) == len(limits):
        said.add("limit")
    sections = {name: {key: its for key, its in settings.items() if key not in said} for name, settings in stages}
    return yaml.safe_dump(_plain(sections), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    """The same of types that YAML knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _remarks(info: RunInfo, sampled: Sampled | None) -> Iterator[str]:
    commit = str(info.provenance.get("commit") or "")
    if commit.endswith("+"):
        yield "The checkout had changes that no commit holds: the same commit may not give the same run."
    elif not commit:
        yield "The commit is not known: the run was made by an installed package, whose version is below."
    if info.trainer is None and info.control:
        yield f"Only an ablation measures {info.control}; it does one step of SFT and the other controls beside."
    if info.trainer is not None and info.split != "test":
        yield f"This run was measured on the {info.split} split, as a sweep's trials are; the command measures on test."
    if info.trainer is None and sampled is not None:
        yield "The second evaluation is of the sampled answers."
    yield from _own(info)


def _own(info: RunInfo) -> Iterator[str]:
    """What the run's folder names, but does not say where it lies: plugs of the user's own."""
    trainers = [name for name in (info.trainer or "").split("+") if name and name not in TRAINERS.names()]
    for name in trainers:
        yield f"The trainer {name} is none of speechbench's: name its file, as in path/to/file.py:{name}."
    try:
        names = [] if info.reward is None else list(_names(parse_expression(info.reward)))
    except SpeechbenchError:
        names = []
    for name in dict.fromkeys(names):
        if name not in REWARDS.names() and ":" not in name:
            yield f"The reward {name} is none of speechbench's: name its file, as in path/to/file.py:{name}."


def _names(spec: Spec) -> Iterator[str]:
    yield spec.name
    for argument in spec.arguments:
        if isinstance(argument, (str, Spec)) and spec.name in ("sum", "product", "shuffled"):
            yield from _names(as_spec(argument))
