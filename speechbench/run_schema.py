"""What a run folder holds, as dataclasses: one per file, their fields named as in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import stdev
from typing import Any

RUN, TRAIN, SAMPLES, RESULT = "run.json", "train.jsonl", "samples.jsonl", "result.json"
SAMPLED, FAILURE = "sampled.jsonl", "failure.json"
"""Its files."""
INPUT_CONTROLS = ("no-audio", "question-only", "gold-transcript")
"""What the base model may be given instead of the speech, in the order of their rows."""
CHECKPOINTS, TRAINED = Path("checkpoints"), Path("checkpoints", "final")
"""Its folders: of the checkpoints, and of the trained model."""

SCHEMA = 4
"""Raised by one when a reader of the old form would misread the new one, or the other way round; old ones are read by
`speechbench.old_schemas`."""


def run_name(label: str, seed: int | None) -> str:
    """What a run is called: the label of its row, and its seed where it has one."""
    return label if seed is None else f"{label} seed {seed}"


@dataclass(frozen=True)
class MetricInfo:
    """A metric that a run is measured with.

    Attributes:
        name: Its canonical spec.
        display: What its column is called.
        aggregate: Name in `speechbench.aggregate.AGGREGATES`.
        scale: Field's scale over unit scale.
        signature: Everything the score depends on; scores of different signatures do not compare.
        lower_is_better: Whether it counts errors.
        family: "overlap", "embedding", "learned", "exact", "control" or "combined"; empty where it is not known.
    """

    name: str
    display: str
    aggregate: str
    scale: float
    signature: Mapping[str, Any]
    lower_is_better: bool = False
    family: str = ""


@dataclass(frozen=True)
class RunInfo:
    """What a run is: the content of `run.json`.

    Attributes:
        id: Hash of everything that decides the run's outcome; also the folder's name.
        label: What its row is called: "base", "sft", "grpo(bleu)", "sft+grpo(bleu)".
        trainer: The trainer's name, after those of the stages before it: "sft+grpo"; `None` for the base model,
            which is only measured.
        reward: The reward's canonical spec; `None` where none is used.
        seed: Of the training; `None` for the base model.
        model: Spec of the model that was started from.
        model_fingerprint: Of its weights.
        benchmark: Spec of the benchmark.
        data_fingerprint: Of the examples that it is measured on.
        config: The resolved configuration; rows are one row only if all of it but `seed` agrees.
        metrics: In the order of the board's columns.
        provenance: Versions, commit, hardware, threads, start.
        start: Id of the run whose trained model it starts from; `None` for the base model's.
        control: What the base model was given instead of the speech, of `INPUT_CONTROLS`;
            `None` for speech.
        has_control_reward: Whether it was trained on a reward that must not win: one of the family "control".
        split: Of the benchmark, that it is measured on; "validation" for the trials of a sweep.
        reward_families: The families of what the reward is made of, sorted, as `MetricInfo.family` has them.
    """

    id: str
    label: str
    trainer: str | None
    reward: str | None
    seed: int | None
    model: str
    model_fingerprint: str
    benchmark: str
    data_fingerprint: str
    config: Mapping[str, Any]
    metrics: tuple[MetricInfo, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    start: str | None = None
    control: str | None = None
    has_control_reward: bool = False
    split: str = "test"
    reward_families: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the run is called."""
        return run_name(self.label, self.seed)


@dataclass(frozen=True)
class Score:
    """One metric's view of one hypothesis.

    Attributes:
        score: On the field's scale; `None` where the metric does not apply.
        statistics: Sufficient statistics, whose sum over a corpus gives the corpus score.
    """

    score: float | None
    statistics: tuple[float, ...]


