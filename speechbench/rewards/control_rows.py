"""The control rows: for every example a right answer, one nearly right, and what nobody should be paid for."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median_low
from typing import TypeVar

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Benchmark, Example
from speechbench.languages import is_unspaced, primary
from speechbench.rewards.exact import normalized
from speechbench.rewards.shuffled import partners
from speechbench.seeds import derive

T = TypeVar("T")
_Pool = Sequence[tuple[str, str]]  # words by key

GOLD, NEAR_MISS = "gold", "near-miss"
ROWS: Mapping[str, str] = {
    GOLD: "the first reference",
    NEAR_MISS: "the first reference with one content word replaced by another",
    "truncated": "the first half of the reference's words",
    "ten times repeated": "the reference ten times over",
    "shuffled reference": "the first reference of another example",
    "copied source": "the gold transcript",
    "copied question": "the question that was asked",
    "other language": "a fluent sentence in a language that is neither spoken nor asked for",
    "full stop": "a full stop",
    "empty": "nothing",
}
"""Every row by name, in the order they are shown; all but gold and near-miss are degenerate."""

_REPEATS = 10

# By `primary` language a sentence that has nothing to do with any benchmark.
_SENTENCES: Mapping[str, str] = {
    "de": "Weil der letzte Bus schon weg war, gingen wir im Regen zu Fuß nach Hause.",
    "en": "Because the last bus had already left, we walked home in the rain.",
    "es": "Como el último autobús ya se había ido, volvimos a casa a pie bajo la lluvia.",
    "fr": "Le dernier bus était déjà parti, nous sommes donc rentrés à pied.",
    "it": "L'ultimo autobus era già partito, così siamo tornati a casa a piedi.",
    "nl": "Omdat de laatste bus al weg was, liepen we door de regen naar huis.",
    "pt": "Como o último ônibus já tinha partido, voltamos para casa a pé debaixo de chuva.",
    "ru": "Последний автобус уже ушёл, поэтому мы пошли домой пешком под дождём.",
    "sv": "Eftersom den sista bussen redan hade gått promenerade vi hem i regnet.",
    "tr": "Son otobüs çoktan gittiği için yağmurda eve yürüyerek döndük.",
}


def control_rows(examples: Sequence[Example], benchmark: Benchmark) -> dict[str, list[str | None]]:
    """The control rows of a list of examples; nothing in them depends on anything else.

    A degenerate output that happens to equal one of the example's references, case and punctuation aside, is none:
    a reference of a single word is not truncated, a transcript that is the right answer is not copied.

    Args:
        examples: What is asked.
        benchmark: Where they are from: the question counts as a row where its task is question answering.

    Returns:
        For each row that applies to any example, in the order of `ROWS`, one hypothesis per example; `None` where
        the row does not apply.
    """
    partner = partners(examples)
    near_misses = _near_misses(examples)
    asks = benchmark.task == "question-answering"
    rows: dict[str, list[str | None]] = {name: [] for name in ROWS}
    for example, near_miss in zip(examples, near_misses, strict=True):
        other = partner[example.id]
        texts = {
            GOLD: _gold(example),
            NEAR_MISS: near_miss,
            "truncated": _truncated(example),
            "ten times repeated": " ".join(example.references[:1] * _REPEATS) or None,
            "shuffled reference": None if other is None else _gold(other),
            "copied source": example.source,
            "copied question": _question(example) if asks else None,
            "other language": _other_language(example),
            "full stop": ".",
            "empty": "",
        }
        right = {normalized(reference) for reference in example.references}
        for name, text in texts.items():
            is_right = text is not None and normalized(text) in right
            rows[name].append(None if is_right and name != GOLD else text)
    return {name: row for name, row in rows.items() if any(text is not None for text in row)}


def _gold(example: Example) -> str | None:
    return example.references[0] if example.references else None


def _truncated(example: Example) -> str | None:
    """The first half of the first reference's words, at least one."""
    gold = _gold(example)
    ends = [end for _, end in _spans(gold or "", example.target_language)]
    return gold[: ends[max(len(ends) // 2, 1) - 1]] if gold and ends else None


def _question(example: Example) -> str:
    """The question that the benchmark knows of; else the instruction."""
    question = example.columns.get("question")
    if isinstance(question, str) and question.strip():
        return question.strip()
    return " ".join(example.instruction.replace(AUDIO_PLACEHOLDER, " ").split())


def _other_language(example: Example) -> str:
    known = {primary(example.source_language), primary(example.target_language)}
    sentences = [sentence for language, sentence in _SENTENCES.items() if language not in known]
    return sentences[derive("other language", example.id) % len(sentences)]


@dataclass(frozen=True)
class _Word:
    """A word where it stands.

    Attributes:
        text: As it is written, without the punctuation around it.
        key: What it is compared by.
        start: Where it begins.
        places: Its surroundings, the closest first: the words before and after it, the one before it, anywhere.
    """

    text: str
    key: str
    start: int
    places: tuple[tuple[str, ...], ...]


def _near_misses(examples: Sequence[Example]) -> list[str | None]:
    """Each example's first reference with one content word replaced by a content word of another reference.

    Content words are those that stand in no more references (of that language) than the reference's median word
    does. The new word stands in none of the example's own references. It is one that another reference has between
    the same two words, else one that another has after the same word, else any: so it fits, as far as two words
    tell. Which place and which word it is, a hash of the example's id decides.

    Returns:
        `None` where no reference of that language has another word.
    """
    words = [_words_of(_gold(example) or "", example.target_language) for example in examples]
    languages = [primary(example.target_language) for example in examples]
    spread: Counter[tuple[str, str]] = Counter()  # (language, word): in how many references it stands
    for language, own in zip(languages, words, strict=True):
        spread.update({(language, word.key) for word in own})
    content: list[list[_Word]] = []
    found: dict[tuple[str, tuple[str, ...]], dict[str, str]] = defaultdict(dict)  # (language, place): texts by key
    for language, own in zip(languages, words, strict=True):
        counts = [spread[language, word.key] for word in own]
        most = median_low(counts) if counts else 0
        content.append([word for word, count in zip(own, counts, strict=True) if count <= most])
        for word in content[-1]:
            for place in word.places:
                found[language, place].setdefault(word.key, word.text)
    pools = {place: sorted(texts.items()) for place, texts in found.items()}
    return [
        _near_miss(example, [(word, [pools[language, place] for place in word.places]) for word in own])
        for example, own, language in zip(examples, content, languages, strict=True)
    ]


def _near_miss(example: Example, content: Sequence[tuple[_Word, Sequence[_Pool]]]) -> str | None:
    """The reference with a word exchanged; `content` has for each place those that fit there, the best first."""
    known = {word.key for reference in example.references for word in _words_of(reference, example.target_language)}
    for closeness in range(3):
        for word, pools in _turned(content, derive("near-miss", example.id)):
            others = _turned(pools[closeness], derive("near-miss", example.id, word.start))
            new = next((text for key, text in others if key not in known), None)
            if new is not None:
                gold = example.references[0]
                return gold[: word.start] + new + gold[word.start + len(word.text) :]
    return None


def _turned(values: Sequence[T], by: int) -> Iterator[T]:
    """The values from one of them on, and around."""
    return (values[(by + step) % len(values)] for step in range(len(values)))


def _words_of(text: str, language: str) -> list[_Word]:
    """The words of a text that hold more than punctuation."""
    bare: list[tuple[str, int]] = []
    for start, end in _spans(text, language):
        inside = [place for place in range(start, end) if not unicodedata.category(text[place]).startswith("P")]
        if inside:
            bare.append((text[inside[0] : inside[-1] + 1], inside[0]))
    keys = ["", *(_key(word) for word, _ in bare), ""]  # with the start and the end of the text
    return [
        _Word(word, keys[at], start, ((keys[at - 1], keys[at + 1]), (keys[at - 1],), ()))
        for at, (word, start) in enumerate(bare, 1)
    ]


@lru_cache(maxsize=100_000)  # most words stand in many references
def _key(word: str) -> str:
    return normalized(word)


def _spans(text: str, language: str) -> list[tuple[int, int]]:
    """Where words begin and end; where they are written without spaces, each character counts as one."""
    import regex

    pattern = r"(?=\S)\X" if is_unspaced(language) else r"\S+"
    return [match.span() for match in regex.finditer(pattern, text)]
