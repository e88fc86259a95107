"""What a line of a manifest means: its fields checked, and made a row."""

from __future__ import annotations

import datetime
import decimal
import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from os.path import basename, splitext
from pathlib import Path
from typing import Any

from speechbench.benchmarks import templates
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, SEVERAL_LANGUAGES, SPLITS
from speechbench.benchmarks.index import Row
from speechbench.benchmarks.manifest_files import Record, shown
from speechbench.benchmarks.manifest_paths import Root
from speechbench.errors import UsageError, did_you_mean
from speechbench.languages import primary

FIELDS = frozenset(
    {"audio", "references", "reference", "split", "instruction"}
    | {"source", "source_language", "target_language", "speaker", "id"}
)
"""What has a meaning of its own; `question` besides, which rewards get as well."""
LONGEST_TEXT = 100_000
"""Characters: an hour of speech, the longest recording there may be, has some 60,000."""
_ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode  # of what `_plain` has gone through
_DEEPEST = 20  # lists and objects in each other
_UNREADABLE = re.compile("[\\0\ud800-\udfff]")
_LANGUAGE = re.compile("[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")
_CODES = {name.lower(): code for code, name in templates.LANGUAGES.items()}
_NEEDED = {
    "audio": "with the path of each recording",
    "references": "with one text or a list of texts",
    "split": f"with one of {', '.join(SPLITS)}, so that training and test examples are told apart",
    "target_language": "with the code of the references' language, as \"en\" (or else 'instruction')",
    "question": "with what is asked (or else 'instruction')",
}
_INSTEAD = {"references": "reference", "target_language": "instruction", "question": "instruction"}
_ALSO_CALLED = {
    "audio": ("audio_path", "audio_filepath", "audio_file", "path", "file", "file_name", "filename", "wav", "clip"),
    "references": (
        *("reference_text", "translation", "answer", "target"),
        *("text", "transcript", "transcription", "sentence", "label"),
    ),
    "split": ("subset", "partition", "set", "fold"),
    "target_language": ("target_lang", "tgt_lang", "language", "lang", "locale"),
}


class BadLine(Exception):
    """What is wrong with a line, and of which kind that is."""

    def __init__(self, what: str, kind: str = "bad line") -> None:
        super().__init__(what)
        self.what = what
        self.kind = kind