@dataclass(frozen=True)
class Sample:
    """One example that is measured on, and what the model made of it: a line of `samples.jsonl`.

    Attributes:
        id: The example's, unique within the benchmark.
        source: Gold transcript of the speech, where known.
        references: Right outputs, at least one.
        instruction: What the model was told.
        audio: Path of the speech; `None` where there was none.
        speaker: Who speaks, where known.
        target_language: Of the output.
        hypothesis: What the model wrote.
        tokens: Length of the completion in tokens.
        truncated: Whether the token limit ended it.
        metrics: By the metric's name.
    """

    id: str
    source: str | None
    references: tuple[str, ...]
    instruction: str
    audio: str | None
    speaker: str | None
    target_language: str
    hypothesis: str
    tokens: int
    truncated: bool
    metrics: Mapping[str, Score]


@dataclass(frozen=True)
class Health:
    """Shares of a run's outputs, each from 0 to 1, and the ratio of their length to the references'.

    Attributes:
        empty: Nothing but white space.
        truncated: Stopped by the token limit, not by the model.
        copied: The source over again (without regard to case and punctuation), where no reference is that.
        repeated: Stuck in a loop; see `speechbench.health.is_repeated`.
        length_ratio: Characters of all hypotheses over characters of all first references; `None` where the
            references are empty.
        wrong_language: Looks like another language than the one asked for, by lingua; see
            `speechbench.health.wrong_language`. `None` where lingua is not installed or knows not the language.
    """

    empty: float
    truncated: float
    copied: float
    repeated: float
    length_ratio: float | None
    wrong_language: float | None = None


@dataclass(frozen=True)
class Best:
    """The model that did best on validation, which is what a training with validation leaves behind.

    Attributes:
        step: After so many optimizer steps; the earliest of equals.
        metric: Spec of the metric.
        score: On the benchmark's validation split, on the field's scale.
    """

    step: int
    metric: str
    score: float


@dataclass(frozen=True)
class Sampled:
    """What came out where the same model answered once more, sampling, several times over.

    Attributes:
        temperature: Of sampling.
        top_p: Of sampling.
        metrics: By the metric's name the corpus score of each pass, on the field's scale; `None` where it applies to
            no example.
    """

    temperature: float
    top_p: float
    metrics: Mapping[str, Sequence[float | None]]

    def mean(self, metric: str) -> float | None:
        """Over the passes; `None` where one of them has no score."""
        scores = self._known(metric)
        return sum(scores) / len(scores) if scores else None

    def spread(self, metric: str) -> float | None:
        """Standard deviation over the passes, with n − 1; `None` for fewer than two, and where one has no score."""
        scores = self._known(metric)
        return stdev(scores) if len(scores) > 1 else None

    def _known(self, metric: str) -> list[float]:
        known = [score for score in self.metrics[metric] if score is not None]
        return known if len(known) == len(self.metrics[metric]) else []


@dataclass(frozen=True)
class Result:
    """What came out: the content of `result.json`.

    Attributes:
        metrics: Corpus score by the metric's name, on the field's scale; `None` where it applies to no example.
        health: Of the outputs.
        seconds: Wall time; "train" holds "sampling", "scoring", "learning" and, where there was any, "validation";
            "total" adds "evaluation".
        peak_memory_bytes: Of the process.
        steps: Optimizer steps done; 0 for the base model.
        warnings: What a person should know of how the training went, each one sentence with the remedy.
        usage: What scoring used up that someone pays for, in training and evaluation, as tokens of a judge.
        best: Which step's model was measured, as validation chose it; `None` where there was none: the last one's.
        sampled: The scores of sampled answers beside these, which are greedy; `None` where none were asked for.
        tokens: How many there were: "train", those in the training's loss over all steps; "evaluation", those of the
            greedy answers.
    """

    metrics: Mapping[str, float | None]
    health: Health
    seconds: Mapping[str, float]
    peak_memory_bytes: int
    steps: int
    warnings: tuple[str, ...] = ()
    usage: Mapping[str, float] = field(default_factory=dict)
    best: Best | None = None
    sampled: Sampled | None = None
    tokens: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why a run did not come to its end: the content of `failure.json`, which goes when it is tried again.

    Attributes:
        reason: The error, in one line.
        when: In UTC, as ISO 8601 has it.
    """

    reason: str
    when: str
