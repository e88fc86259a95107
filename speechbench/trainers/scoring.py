"""A reward at work in one training: asked once for each text, timed, and not waited for longer than need be."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress, repeat
from pathlib import Path
from typing import Any

import torch

from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.combined import Combined
from speechbench.rewards.loading import identity
from speechbench.rewards.measure import require_some, scores_of
from speechbench.run_files import replace
from speechbench.seeds import derive
from speechbench.threads import begun

FILE = "scores-{rank}.json"  # in a checkpoint; each process has prompts of its own
PATIENCE = 10
"""Batches after which a reward that has applied to nothing is refused."""
KEPT = 200_000  # scores, at some 50 bytes each in a checkpoint


class Scorer:
    """Scores the hypotheses of one training.

    Scores of rewards that are pure are kept by example and text, those of sums and products part by part. Checkpoints
    hold them, so that a training that was killed goes on with the same scores to the last bit, even where those of a
    neural scorer depend in it on what else stood in the batch.

    Args:
        reward: What scores.
        rank: Of the process, where several train together.

    Attributes:
        seconds: Wall time of the reward's scoring so far by its display, and of each part of a combined one.
        usage: What scoring has used up so far that someone pays for, as `Reward.usage` says it.
    """

    def __init__(self, reward: Reward, rank: int = 0) -> None:
        self.reward = reward
        self.file = FILE.format(rank=rank)
        self.seconds: dict[str, float] = {}
        self.usage: dict[str, float] = {}
        self._kept: dict[str, float | None] = {}
        self._before = dict(reward.usage())  # by trainings before this one
        self._parts = dict(reward.part_seconds())
        self._means: dict[str, list[float]] = {}
        self._is_own: list[bool] | None = None  # of each hypothesis in the present batch; `None` for all
        self._names: dict[int, str] = {}
        self._silent = 0  # batches so far, as long as the reward has applied to nothing; then -1
        self._unscored = Batch([], [], [])  # the last of them

    def begin(
        self,
        texts: Sequence[Sequence[str]],
        examples: Sequence[Example],
        seed: int,
        step: int,
        logprobs_PG: torch.Tensor | None = None,
        off_policy_PG: torch.Tensor | None = None,
    ) -> Callable[[], torch.Tensor]:
        """Starts to score the groups of one step; a reward that waits for something outside does so meanwhile.

        Args:
            texts: The hypotheses of each prompt's group.
            examples: The prompts.
            seed: Of the training.
            step: Optimizer steps done.
            logprobs_PG: Mean log-probability of each hypothesis' tokens under the policy, where it is known.
            off_policy_PG: Which hypotheses the policy did not write, bool: `means` leaves them out; `None` for none.

        Returns:
            What gives the rewards on unit scale when they are needed, NaN where the reward does not apply, float64
            [prompt, member]; it raises what `scores` raises.
        """
        members = [(e, m) for e, group in zip(examples, texts, strict=True) for m in range(len(group))]
        batch = Batch(
            hypotheses=[text for group in texts for text in group],
            examples=[e for e, _ in members],
            seeds=[derive(seed, step, e.id, m, "reward") for e, m in members],
            logprobs=None if logprobs_PG is None else logprobs_PG.flatten().tolist(),
        )
        self._is_own = None if off_policy_PG is None else (~off_policy_PG).flatten().tolist()
        scores = self._started(batch)

        def rewards_PG() -> torch.Tensor:
            flat = [math.nan if score is None else score for score in scores()]
            return torch.tensor(flat, dtype=torch.float64).view(len(texts), -1)

        return rewards_PG

    def _started(self, batch: Batch) -> Callable[[], list[float | None]]:
        if self.reward.waits:
            return begun(lambda: self.scores(batch))
        scores = self.scores(batch)
        return lambda: scores

    def scores(self, batch: Batch) -> list[float | None]:
        """The reward's scores on unit scale, `None` where it does not apply.

        Raises:
            SpeechbenchError: If the reward fails, or has applied to nothing in the training's first `PATIENCE` batches.
        """
        start = time.perf_counter()
        with torch.no_grad(), self._asking():  # which holds for one thread alone
            scores = self._ask(self.reward, batch)
        if any(score is not None for score in scores):
            self._silent = -1
        elif self._silent >= 0:
            self._silent += 1
            self._unscored = batch
            if self._silent == PATIENCE:
                self.require_applied()
        self._count(time.perf_counter() - start)
        return scores

    def require_applied(self) -> None:
        """Called when a training ends.

        Raises:
            SpeechbenchError: If the reward has applied to nothing in all of it.
        """
        if self._silent > 0:
            require_some([None], self.reward, self._unscored)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """While it lasts, combinations ask for their parts' scores here; measuring must not be given what is kept."""
        # Each once: (bleu + chrf)*(bleu + chrf) may hold one sum twice.
        combinations = set(self.reward.combinations()) if isinstance(self.reward, Combined) else set()
        for combination in combinations:
            combination.ask = self._ask_part
        try:
            yield
        finally:
            for combination in combinations:
                del combination.ask

    def save(self, checkpoint: Path) -> dict[str, Any]:
        """Writes the kept scores into a checkpoint.

        Returns:
            What `go_on` wants beside them, as JSON can write it.
        """
        replace(checkpoint / self.file, json.dumps(self._kept))
        return {"seconds": self.seconds, "usage": self.usage, "silent": self._silent}

    def go_on(self, checkpoint: Path, counted: Mapping[str, Any]) -> None:
        """Goes on from what `save` wrote and returned.

        Raises:
            SpeechbenchError: If the scores cannot be read.
        """
        try:
            self._kept = json.loads((checkpoint / self.file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SpeechbenchError(
                f"{checkpoint / self.file} cannot be read ({error}): remove the folder {checkpoint}, and the same "
                "command trains anew"
            ) from None
        self.seconds, self.usage = dict(counted["seconds"]), dict(counted["usage"])
        self._silent = counted["silent"]

    def pass_over(self) -> None:
        """Leaves out of `seconds` and `usage` what the reward did until now: it was asked for something else."""
        self._parts, self._before = dict(self.reward.part_seconds()), dict(self.reward.usage())

    def means(self) -> dict[str, float]:
        """Of each part of a sum or product, the mean score of what the policy wrote since the last call, by display."""
        means = {name: sum(values) / len(values) for name, values in self._means.items()}
        self._means.clear()
        return means

    def _ask_part(self, part: Reward, batch: Batch) -> list[float | None]:
        scores = self._ask(part, batch)
        own = compress(scores, self._is_own or repeat(True))
        known = [score for score in own if score is not None]
        if known:
            self._means.setdefault(part.display, []).append(sum(known) / len(known))
        return scores

    def _ask(self, reward: Reward, batch: Batch) -> list[float | None]:
        """Scores, from what is kept where they can be; a combination asks for those of its parts itself."""
        if isinstance(reward, Combined) or not reward.is_pure:
            return scores_of(reward, batch)
        name = self._names.get(id(reward)) or self._names.setdefault(id(reward), _identity(reward))
        keys = [_key(name, example, text) for example, text in zip(batch.examples, batch.hypotheses, strict=True)]
        new = {key: row for row, key in enumerate(keys) if key not in self._kept}
        known = {key: self._kept[key] for key in keys if key in self._kept}
        asked = sorted(new.values())
        known.update(zip((keys[row] for row in asked), scores_of(reward, batch.select(asked)), strict=True))
        self._kept.update(known)
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]  # the oldest
        return [known[key] for key in keys]

    def _count(self, seconds: float) -> None:
        parts, used = self.reward.part_seconds(), self.reward.usage()
        spent = {name: total - self._parts.get(name, 0.0) for name, total in parts.items()}
        for name, own in {**spent, self.reward.display: seconds}.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + own
        for what, amount in used.items():
            self.usage[what] = self.usage.get(what, 0.0) + amount - self._before.get(what, 0.0)
        self._parts, self._before = dict(parts), dict(used)


def _identity(reward: Reward) -> str:
    """What tells a reward from others."""
    name = identity(reward) if hasattr(reward, "spec") else reward.display
    return f"{name} {json.dumps(dict(reward.signature()), sort_keys=True)}"


def _key(reward: str, example: Example, text: str) -> str:
    asked = (reward, example.id, example.instruction, example.source, example.references, text)
    return hashlib.blake2b(repr(asked).encode(errors="surrogatepass"), digest_size=12).hexdigest()
