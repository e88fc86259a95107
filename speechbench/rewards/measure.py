"""Asking a reward for scores, and believing none that is no score."""

from __future__ import annotations

import math
import numbers
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from speechbench.aggregate import AGGREGATES
from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.rewards.base import Batch, Reward, mean_statistics, no_logprobs
from speechbench.rewards.needs import lacking

_SHOWN = 60  # characters of a hypothesis in an error
_ONE_EACH = "return one finite number per hypothesis, or None where the reward does not apply"


@dataclass(frozen=True)
class Measurement:
    """What a metric says of one model's hypotheses.

    Attributes:
        name: The metric's spec, which recreates it.
        display: What its column is called.
        aggregate: How `statistics` make a corpus score: a name in `AGGREGATES`.
        scale: Field's scale over unit scale.
        lower_is_better: Whether it counts errors.
        segments: For each hypothesis its score on the field's scale; `None` where the metric does not apply.
        statistics: Sufficient statistics, shape [segment, statistic].
        corpus: Corpus score on the field's scale.
        signature: Everything the scores depend on.
    """

    name: str
    display: str
    aggregate: str
    scale: float
    lower_is_better: bool
    segments: list[float | None]
    statistics: npt.NDArray[np.float64]
    corpus: float
    signature: Mapping[str, Any]


def prepare(reward: Reward, examples: Sequence[Example]) -> None:
    """Shows a reward all examples that are going to be scored.

    Raises:
        SpeechbenchError: If the reward fails on them; the message names it.
    """
    try:
        reward.prepare(examples)
    except SpeechbenchError:
        raise
    except Exception as error:
        raise SpeechbenchError(
            f"reward {_name(reward)} failed to prepare for {len(examples)} examples: {_said(error)}: "
            "mend its method prepare"
        ) from error


def checked_scores(reward: Reward, batch: Batch) -> list[float | None]:
    """The reward's scores on unit scale; nothing that went wrong is counted as a score.

    Raises:
        SpeechbenchError: As `scores_of`, and if it gives `None` for every hypothesis.
    """
    scores = scores_of(reward, batch)
    require_some(scores, reward, batch)
    return scores


def require_some(scores: Sequence[float | None], reward: Reward, batch: Batch) -> None:
    """Refuses a reward that applies to nothing.

    Raises:
        SpeechbenchError: If there are scores and all of them are `None`; the message says what is lacking.
    """
    if scores and all(score is None for score in scores):
        raise SpeechbenchError(
            f"reward {_name(reward)} does not apply here: it gave no score to any of {_hypotheses(batch)}"
            f"{_unmet(reward, batch)}: choose another reward, or a benchmark that has what it needs"
        )


def scores_of(reward: Reward, batch: Batch) -> list[float | None]:
    """The reward's scores on unit scale, each a finite number, or `None` where it does not apply.

    Raises:
        SpeechbenchError: If the reward fails, or returns something other than one finite number or `None` per
            hypothesis; the message names the reward, the example and the remedy.
    """
    if not batch.hypotheses:
        return []
    try:
        result = reward.score(batch)
    except SpeechbenchError:
        raise  # already a sentence for the user
    except Exception as error:
        raise SpeechbenchError(_failure(reward, batch, error)) from error
    if not isinstance(result, (list, tuple, np.ndarray)):
        raise SpeechbenchError(
            f"reward {_name(reward)} returned a {type(result).__name__}, not a list of scores, "
            f"for {_hypotheses(batch)}: {_ONE_EACH}"
        )
    if len(result) != len(batch.hypotheses):
        raise SpeechbenchError(
            f"reward {_name(reward)} returned {len(result)} scores for {_hypotheses(batch)}: {_ONE_EACH}"
        )
    return [_checked(score, reward, batch, index) for index, score in enumerate(result)]


def check_metric(reward: Reward) -> None:
    """Refuses a reward that cannot be used to measure.

    Raises:
        UsageError: If it needs a model's log-probabilities or a group to compare within, or its aggregate does not
            exist.
    """
    if "logprobs" in reward.needs:
        raise no_logprobs(_name(reward))
    if "group" in reward.needs:
        raise UsageError(
            f"reward {_name(reward)} compares the hypotheses of a group, which only training has: train on it "
            "with `speechbench ablate --rewards`, and measure with the sum without normalize=group"
        )
    if reward.aggregate not in AGGREGATES:
        raise UsageError(
            f"reward {_name(reward)} has the aggregate {reward.aggregate!r}, which does not exist: "
            f"there are {', '.join(sorted(AGGREGATES))}"
        )


