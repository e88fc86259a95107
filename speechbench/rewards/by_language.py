"""Scorers that go by the target language: the benchmark's, or that of each example where it has several."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from speechbench.benchmarks.base import SEVERAL_LANGUAGES, Benchmark, Example
from speechbench.rewards.base import Reward


class ByLanguage(Reward):
    """A scorer that cannot do every language, or does not do the same in each."""

    _language: str | None = None
    """The benchmark's, which the signature may tell of; `None` without one, or where each example has its own."""

    @abstractmethod
    def _check_language(self, language: str, of: str) -> None:
        """Refuses a target language that it cannot score, and makes sure of what it takes.

        Args:
            language: Its code.
            of: Whose it is, for errors.

        Raises:
            UsageError: If it cannot be scored.
            MissingError: If it takes what is not on this machine.
        """

    def check(self, benchmark: Benchmark) -> None:
        """Checks the target language; from then on the signature is that of the language.

        Where the benchmark has several languages, `prepare` checks them, and the signature holds for all.

        Raises:
            UsageError: If the language cannot be scored.
            MissingError: If it takes what is not on this machine.
        """
        if benchmark.target_language == SEVERAL_LANGUAGES:
            self._language = None
        else:
            self._check_language(benchmark.target_language, str(benchmark.name))
            self._language = benchmark.target_language

    def prepare(self, examples: Sequence[Example]) -> None:
        """Checks each target language that occurs.

        Raises:
            UsageError: If one cannot be scored.
            MissingError: If one takes what is not on this machine.
        """
        for language, example in {example.target_language: example for example in reversed(examples)}.items():
            self._check_language(language, f"example {example.id!r}")
