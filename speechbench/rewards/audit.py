"""What `speechbench rewards audit` does: scores the control rows, and tells where a reward pays for the wrong thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.benchmarks.loading import load_benchmark
from speechbench.benchmarks.telling import refuse_or_tell
from speechbench.errors import SpeechbenchError
from speechbench.grammar import split_outside_brackets
from speechbench.libraries import set_up
from speechbench.progress import Progress
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.control_rows import GOLD, NEAR_MISS, control_rows
from speechbench.rewards.findings import findings
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import check_metric, prepare, require_some, scores_of
from speechbench.tables import figure

ALSO = ("bleu", "chrf", "rougeL", "ter")
"""Audited beside the benchmark's metrics where no reward is named: an overlap reward of each kind, all built in."""

_PIECE = 16  # examples whose rows are scored in one call, so that progress can be told
_SAME = 1e-9  # on unit scale: scores that differ by no more are equal

Scores = Sequence[float | None]


@dataclass(frozen=True)
class Cell:
    """One control row under one reward.

    Attributes:
        mean: Of the scores, on the field's scale; `None` where the row has none.
        examples: How many have a score.
        over_near_miss: By how much its mean is higher than the near-miss's, over the examples that have both, on
            the field's scale; 0 where it shows as 0; `None` where there is no such example, for gold, and
            for the near-miss.
        share_over_near_miss: On which share of these examples it scores higher.
        over_gold: As `over_near_miss`, against gold.
        examples_over_gold: On how many examples it scores higher than gold.
    """

    mean: float | None
    examples: int
    over_near_miss: float | None
    share_over_near_miss: float | None
    over_gold: float | None
    examples_over_gold: int

    @property
    def beats_near_miss(self) -> bool:
        """Whether a degenerate output is paid more than an answer that is nearly right."""
        return self.over_near_miss is not None and self.over_near_miss > 0

    @property
    def ties_near_miss(self) -> bool:
        """Whether a degenerate output is paid as much as an answer that is nearly right."""
        return self.over_near_miss == 0


@dataclass(frozen=True)
class AuditedReward:
    """The control rows under one reward.

    Attributes:
        spec: The reward's, which recreates it.
        display: What its column is called.
        scale: Field's scale over unit scale. Cells are the reward times this: higher is better, always.
        lower_is_better: Whether the metric of the same name counts errors instead.
        maximum: What gold must score, on unit scale; `None` where the reward declares nothing.
        applies: To how many examples it gives gold a score.
        cells: By row.
        gold_off_maximum: Gold's score by example, on the field's scale, where it is not the declared maximum.
        signature: Everything the scores depend on.
    """

    spec: str
    display: str
    scale: float
    lower_is_better: bool
    maximum: float | None
    applies: int
    cells: Mapping[str, Cell]
    gold_off_maximum: Mapping[str, float]
    signature: Mapping[str, Any]


@dataclass(frozen=True)
class Audit:
    """What the control rows of a benchmark score under several rewards.

    Attributes:
        benchmark: Its spec.
        split: Of which the examples are.
        examples: How many.
        rows: Row to one hypothesis per example, `None` where the row does not apply.
        rewards: In the order in which they were asked for.
        findings: What is wrong and what is worth knowing, in sentences.
    """

    benchmark: str
    split: str
    examples: int
    rows: Mapping[str, Sequence[str | None]]
    rewards: tuple[AuditedReward, ...]
    findings: tuple[str, ...]


def audit(
    rewards: str | Sequence[str] = (),
    benchmark: str = "covost2-mini",
    split: str = "test",
    limit: int | None = 100,
    progress: Progress | None = None,
) -> Audit:
    """Scores the control rows (`control_rows.ROWS`) under rewards.

    A row is held against the near-miss, and against gold, over the examples where both have a score.

    Args:
        rewards: Specs, or one text with commas between them. If there are none, the benchmark's metrics and `ALSO`,
            without what cannot be used here.
        benchmark: Spec.
        split: "train", "validation" or "test".
        limit: At most so many examples; `None` for all.
        progress: Told of each few examples that are scored.

    Raises:
        UsageError: If something named is wrong, or a reward scores more than texts and examples.
        MissingError: If something that a named reward needs is not installed or not on this machine.
        SpeechbenchError: If there is no example, or a reward fails on one, or a named one applies to none.
    """
    set_up()
    progress = progress or Progress()
    loaded = load_benchmark(benchmark)
    specs = split_outside_brackets(rewards) if isinstance(rewards, str) else list(rewards)
    scorers, left_out = _load(specs, loaded)
    loaded.prepare(progress.advance)
    examples = list(loaded.load(split, limit))
    refuse_or_tell(loaded, progress)
    if not examples:
        raise SpeechbenchError(f"{loaded.name}: there is nothing to audit: the {split} split is empty")
    rows = control_rows(examples, loaded)
    audited = []
    for number, scorer in enumerate(scorers, 1):
        progress.start(scorer.display, number, len(scorers))
        scores = _scores(scorer, examples, rows, progress)
        try:
            _require_some(scorer, examples, rows, scores)
        except SpeechbenchError as error:
            if specs:
                raise
            left_out.append(_left_out(str(scorer.spec), error))
        else:
            audited.append(_audited(scorer, examples, scores))
    found = Audit(loaded.name, split, len(examples), rows, tuple(audited), tuple(left_out))
    return replace(found, findings=(*findings(found), *left_out))


