"""What LibriSQA's rows say: the questions of Part I and Part II, checked one by one."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Progress
from speechbench.benchmarks.librispeech import speaker_of
from speechbench.benchmarks.librisqa_files import FILES, QuestionSource
from speechbench.benchmarks.row_source import Note
from speechbench.benchmarks.tsv import damage

KEYS = {
    1: ("speech_path", "question", "answer"),
    2: ("speech_path", "question_and_option", "answer", "answer_and_analysis"),
}
"""What a row must have, by part; `text` it may have."""
_LETTERS = ("A", "B", "C", "D")
_TOLD_EVERY = 2000  # rows


class Question(NamedTuple):
    """A row that can be asked.

    Attributes:
        file: One of `librisqa_files.FILES`.
        where: Where it stands.
        id: `<utterance>#k` for the k-th question about an utterance.
        utterance: LibriSpeech's id.
        question: In Part II with its options.
        reference: In Part II the letter of the right option and the analysis.
        text: The transcript, where the row has one.
        letter: Of the right option, in Part II.
    """

    file: str
    where: str
    id: str
    utterance: str
    question: str
    reference: str
    text: str | None
    letter: str | None

    @property
    def speaker(self) -> str:
        """Who speaks."""
        return speaker_of(self.utterance)


def questions(source: QuestionSource, part: int, note: Note, progress: Progress | None = None) -> Iterator[Question]:
    """The questions of a part, those of test first: no id in test depends on what is in train.

    Args:
        source: Of the rows.
        part: 1 or 2.
        note: Told of rows that give no question, and of those that say again what another does.
        progress: Called as `progress("reading questions", done, done)`: how many there are is not known.
    """
    asked: Counter[str] = Counter()
    seen: set[tuple[str, str, str]] = set()
    done = 0
    for file in FILES:
        for where, row in source.rows(part, file):
            done += 1
            if progress is not None and done % _TOLD_EVERY == 0:
                progress("reading questions", done, done)
            checked = _checked(part, row)
            if not isinstance(checked, _Checked):
                note(where, *checked)
                continue
            if checked[:3] in seen:
                note(
                    where, f"the row says what another one said about {checked.utterance!r}; left out", "duplicate row"
                )
                continue
            seen.add(checked[:3])
            asked[checked.utterance] += 1
            identity = f"{checked.utterance}#{asked[checked.utterance]}"
            yield Question(file, where, identity, *checked)


class _Checked(NamedTuple):
    utterance: str
    question: str
    reference: str
    text: str | None
    letter: str | None


def _checked(part: int, row: Any) -> _Checked | tuple[str, str]:
    """What a row says, or what is wrong with it and how that is counted."""
    if not isinstance(row, dict):
        return "the row is no JSON object; left out", "no row"
    given = {key: row.get(key) for key in KEYS[part]}
    needed = {key: value for key, value in given.items() if isinstance(value, str) and value.strip()}
    lacking = [key for key in given if key not in needed]
    if lacking:
        return f"the row has no {lacking[0]!r}; left out", "incomplete row"
    text = row.get("text")
    text = text if isinstance(text, str) and text.strip() else None
    path, question, answer, *rest = needed.values()
    texts = (path, question, answer, *rest, text or "")
    what = damage(texts)
    if what is None and any(AUDIO_PLACEHOLDER in of_row for of_row in texts):
        what = f"holds {AUDIO_PLACEHOLDER}, which stands for the recording alone"
    if what is not None:
        return f"the row {what}; left out", "damaged text"
    utterance = posixpath.splitext(posixpath.basename(path.replace("\\", "/")))[0]
    if part == 1:
        return _Checked(utterance, question, answer, text, None)
    from speechbench.rewards.exact import option  # brings numpy

    letter = answer if answer in _LETTERS else option(answer)  # of a text that takes a tenth of a millisecond
    if letter is None:
        return f"the row's answer {answer[:40]!r} is none of the letters A to D; left out", "no letter"
    reference, chosen = rest[0], option(rest[0])
    if chosen is None:
        reference = f"{letter}. {reference}"
        chosen = option(reference)
    if chosen != letter:
        what = f"chooses {chosen or 'several'}"
        return f"the row's answer is {letter}, but its analysis {what}; left out", "letter disagrees"
    return _Checked(utterance, question, reference, text, letter)