class LineReader:
    """Makes rows of a manifest's lines, and remembers what all of them have in common.

    Args:
        path: The manifest, as the user names it.
        root: Below which recordings lie.
        asks: Whether a line without instruction is a question about the speech.

    Attributes:
        tasks: Of the lines without an instruction of their own.
    """

    def __init__(self, path: Path, root: Root, asks: bool) -> None:
        self._path = path
        self._root = root
        self._asks = asks
        self._read = 0  # lines, good and bad
        self._places: dict[str, int] = {}  # by id
        self._names: set[str] = set()
        self._claims = dict.fromkeys(SPLITS, 0)
        self._languages: set[tuple[str, str]] = set()  # the pairs of source and target
        self.tasks: set[str] = set()

    def row(self, record: Record) -> Row:
        """The row that a line makes.

        Its `more` holds what `unpacked` gives back.

        Raises:
            BadLine: If it makes none.
        """
        self._read += 1
        if record.defect is not None:
            raise BadLine(record.defect, record.kind)
        fields = {name: value for name, value in record.fields.items() if value is not None and value != ""}
        self._names.update(fields)
        faults: list[BadLine] = []
        split = _part(faults, _split, fields)
        if split is not None:
            self._claims[split] += 1
        audio = _part(faults, self._audio, fields)
        instruction, *languages = _part(faults, self._asked, fields) or (None, "en", "en")
        references = _part(faults, _references, fields)
        source, speaker = _part(faults, _text, fields, "source"), _part(faults, _text, fields, "speaker")
        id_ = _part(faults, _text, fields, "id")
        columns = _part(faults, _columns, fields)
        if faults:
            raise BadLine("; and ".join(fault.what for fault in faults), faults[0].kind)
        id_ = id_ or f"{splitext(basename(audio))[0]}-{record.number}"
        earlier = self._places.setdefault(id_, record.number)
        if earlier != record.number:
            raise BadLine(f"the id {shown(id_)} stands already at {self._path}:{earlier}", "duplicate id")
        self._languages.add((languages[0], languages[1]))
        more = _ENCODE([instruction, references[1:], *languages, columns])
        return Row(split, id_, audio, f"{self._path}:{record.number}", references[0], source, speaker, more)

    def refuse_lacking(self) -> None:
        """Called when all lines are read.

        Raises:
            UsageError: If there is no line, or none has a field that is needed.
        """
        if not self._read:
            raise UsageError(f"{self._path} is empty: write one line per spoken example")
        needed = ["audio", "references", "split", "question" if self._asks else "target_language"]
        lacking = [field for field in needed if self._names.isdisjoint((field, _INSTEAD.get(field, field)))]
        if lacking and self._names:
            each = "; ".join(f"{field!r}{_hint(field, self._names)}, {_NEEDED[field]}" for field in lacking)
            what, them = ("fields", "them") if len(lacking) > 1 else ("field", "it")
            raise UsageError(f"{self._path}: no line has the {what} {each}; add or rename {them}")

    def summary(self) -> dict[str, Any]:
        """How many lines say that they are of each split, and the languages that all examples share; JSON-able."""
        of_each = ({pair[place] for pair in self._languages} for place in range(2))
        source, target = (codes.pop() if len(codes) == 1 else SEVERAL_LANGUAGES for codes in of_each)
        return {"claims": self._claims, "source_language": source, "target_language": target}

    def _audio(self, fields: Mapping[str, Any]) -> str:
        """The recording's path."""
        value, offset = fields.get("audio"), fields.get("offset")
        if isinstance(value, dict) and "path" in value:  # as data sets of the hub have it
            raise BadLine(f"the field 'audio' must be text, not {shown(value)}: write the path alone")
        audio = _needed(fields, "audio")
        refusal = self._root.refusal(audio)
        if refusal is not None:
            raise BadLine(refusal, "path outside")
        if offset is not None and str(offset).strip("0."):  # as NeMo names a part of a long recording
            what = f"is {shown(offset)}, and recordings are read whole"
            raise BadLine(f"the field 'offset' {what}: cut the part out into a file of its own, or rename the field")
        return audio

    def _asked(self, fields: Mapping[str, Any]) -> tuple[str | None, str, str]:
        """The line's own instruction and both languages.

        The instruction is `None` if it has none, and all that is needed to make one is there.
        """
        source_language, target_language = _language(fields, "source_language"), _language(fields, "target_language")
        instruction = _text(fields, "instruction")
        if instruction is None:
            if self._asks and AUDIO_PLACEHOLDER in _needed(fields, "question", "write it, or a whole instruction"):
                raise BadLine(f"the field 'question' has {AUDIO_PLACEHOLDER}: only an instruction may have it")
            if not self._asks and target_language is None:
                _needed(fields, "target_language", "add it, or an instruction")
            self.tasks.add(task_of(self._asks, source_language or "en", target_language or "en"))
        elif AUDIO_PLACEHOLDER not in instruction:
            instruction = f"{AUDIO_PLACEHOLDER} {instruction}"
        elif instruction.count(AUDIO_PLACEHOLDER) > 1:
            raise BadLine(f"the field 'instruction' has {AUDIO_PLACEHOLDER} more than once; keep one")
        return instruction, source_language or "en", target_language or "en"


def unpacked(row: Row) -> tuple[str | None, list[str], str, str, dict[str, Any]]:
    """A row's instruction, further references, source and target language and other columns."""
    instruction, references, source_language, target_language, columns = json.loads(row.more or "")
    return instruction, references, source_language, target_language, columns


@lru_cache  # a manifest has few languages and many lines
def task_of(asks: bool, source_language: str, target_language: str) -> str:
    """Of `templates.WORDINGS`, the task of a line without instruction."""
    if asks:
        return "question-answering"
    return "transcription" if primary(source_language) == primary(target_language) else "translation"


