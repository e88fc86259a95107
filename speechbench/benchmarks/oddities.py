"""What is odd in texts and in how splits relate: remarks for a person to judge, none of which is surely a fault.

Texts are scored as they stand, so that each oddity moves scores, and the same text or recording in two splits lets
a model remember where it should understand.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterator
from statistics import median

from speechbench.benchmarks.audio import Examined
from speechbench.benchmarks.base import Example, Problem
from speechbench.languages import primary

PREFIX = "oddity: "
"""What kinds of remarks begin with, so that they stand apart from problems."""
FACTOR = 3.0
"""How many times longer or shorter than usual, beside its source, a reference is unusual."""
LEAST_PAIRS = 20
"""Sources with references from which it can be told what is usual."""
_BY = 15  # characters by which it must differ from the usual length too: of short texts every ratio occurs
_SHOWN = 120  # characters of a text in a remark

_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")  # not U+200C, U+200D: they spell
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_ENTITY = re.compile(r"&(?:#\d+|#[xX][0-9A-Fa-f]+|[A-Za-z]\w*);")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# Bytes 80 to BF as Windows-1252 or, where it has none, Latin-1 shows them: they go on a character of UTF-8.
_FURTHER = "[{}\x80-\x9f]".format("".join(re.escape(bytes([b]).decode("cp1252", "ignore")) for b in range(0x80, 0xC0)))
# Before them, bytes that begin one, shown likewise. Those of Latin letters, dashes and quotation marks hardly ever
# stand there in real text; those of other scripts do, as in „Menú“, so that it takes two.
_MOJIBAKE = re.compile(f"[\xc2\xc3]{_FURTHER}|\xe2{_FURTHER}{{2}}")
_OTHERS = f"(?:[\xc4\xc5\xce-\xd3\xd7-\xdb]{_FURTHER}|[\xe0-\xef]{_FURTHER}{{2}})"
_TWICE = re.compile(f"{_OTHERS}.*{_OTHERS}")


def _control(text: str) -> str | None:
    found = _CONTROL.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def _invisible(text: str) -> str | None:
    found = _INVISIBLE.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def _mojibake(text: str) -> str | None:
    if text.isascii():
        return None
    found = _MOJIBAKE.search(text) or _TWICE.search(text)
    return _cut(found[0]) if found else None


def _html(text: str) -> str | None:
    found = _TAG.search(text)
    if found:
        return _cut(found[0])
    return next((e[0] for e in _ENTITY.finditer(text) if html.unescape(e[0]) != e[0]), None)


def _words(text: str) -> list[str]:
    return [word for word in text.split() if any(map(str.isalpha, word))]


ODD: dict[str, Callable[[str], str | None]] = {
    "empty {}": lambda text: None if text.strip() else "",
    "white space at an end of the {}": lambda text: "" if text.strip() and text != text.strip() else None,
    "control character in the {}": _control,
    "invisible character in the {}": _invisible,
    "U+FFFD, the replacement character, in the {}": lambda text: "" if "\ufffd" in text else None,
    "mojibake in the {}": _mojibake,
    "HTML in the {}": _html,
    "{} not in Unicode's form NFC": lambda text: None if unicodedata.is_normalized("NFC", text) else "",
    "{} in upper case": lambda text: "" if text.isupper() and len(_words(text)) > 1 else None,
}
"""What can be odd in one text, by how it is called of a source or a reference; gives what shows it, or `None`."""


class Oddities:
    """Collects the oddities of a benchmark, example by example.

    Args:
        task: Of the benchmark: a translation's length is compared with its source's, and of other tasks two examples
            with the same texts are the same only if the same is asked.
    """

    def __init__(self, task: str) -> None:
        self._is_translation = task == "translation"
        self._found: list[Problem] = []
        self._texts: dict[int, tuple[str, str]] = {}
        self._recordings: dict[str, tuple[str, str]] = {}
        self._names: dict[str, tuple[str, str]] = {}
        self._ids: list[tuple[str, str]] = []  # of the lengths
        self._lengths = array("d"), array("d")  # of source and reference

    def add(self, split: str, example: Example, recording: Examined | None) -> None:
        """Looks at an example; splits come one after the other."""
        here = (split, example.id)
        for kind, what in self._of_texts(example):
            self._note(here, kind, what)
        first = self._names.setdefault(example.id, here)
        if first is not here:
            self._note(here, "id twice", f"its id is that of an example of {first[0]} too")
        if example.source is not None and example.source.strip():
            asked = "" if self._is_translation else example.instruction
            first = self._texts.setdefault(hash((example.source, example.references, asked)), here)  # 64 bits: enough
            if first is not here:
                kind = "text twice in a split" if first[0] == split else "text in two splits"
                self._note(here, kind, f"source and references are those of {_of(first)} too: {_cut(example.source)}")
            if self._is_translation and example.references and example.references[0].strip():
                self._ids.append(here)
                for lengths, text in zip(self._lengths, (example.source, example.references[0]), strict=True):
                    lengths.append(len(text.strip()))
        if recording is not None and recording.sha256:
            first = self._recordings.setdefault(recording.sha256, here)
            if first[0] != split:
                self._note(here, "recording in two splits", f"its recording is that of {_of(first)} too")

    def remarks(self) -> tuple[Problem, ...]:
        """What was found so far, as problems with the example in the place of `where`."""
        return (*self._found, *self._unusual_lengths())

    def _of_texts(self, example: Example) -> Iterator[tuple[str, str]]:
        if example.source is None:
            yield "no source", "its transcript is not known"
        if not example.references:
            yield "no reference", "there is nothing to learn from it or to measure by"
        texts = [("source", example.source)] if example.source is not None else []
        for what, text in [*texts, *(("reference", reference) for reference in example.references)]:
            for kind, look in ODD.items():
                shown = look(text)
                if shown is not None:
                    yield kind.format(what), f"{shown}: {_cut(text)}" if shown else _cut(text)
        is_other_language = primary(example.source_language) != primary(example.target_language)
        if is_other_language and example.source in example.references:
            yield "reference equal to the source", _cut(example.source or "")

    def _unusual_lengths(self) -> Iterator[Problem]:
        sources, references = self._lengths
        if len(sources) < LEAST_PAIRS:
            return
        usual = median(reference / source for source, reference in zip(sources, references, strict=True))
        for here, source, reference in zip(self._ids, sources, references, strict=True):
            is_far = abs(math.log(reference / source / usual)) > math.log(FACTOR)
            if is_far and abs(reference - source * usual) > _BY:
                what = f"{reference:.0f} characters, where {source * usual:.0f} are usual for a source of {source:.0f}"
                yield Problem(_of(here), what, f"{PREFIX}unusual length of the reference")

    def _note(self, here: tuple[str, str], kind: str, what: str) -> None:
        self._found.append(Problem(_of(here), what, PREFIX + kind))


def _of(here: tuple[str, str]) -> str:
    split, name = here
    return f"{name} ({split})"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