def _load(specs: Sequence[str], benchmark: Benchmark) -> tuple[list[Reward], list[str]]:
    """The rewards, each once, and sentences on those that nobody named and that cannot be used here."""
    scorers: dict[str, Reward] = {}
    left_out: list[str] = []
    for spec in dict.fromkeys(specs or (*benchmark.metrics, *ALSO)):
        try:
            reward = load_reward(spec, benchmark, scorers)
            check_metric(reward)
        except SpeechbenchError as error:
            if specs:
                raise
            left_out.append(_left_out(spec, error))
        else:
            scorers[str(reward.spec)] = reward
    return list(scorers.values()), left_out


def _scores(
    reward: Reward, examples: Sequence[Example], rows: Mapping[str, Sequence[str | None]], progress: Progress
) -> dict[str, list[float | None]]:
    """For each row one score per example, on unit scale; an example's rows stand next to each other as a group."""
    prepare(reward, examples)
    scores: dict[str, list[float | None]] = {name: [None] * len(examples) for name in rows}
    seed = 0
    for start in range(0, len(examples), _PIECE):
        end = min(start + _PIECE, len(examples))
        piece = [(name, at, row[at]) for at in range(start, end) for name, row in rows.items() if row[at] is not None]
        seeds = range(seed, seed := seed + len(piece))
        batch = Batch([str(text) for _, _, text in piece], [examples[at] for _, at, _ in piece], seeds)
        for (name, at, _), score in zip(piece, scores_of(reward, batch), strict=True):
            scores[name][at] = score
        progress.advance("examples", end, len(examples))
    return scores


def _require_some(
    reward: Reward, examples: Sequence[Example], rows: Mapping[str, Sequence[str | None]], scores: Mapping[str, Scores]
) -> None:
    """Refuses a reward that applies to no row of any example."""
    shown = [(text, at) for at in range(len(examples)) for row in rows.values() if (text := row[at]) is not None]
    batch = Batch.of([text for text, _ in shown], [examples[at] for _, at in shown])
    require_some([score for row in scores.values() for score in row], reward, batch)


def _left_out(spec: str, error: SpeechbenchError) -> str:
    return f"{spec} is left out: {error}"


def _audited(reward: Reward, examples: Sequence[Example], scores: Mapping[str, Scores]) -> AuditedReward:
    gold = scores[GOLD]
    off = {
        example.id: score * reward.scale
        for example, score in zip(examples, gold, strict=True)
        if score is not None
        and reward.maximum is not None
        and abs(score - reward.maximum) > _SAME
        and example.references[0].strip()
    }
    return AuditedReward(
        spec=str(reward.spec),
        display=reward.display,
        scale=reward.scale,
        lower_is_better=reward.lower_is_better,
        maximum=reward.maximum,
        applies=sum(score is not None for score in gold),
        cells={name: _cell(name, row, scores, reward.scale) for name, row in scores.items()},
        gold_off_maximum=off,
        signature=dict(reward.signature()),
    )


def _cell(name: str, row: Scores, scores: Mapping[str, Scores], scale: float) -> Cell:
    own = [score for score in row if score is not None]
    of_near_miss = [] if name in (GOLD, NEAR_MISS) else _differences(row, scores.get(NEAR_MISS, ()))
    of_gold = [] if name == GOLD else _differences(row, scores[GOLD])
    return Cell(
        mean=_mean(own, scale),
        examples=len(own),
        over_near_miss=_over(of_near_miss, scale),
        share_over_near_miss=_mean([float(d > _SAME) for d in of_near_miss], 1.0),
        over_gold=_over(of_gold, scale),
        examples_over_gold=sum(difference > _SAME for difference in of_gold),
    )


def _differences(row: Scores, other: Scores) -> list[float]:
    """By how much one row scores higher than another, for each example where both have a score."""
    return [a - b for a, b in zip(row, other, strict=False) if a is not None and b is not None]


def _over(differences: Sequence[float], scale: float) -> float | None:
    """Their mean on the field's scale; what shows as 0 is 0, so that no mark stands where no difference is seen."""
    mean = _mean(differences, scale)
    return None if mean is None else 0.0 if float(figure(mean, scale)) == 0 else mean


def _mean(values: Sequence[float], scale: float) -> float | None:
    return sum(values) / len(values) * scale if values else None