def _part(faults: list[BadLine], make: Callable[..., Any], *given: Any) -> Any:
    """What is made of a part of a line; `None` where it is at fault, which is noted so that all faults are told."""
    try:
        return make(*given)
    except BadLine as bad:
        faults.append(bad)
        return None


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    """An optional text; numbers, as ids and speakers often are, count as text, and blanks as nothing."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        return None if value.isspace() else _readable(name, value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadLine(f"the field {name!r} must be text, not {shown(value)}")
    return str(_plain(name, value))


def _needed(fields: Mapping[str, Any], name: str, mend: str = "add it") -> str:
    value = _text(fields, name)
    if value is None:
        raise BadLine(f"the field {name!r} is lacking{_hint(name, fields)}; {mend}")
    return value


def _references(fields: Mapping[str, Any]) -> tuple[str, ...]:
    if "references" in fields and "reference" in fields:
        raise BadLine("the line has both 'references' and 'reference'; keep one")
    value = fields.get("references", fields.get("reference"))
    if value is None or value == []:
        hint = _hint("references", fields)
        raise BadLine(f"the field 'references' is lacking{hint}; add one text or a list of texts")
    references = tuple(value) if isinstance(value, list) else (value,)
    if not all(isinstance(reference, str) and reference.strip() for reference in references):
        raise BadLine(f"the field 'references' must hold texts that are not empty, not {shown(value)}")
    return tuple(_readable("references", reference) for reference in references)


def _columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is handed to rewards."""
    return {_readable(name, name): _plain(name, fields[name]) for name in fields if name not in FIELDS}


def _split(fields: Mapping[str, Any]) -> str:
    split = _text(fields, "split") or "train"
    if split not in SPLITS:
        alike = {"dev": "validation", "val": "validation", "valid": "validation"}.get(split.lower(), split.lower())
        hint = did_you_mean(alike, SPLITS, cutoff=0.3)
        raise BadLine(f"the field 'split' is {shown(split)}: {hint}", "unknown split")
    return split


def _language(fields: Mapping[str, Any], name: str) -> str | None:
    code = _text(fields, name)
    if code is not None and not _is_code(code):
        meant = _CODES.get(code.strip().lower())
        hint = f"did you mean {meant!r}?" if meant else 'write a code of two or three letters, as "de" or "pt-BR"'
        raise BadLine(f"the field {name!r} is {shown(code)}, which is no code of a language: {hint}")
    return code


@lru_cache
def _is_code(code: str) -> bool:
    return _LANGUAGE.fullmatch(code) is not None


def _plain(name: str, value: Any, depth: int = 0) -> Any:
    """A value as JSON holds it: dates and decimals as text."""
    if isinstance(value, str):
        return _readable(name, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise BadLine(f"the field {name!r} holds {value}, which is no number to work with; leave it out")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth == _DEEPEST:
        raise BadLine(f"the field {name!r} is nested too deeply, more than {_DEEPEST} times")
    if isinstance(value, (list, tuple)):
        return [_plain(name, item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {str(_plain(name, key)): _plain(name, item, depth + 1) for key, item in value.items()}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, datetime.timedelta)):
        return str(value)
    raise BadLine(f"the field {name!r} holds {shown(value)}, which JSON cannot hold; write it as text or leave it out")


def _readable(name: str, text: str) -> str:
    if len(text) <= LONGEST_TEXT and text.isprintable():
        return text  # as nearly all are
    if len(text) > LONGEST_TEXT:
        what = f"holds {len(text):,} characters, more than {LONGEST_TEXT:,}, as where lines have run together"
        raise BadLine(f"the field {name!r} {what}", "damaged text")
    if found := _UNREADABLE.search(text):
        what = "a NUL character" if found[0] == "\0" else "half of a surrogate pair, which is no character"
        raise BadLine(f"the field {name!r} holds {what}: take it out", "damaged text")
    return text


def _hint(field: str, names: Iterable[str]) -> str:
    """Which of the names was perhaps meant to be the field."""
    free = {name.strip().lower(): name for name in names if name not in FIELDS}
    known = [free[other] for other in (field, *_ALSO_CALLED.get(field, ())) if other in free]
    near = known or [free[other] for other in difflib.get_close_matches(field, free, n=1, cutoff=0.75)]
    return f" (did you mean {shown(near[0])}?)" if near else ""
