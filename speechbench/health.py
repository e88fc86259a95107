"""Health of a model's outputs: what goes wrong in ways that a score hides."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from speechbench.languages import is_unspaced, primary
from speechbench.run_schema import Health, Sample

LONGEST_NGRAM = 4
LEAST_REPEATS = 3
LEAST_NGRAMS = 8
LEAST_DISTINCT = 0.5


def health(samples: Sequence[Sample]) -> Health:
    """Judges the outputs of one run.

    Raises:
        ValueError: If there are no samples.
    """
    if not samples:
        raise ValueError("no samples to judge")
    referenced = sum(len(sample.references[0]) for sample in samples)
    return Health(
        empty=_share(not sample.hypothesis.strip() for sample in samples),
        truncated=_share(sample.truncated for sample in samples),
        copied=_share(is_copied(sample.hypothesis, sample.source, sample.references) for sample in samples),
        repeated=_share(
            is_repeated(sample.hypothesis, sample.references, sample.target_language) for sample in samples
        ),
        length_ratio=sum(len(sample.hypothesis) for sample in samples) / referenced if referenced else None,
        wrong_language=wrong_language(samples),
    )


def wrong_language(samples: Sequence[Sample]) -> float | None:
    """The share of hypotheses that look like another language than the one asked for.

    lingua, with its small models, chooses among the language asked for and those that models most often slip into. What
    it takes the reference for too is no fault, and neither is a text without letters.

    Returns:
        `None` where lingua is not installed, or knows not all of the languages.
    """
    from speechbench.rewards.language import likeliest

    wrong = 0
    for language in sorted({sample.target_language for sample in samples}):
        its = [sample for sample in samples if sample.target_language == language]
        found = likeliest([sample.hypothesis for sample in its], language)
        if found is None:
            return None
        away = [n for n, code in enumerate(found) if code not in (None, primary(language))]
        expected = likeliest([" ".join(its[n].references) for n in away], language) or []
        wrong += sum(found[n] != code for n, code in zip(away, expected, strict=True))
    return wrong / len(samples)


def is_copied(hypothesis: str, source: str | None, references: Sequence[str]) -> bool:
    """Whether a hypothesis is its source, where the right output is something else.

    Texts are compared without case, punctuation, symbols and white space at the ends.
    """
    if source is None:
        return False
    plain = _words(source)
    return bool(plain) and _words(hypothesis) == plain and all(_words(reference) != plain for reference in references)


def is_repeated(hypothesis: str, references: Sequence[str], language: str = "") -> bool:
    """Whether a hypothesis is stuck in a loop.

    It is when an n-gram of at most four words stands at least three times in a row ("of the of the of the"),
    or when it has at least eight 4-grams and fewer than half of them are distinct. What some reference does
    just as much ("seven seven seven") is no fault: a run counts only if it is longer, and a share of distinct
    4-grams only if it is lower, than in every reference.

    Args:
        hypothesis: What the model wrote.
        references: Right outputs.
        language: Code of the output's language; where it is written without spaces, characters stand for words.
    """
    characters = is_unspaced(language)
    words = _words(hypothesis, characters)
    expected = [_words(reference, characters) for reference in references]
    repeats = _most_repeats(words)
    if repeats >= LEAST_REPEATS and repeats > max(map(_most_repeats, expected), default=1):
        return True
    distinct = _distinct(words)
    return distinct < LEAST_DISTINCT and distinct < min(map(_distinct, expected), default=1.0)


def _most_repeats(words: Sequence[str]) -> int:
    """How many times in a row the most repeated n-gram stands, over n from 1 to 4."""
    most = min(len(words), 1)
    for n in range(1, LONGEST_NGRAM + 1):
        matches = 0  # how many words in a row equal the word n places before
        for index in range(n, len(words)):
            matches = matches + 1 if words[index] == words[index - n] else 0
            most = max(most, 1 + matches // n)
    return most


def _distinct(words: Sequence[str]) -> float:
    """The share of 4-grams that are distinct; 1 where there are too few to tell."""
    ngrams = list(zip(*(words[start:] for start in range(4)), strict=False))
    return len(set(ngrams)) / len(ngrams) if len(ngrams) >= LEAST_NGRAMS else 1.0


def _words(text: str, characters: bool = False) -> list[str]:
    """Case-folded words without punctuation and symbols; or characters."""
    kept = "".join(c for c in text.casefold() if unicodedata.category(c)[0] not in "PS")
    return [c for c in kept if not c.isspace()] if characters else kept.split()


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values)