def measure(reward: Reward, hypotheses: Sequence[str], examples: Sequence[Example]) -> Measurement:
    """Scores hypotheses as a metric: per segment and as a corpus.

    Args:
        reward: The metric.
        hypotheses: One for each example.
        examples: In the same order.

    Raises:
        UsageError: If there are no hypotheses, or not as many as examples, or the reward is no metric.
        SpeechbenchError: As `checked_scores`, and if the statistics are not finite numbers of one length.
    """
    if not hypotheses or len(hypotheses) != len(examples):
        raise UsageError(
            f"{_name(reward)} cannot be measured on {len(hypotheses)} hypotheses of {len(examples)} examples: "
            "give one for each, and at least one"
        )
    check_metric(reward)
    prepare(reward, examples)
    batch = Batch.of(hypotheses, examples)
    scores = checked_scores(reward, batch)
    if reward.statistics_are_scores:
        statistics = mean_statistics(scores, reward.scale)  # no second scoring
    else:
        statistics = checked_statistics(reward, batch)
        statistics[[score is None for score in scores]] = 0.0  # what does not apply counts for nothing
    return Measurement(
        name=str(getattr(reward, "spec", _name(reward))),
        display=reward.display,
        aggregate=reward.aggregate,
        scale=reward.scale,
        lower_is_better=reward.lower_is_better,
        segments=reward.segments(scores, statistics),
        statistics=statistics,
        corpus=float(AGGREGATES[reward.aggregate](statistics.sum(axis=0))),
        signature=reward.signature(),
    )


def checked_statistics(reward: Reward, batch: Batch) -> npt.NDArray[np.float64]:
    """The reward's sufficient statistics.

    Returns:
        Shape [segment, statistic], all finite.

    Raises:
        SpeechbenchError: If the reward fails or returns anything else; the message names it and the remedy.
    """
    how_many = len(batch.hypotheses)
    try:
        statistics = np.asarray(reward.statistics(batch), dtype=np.float64)
    except SpeechbenchError:
        raise
    except Exception as error:
        raise SpeechbenchError(
            f"the statistics of reward {_name(reward)} failed on {_hypotheses(batch)}: {_said(error)}: "
            "mend its method statistics"
        ) from error
    if statistics.ndim != 2 or len(statistics) != how_many:
        raise SpeechbenchError(
            f"the statistics of reward {_name(reward)} have the shape {list(statistics.shape)} "
            f"for {_hypotheses(batch)}: return the shape [{how_many}, statistic]"
        )
    broken = np.flatnonzero(~np.isfinite(statistics).all(axis=1))
    if len(broken):
        which = _which(batch, int(broken[0]))
        raise SpeechbenchError(
            f"the statistics of reward {_name(reward)} are not finite for {which}: return finite numbers, "
            "all zero where the reward does not apply"
        )
    return statistics


def _checked(score: Any, reward: Reward, batch: Batch, index: int) -> float | None:
    if score is None:
        return None
    if not is_number(score):
        problem = f"{score!r}, of type {type(score).__name__}, which is no number"
    elif not math.isfinite(score):
        problem = f"{float(score)}, which is no finite number"
    else:
        return float(score)
    raise SpeechbenchError(f"reward {_name(reward)} returned {problem}, for {_which(batch, index)}: {_ONE_EACH}")


def is_number(score: object) -> TypeGuard[float]:
    """Whether it is a number, finite or not, of Python's or numpy's."""
    return isinstance(score, (numbers.Real, np.bool_))


def _failure(reward: Reward, batch: Batch, error: Exception) -> str:
    """Scores the hypotheses one by one to name the one on which the reward fails."""
    for index in range(len(batch.hypotheses)):
        try:
            reward.score(batch.select([index]))
        except Exception as again:
            return (
                f"reward {_name(reward)} failed on {_which(batch, index)}: {_said(again)}: "
                "mend the reward, or let it return None where it does not apply"
            )
    return (
        f"reward {_name(reward)} failed on {len(batch.hypotheses)} hypotheses together, though on none of them alone, "
        f"the first of {_which(batch, 0)}: {_said(error)}: mend the reward, which is given many hypotheses in one call"
    )


def _said(error: Exception) -> str:
    """What went wrong, on one line, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}{place}".split())


def _name(reward: Reward) -> str:
    return str(getattr(reward, "spec", None) or getattr(reward, "display", None) or type(reward).__name__)


def _hypotheses(batch: Batch) -> str:
    how_many = len(batch.hypotheses)
    if not how_many:
        return "no hypotheses"
    return _which(batch, 0) if how_many == 1 else f"{how_many} hypotheses, the first of {_which(batch, 0)}"


def _which(batch: Batch, index: int) -> str:
    hypothesis = str(batch.hypotheses[index])
    shown = hypothesis if len(hypothesis) <= _SHOWN else hypothesis[: _SHOWN - 1] + "…"
    return f"example {batch.examples[index].id!r} with the hypothesis {shown!r}"


def _unmet(reward: Reward, batch: Batch) -> str:
    """Which of the reward's needs the first example does not meet."""
    unmet = lacking(reward, batch.examples[:1])
    return f", which has no {' and no '.join(unmet)}" if unmet else ""
