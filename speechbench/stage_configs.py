"""What each stage of each trainer is told: the sections of a configuration, resolved.

A section is called by a trainer, `grpo`, by a chain, `sft+grpo`, or by either and one reward, `grpo(bleu)`: then it
holds for the runs on that reward alone. Later ones of these stand on top of earlier ones: the stage's, the chain's up
to it, and both again for the reward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from speechbench.benchmarks.base import Benchmark
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.errors import UsageError
from speechbench.grammar import parse_expression
from speechbench.registry import TRAINERS
from speechbench.rewards.base import Reward
from speechbench.rewards.loading import identity, resolve
from speechbench.settings import configure, hashed
from speechbench.trainers.base import TrainConfig, TrainResult
from speechbench.trainers.validation import measured_by

Sections = Mapping[str, Mapping[str, Any]]


def section_name(chain: str, reward: str | None) -> str:
    """How the section of a chain is called, for one reward or for all."""
    return chain if reward is None else f"{chain}({reward})"


class StageConfigs:
    """The configuration of every stage of every chain, for every reward.

    Args:
        chains: The stages by the trainer's name.
        functions: The trainers by the stages' names.
        benchmark: Gives the length of completions where no section does.
        common: Settings of all stages, on top of all sections; `None` where there is none.
        sections: Settings by section.
        rewards: Resolved specs of all that may be trained on.

    Attributes:
        sections: As given, under the one spelling of their names.

    Raises:
        UsageError: If a section concerns nothing that is trained, is given twice, or holds no settings that its
            trainer takes.
    """

    def __init__(
        self,
        chains: Mapping[str, Sequence[str]],
        functions: Mapping[str, Callable[..., TrainResult]],
        benchmark: Benchmark,
        common: Mapping[str, int | None],
        sections: Sections,
        rewards: Sequence[str],
    ) -> None:
        self._chains = chains
        self._benchmark = benchmark
        self._functions = functions
        self._common = {key: value for key, value in common.items() if value is not None}
        parts = {
            part for name, stages in chains.items() for place in range(len(stages)) for part in self._at(name, place)
        }
        named = self._named(sections, parts, rewards)
        self._settings = {key: dict(settings) for key, (_, settings) in named.items()}
        self._configs: dict[tuple[str, int, str | None], TrainConfig] = {}
        for name, stages in chains.items():
            for place in range(len(stages)):
                self._configs[name, place, None] = self._made(name, place, None)
        for (part, reward), (given, _) in named.items():
            if reward is not None and not self._meets_reward(part):
                raise UsageError(f"configuration of {given!r}: {part} takes no reward, so write {part!r} alone")
        for name, stages in chains.items():
            for place in range(len(stages)):
                for reward in {reward for part, reward in named if reward and part in self._at(name, place)}:
                    self._configs[name, place, reward] = self._made(name, place, reward)
        self.sections = {section_name(*key): settings for key, settings in self._settings.items()}

    def of(self, name: str, place: int, reward: str | None) -> TrainConfig:
        """What a stage is told.

        Args:
            name: Of the chain.
            place: Of the stage in it, from 0.
            reward: Resolved spec of what the run is trained on, in this stage or before; `None` for none.
        """
        return self._configs.get((name, place, reward)) or self._configs[name, place, None]

    def takes_reward(self, name: str, place: int | None = None) -> bool:
        """Whether a chain is trained on a reward, up to the stage at a place or anywhere."""
        end = len(self._chains[name]) if place is None else place + 1
        return any(self._configs[name, at, None].uses_reward for at in range(end))

    def used(self, rewards: Sequence[str]) -> Iterator[TrainConfig]:
        """The configurations of all stages, for rewards of these resolved specs."""
        for name, stages in self._chains.items():
            for place in range(len(stages)):
                for reward in rewards if rewards and self.takes_reward(name, place) else [None]:
                    yield self.of(name, place, reward)

    def validations(self, rewards: Sequence[str], metrics: Sequence[Reward]) -> list[Any]:
        """By what and on what the trainings that ask for it choose their best model, as it is hashed."""
        known = {str(metric.spec): metric for metric in metrics}
        found = {}
        for config in self.used(rewards):
            if config.eval_steps is not None:
                metric, examples = measured_by(self._benchmark, config, known)
                data = fingerprint(examples)
                by = {"metric": identity(metric), "signature": dict(metric.signature()), "data": data}
                found[hashed(by)] = by
        return [found[key] for key in sorted(found)]

    def _at(self, name: str, place: int) -> tuple[str, str]:
        """The stage's own name, and its name with those before it."""
        stages = self._chains[name]
        return stages[place], "+".join(stages[: place + 1])

    def _made(self, name: str, place: int, reward: str | None) -> TrainConfig:
        stage, whole = self._at(name, place)
        settings: dict[str, Any] = {}
        for of_reward in (None, reward):
            for part in (stage, whole):
                settings.update(self._settings.get((part, of_reward), {}))
        defaults = {"max_completion_length": self._benchmark.max_completion_length}
        return configure(section_name(whole, reward), self._functions[stage], {**settings, **self._common}, defaults)

    def _meets_reward(self, part: str) -> bool:
        """Whether what a section is called by is trained on a reward: the stage itself, or one before it."""
        stages = part.split("+")
        return any(
            config.uses_reward
            for (name, place, _), config in self._configs.items()
            if self._chains[name][place] in stages
        )

    def _named(
        self, sections: Sections, parts: set[str], rewards: Sequence[str]
    ) -> dict[tuple[str, str | None], tuple[str, Mapping[str, Any]]]:
        """The settings, and the section as it was given, by what it concerns."""
        found: dict[tuple[str, str | None], tuple[str, Mapping[str, Any]]] = {}
        for section, settings in sections.items():
            part, reward = self._split(str(section), parts)
            for stage in part.split("+"):
                TRAINERS.get(stage)
            if not isinstance(settings, Mapping):
                raise UsageError(
                    f"configuration of {section}: {settings!r} should hold settings, as in learning_rate: 1e-5"
                )
            if part not in parts:
                raise UsageError(f"configuration of {section!r}: that trainer is not among {', '.join(self._chains)}")
            if reward is not None and reward not in rewards:
                among = f"not among {', '.join(rewards)}" if rewards else "not trained on"
                raise UsageError(f"configuration of {section!r}: that reward is {among}")
            if (part, reward) in found:
                raise UsageError(f"configuration of {section!r}: it is given twice, as {found[part, reward][0]!r} too")
            found[part, reward] = str(section), settings
        return found

    def _split(self, section: str, parts: set[str]) -> tuple[str, str | None]:
        """A section's name as trainer and resolved reward."""
        part, bracket, rest = section.partition("(")
        if section in parts or not bracket or not section.endswith(")"):
            return section, None
        for known in parts:  # its path may hold a bracket too
            if section.startswith(f"{known}("):
                part, rest = known, section[len(known) + 1 :]
        try:
            return part, str(resolve(parse_expression(rest[:-1]), self._benchmark))
        except UsageError as error:
            raise UsageError(f"configuration of {section!r}: {error}") from None
