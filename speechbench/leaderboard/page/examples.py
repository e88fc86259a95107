"""Every test example with what all runs made of it, in chunks that the page unpacks when it shows one of them.

The answers of all runs to an example stand beside each other, so that what they have in common is compressed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from speechbench.errors import SpeechbenchError
from speechbench.leaderboard.page.packing import Array, element, packed, packed_json, quantised, step_of
from speechbench.leaderboard.page.recordings import embedded, link, served
from speechbench.leaderboard.store import Group
from speechbench.run_files import broken
from speechbench.run_schema import SAMPLES
from speechbench.runs import Run

CHUNK = 500
_LONGEST_SPEAKER = 16  # enough to tell two hashes apart


class _Texts(msgspec.Struct):
    """What the page shows of a line of `samples.jsonl`; its scores are there as arrays already."""

    id: str
    source: str | None
    references: list[str]
    instruction: str
    audio: str | None
    speaker: str | None
    hypothesis: str
    truncated: bool


_DECODER = msgspec.json.Decoder(_Texts)


@dataclass
class Examples:
    """The examples of a board.

    Args:
        group: Whose runs they are of; only finished ones count.
        prefix: Of the ids of its elements.
        folder: Where the page will stand.
        audio: "link", "embed" or "none".

    Attributes:
        runs: The finished runs, in the order of each example's answers.
        ids: Of all examples, sorted.
    """

    group: Group
    prefix: str
    folder: Path
    audio: str
    runs: list[Run] = field(init=False)
    ids: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.runs = [run for run in self.group.runs if run.finished]
        self.ids = sorted({id_ for run in self.runs for id_ in run.samples.ids})
        places = [{id_: place for place, id_ in enumerate(run.samples.ids)} for run in self.runs]
        self._places = [[its.get(id_) for id_ in self.ids] for its in places]
        self._scores = {metric.name: self._scores_in(metric.name) for metric in self.group.metrics}
        self._steps = {
            metric.name: step_of([its for its in self._scores[metric.name] if its is not None], metric.scale)
            for metric in self.group.metrics
        }

    def described(self) -> dict[str, Any]:
        """What the page must know to read the elements."""
        return {
            "number": len(self.ids),
            "chunk": CHUNK,
            "runs": [run.info.id for run in self.runs],
            "metrics": [
                {
                    "key": metric.name,
                    "title": metric.display,
                    "lower_is_better": metric.lower_is_better,
                    "decimals": 1 if abs(metric.scale) >= 10 else 3,
                    "low": self._steps[metric.name][0],
                    "step": self._steps[metric.name][1],
                }
                for metric in self.group.metrics
            ],
            "audio": self.audio,
        }

    def elements(self) -> Iterator[str]:
        """Yields the elements: the scores of each run, the chunks of texts, recordings where they are embedded."""
        for number in range(len(self.runs)):
            yield element(f"{self.prefix}-scores-{number}", packed(self._packed_scores(number)))
        recordings: dict[str, int] = {}
        texts = [_texts(run) for run in self.runs]
        for start in range(0, len(self.ids), CHUNK):
            records = [
                self._record(place, texts, recordings) for place in range(start, min(start + CHUNK, len(self.ids)))
            ]
            yield element(f"{self.prefix}-texts-{start // CHUNK}", packed_json(records))
        for audio, number in recordings.items():
            found = embedded(audio)
            if found is not None:  # type and content, both without anything to escape
                yield element(f"{self.prefix}-audio-{number}", f"{found[0]};base64,{found[1]}")

    def _scores_in(self, metric: str) -> list[Array | None]:
        """Of each run in the order of the ids; `None` for a run that was not measured by this metric."""
        found: list[Array | None] = []
        for run, places in zip(self.runs, self._places, strict=True):
            scores = run.samples.scores.get(metric)
            if scores is None:
                found.append(None)
                continue
            here = np.array([-1 if place is None else place for place in places])
            found.append(np.where(here < 0, np.nan, scores[here]))
        return found

    def _packed_scores(self, number: int) -> bytes:
        columns = []
        for metric in self.group.metrics:
            scores = self._scores[metric.name][number]
            if scores is None:
                scores = np.full(len(self.ids), np.nan)
            columns.append(quantised(scores, *self._steps[metric.name]))
        return b"".join(columns)

    def _record(self, place: int, texts: Sequence[Sequence[_Texts]], recordings: dict[str, int]) -> list[Any]:
        """What the page reads by place: id, source, references, instruction, speaker, audio, answers, cut answers."""
        samples = [
            None if (at := places[place]) is None else its[at] for its, places in zip(texts, self._places, strict=True)
        ]
        known = [sample for sample in samples if sample is not None]
        first = known[0]  # all have the same example
        return [
            first.id,
            first.source,
            first.references,
            first.instruction,
            _shortened(first.speaker),
            self._audio(known, recordings),
            [None if sample is None else sample.hypothesis for sample in samples],
            [number for number, sample in enumerate(samples) if sample is not None and sample.truncated],
        ]

    def _audio(self, samples: Sequence[_Texts], recordings: dict[str, int]) -> str | int | None:
        audio = next((sample.audio for sample in samples if sample.audio), None)  # controls hear nothing
        if audio is None or self.audio == "none":
            return None
        if self.audio == "embed":
            return recordings.setdefault(audio, len(recordings)) if Path(audio).is_file() else None
        return served(audio) if self.audio == "serve" else link(audio, self.folder)


def _texts(run: Run) -> list[_Texts]:
    """In the order of the run's samples.

    Raises:
        SpeechbenchError: If they are not those that the scores were read from.
    """
    path = run.folder / SAMPLES
    try:
        found = _DECODER.decode_lines(path.read_bytes())
    except ValueError as error:
        raise broken(path, error) from None
    if len(found) != len(run.samples.ids):
        raise SpeechbenchError(f"{path} was changed while it was read: run the same command again")
    return found


def _shortened(speaker: str | None) -> str | None:
    if speaker is None or len(speaker) <= 2 * _LONGEST_SPEAKER:
        return speaker
    return f"{speaker[:_LONGEST_SPEAKER]}…"
