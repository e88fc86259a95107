"""The reward `binary`: whether the hypothesis is right as a whole."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from speechbench.errors import UsageError
from speechbench.languages import is_unspaced, primary
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.texts import column, without_punctuation

_MODES = ("exact", "contains", "option", "numeric")
_DECIMAL_COMMA = frozenset({
    "af", "az", "be", "bg", "bs", "ca", "cs", "da", "de", "el", "es", "et", "eu", "fi", "fr", "gl", "hr", "hu",
    "hy", "id", "is", "it", "ka", "kk", "lt", "lv", "mk", "nb", "nl", "nn", "no", "pl", "pt", "ro", "ru", "sk",
    "sl", "sq", "sr", "sv", "tr", "uk", "vi",
})  # fmt: skip
"""Languages whose numbers have a decimal comma in Unicode's CLDR."""


class Binary(Reward):
    """1 if the hypothesis is right, else 0; with several references any of them will do.

    What is right, the mode says:

    - "exact": the hypothesis equals a reference.
    - "contains": a reference stands in the hypothesis, as whole words; in languages that are written without spaces
      anywhere.
    - "option": both choose the same one of the options A to D (`option`), as in LibriSQA Part II.
    - "numeric": both end with the same number (`number`).

    A reference without a letter or a number does not apply in the last two; a hypothesis without scores 0.

    Args:
        normalize: Compare after Unicode normalisation (NFKC), case folding, and without punctuation and
            repeated white space. Of the modes "exact" and "contains".
        mode: One of these.
        tolerance: By what share of the reference's number the hypothesis's may miss it. Of the mode "numeric".

    Raises:
        UsageError: If a parameter is none of these, or not of this mode.
    """

    maximum = 1.0
    is_pure = True

    def __init__(self, normalize: bool = True, mode: str = "exact", tolerance: float = 0.0) -> None:
        if not isinstance(normalize, bool):
            raise UsageError(f"binary(normalize={normalize}): write true or false")
        if mode not in _MODES:
            raise UsageError(f"binary(mode={mode}): the modes are {', '.join(_MODES)}")
        if not normalize and mode in ("option", "numeric"):
            raise UsageError(f"binary(mode={mode}, normalize=false): only exact and contains normalize; leave it out")
        if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 <= tolerance < math.inf:
            raise UsageError(f"binary(tolerance={tolerance}): the tolerance is a number of at least 0, as in 0.01")
        if tolerance and mode != "numeric":
            raise UsageError(
                f"binary(mode={mode}, tolerance={tolerance}): write mode=numeric, or leave the tolerance out"
            )
        self.normalize = normalize
        self.mode = mode
        self.tolerance = float(tolerance)
        self.display = column(
            "binary",
            "" if mode == "exact" else mode,
            "" if normalize else "verbatim",
            f"tolerance={tolerance:g}" if tolerance else "",
        )

    def score(self, batch: Batch) -> list[float | None]:
        """1 or 0; `None` for an example without a reference that the mode can read."""
        expected: dict[int, list[Any]] = {}
        scores: list[float | None] = []
        for hypothesis, example in zip(batch.hypotheses, batch.examples, strict=True):
            language = example.target_language
            if id(example) not in expected:
                read = [self._read(reference, language) for reference in example.references]
                expected[id(example)] = [reference for reference in read if reference is not None]
            references = expected[id(example)]
            found = self._read(hypothesis, language) if references else None
            right = found is not None and any(self._matches(found, reference) for reference in references)
            scores.append(float(right) if references else None)
        return scores

    def signature(self) -> Mapping[str, Any]:
        """The parameters; Unicode's version matters to what is a letter and what is punctuation."""
        return {
            "name": "binary",
            "version": 1,
            "normalize": self.normalize,
            "mode": self.mode,
            "tolerance": self.tolerance,
            "unicode": unicodedata.unidata_version,
        }

    def _read(self, text: str, language: str) -> Any:
        """What of a text is compared; `None` where it has no letter or number."""
        if self.mode == "option":
            return option(text)
        if self.mode == "numeric":
            return number(text, language)
        text = normalized(text) if self.normalize else text
        if self.mode == "exact":
            return text
        if is_unspaced(language):
            return "".join(text.split())
        return f" {' '.join(text.split())} "  # so that what stands in it are whole words

    def _matches(self, found: Any, reference: Any) -> bool:
        if self.mode == "contains" and reference.strip():
            return bool(reference in found)
        if self.tolerance:
            return bool(abs(found - reference) <= Decimal(str(self.tolerance)) * abs(reference))
        return bool(found == reference)


def normalized(text: str) -> str:
    """The text in lower case without punctuation; one that is nothing but punctuation stays as it is."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return without_punctuation(folded) or " ".join(folded.split())


_BRACKETED = r"[(\[{] ?([A-Da-d]) ?[)\]}]"
_CAPITAL = r"(?<![\w'-])([A-D])(?![\w'-])(?!(?<=A) (?!(?:and|as|because|is|or|since)\b)\w)"
_SMALL = r"(?<![\w'-])([a-d])(?= ?(?:[.,;:!)]|$))"
_WHOLE = re.compile(r"\A[\W_]*([A-Da-d])[\W_]*\Z")
_LETTER = rf"(?:{_BRACKETED}|{_CAPITAL}|{_SMALL})"
_NAMED = [  # what is called the answer goes before what is called an option
    re.compile(rf"(?i:\b{word})\s?[:=–-]?\s?{_LETTER}", re.MULTILINE)
    for word in (r"answer(?: is)?:?(?: option| choice)?", r"(?<!not )(?:option|choice)(?: is)?")
]
_NEXT = re.compile(  # another letter after one: "B, C", "B or option C", "(B) (C)", but not "B, C is wrong"
    r"(?!(?:[,;]|,? (?i:and)) ?\S{1,3} (?:is|was)\b)"
    r"(?: ?[,;/|&+] ?(?:(?i:and|or) )?| (?i:and|or) |(?<=[A-D]) (?=[A-D])|(?<=[)\]}])\s?(?=[(\[{]))"
    rf"(?:(?i:option|choice) )?{_LETTER}",
    re.MULTILINE,
)
_DENIED = re.compile(  # "not B", "B is not"
    rf"(?:\b(?i:not|nor)|n't)(?i: option| choice)? {_LETTER}|{_LETTER} is(?: not\b|n't\b)", re.MULTILINE
)
_FIRST = re.compile(rf"\A(?:{_BRACKETED}|([A-Da-d])[.):])[.:]?(?=\s|\Z)")
_ANYWHERE = re.compile(rf"{_BRACKETED}|{_CAPITAL}")


def option(text: str) -> str | None:
    """Which of the options A to D a text chooses.

    The first of these forms that the text has decides; if it names two different letters there, it chooses none:

    1. nothing but a letter: "B", "(b)", "b.", "**B**";
    2. a letter after "answer", or several: "The answer is B", "Answer: (b) because ...", "answer: A or C";
    3. a letter at the start, in brackets or before a full stop, bracket or colon: "B. The dog", "b) the dog"; unless
       the next letter follows in the same way, as in a list of the options;
    4. a letter after "option" or "choice", or several: "I take option B";
    5. a letter in brackets or a capital, standing alone, anywhere: "It must be B, I think"; unless one is denied, as
       in "The answer is not B".

    Several letters are joined by commas, strokes, "and" or "or", or stand next to each other; one before "is" after a
    comma or "and" begins a sentence. In the forms 2, 4 and 5 a small letter counts only in brackets or, but not in the
    last, before punctuation; and "A" before a word is an article, unless that is "and", "as", "because", "is", "or" or
    "since".

    Args:
        text: A hypothesis or a reference.

    Returns:
        The capital letter; `None` if there is none, or more than one.
    """
    plain = unicodedata.normalize("NFKC", text).replace("’", "'")
    plain = re.sub(r"""[*_`"“”„]|(?<!\w)'|'(?!\w)""", "", plain)  # emphasis and quotation marks
    plain = "\n".join(" ".join(line.split()) for line in plain.splitlines() if line.strip())
    letters = next(filter(None, _forms(plain)), [])
    return letters[0] if len(set(letters)) == 1 else None


def _forms(plain: str) -> Iterator[list[str]]:
    """The letters that each form of `option` finds; later ones are looked for only where the earlier find none."""
    yield [letter for match in _WHOLE.finditer(plain) for letter in _letters(match)]
    answers, options = _NAMED
    yield _named(answers, plain)
    first = _FIRST.match(plain)
    if first is not None and not _is_list(_letters(first)[0], plain[first.end() :]):
        yield _and_next(first, plain)
    yield _named(options, plain)
    if not _DENIED.search(plain):
        yield [letter for match in _ANYWHERE.finditer(plain) for letter in _letters(match)]


def _named(form: re.Pattern[str], text: str) -> list[str]:
    """The letters that a form names, wherever it stands."""
    return [letter for match in form.finditer(text) for letter in _and_next(match, text)]


def _and_next(match: re.Match[str], text: str) -> list[str]:
    """The letter that a form names, and those that are joined to it."""
    letters = _letters(match)
    following = _NEXT.match(text, match.end())
    while following is not None:
        letters += _letters(following)
        following = _NEXT.match(text, following.end())
    return letters


def _letters(match: re.Match[str]) -> list[str]:
    return [letter.upper() for letter in match.groups() if letter]


def _is_list(letter: str, rest: str) -> bool:
    """Whether the letter after this one begins an option, too."""
    following = chr(ord(letter) + 1)
    return re.search(rf"(?<!\w)[{following}{following.lower()}](?:[)\]}}]|[.:]\s)", rest) is not None


# What separates thousands and nothing else: spaces that do not break, Swiss apostrophes, the Arabic sign.
_GROUP = re.compile(r"(?<=\d)[\u00a0\u2009\u202f'’\u066c](?=\d{3}(?!\d))")
_ARABIC = "\u066b"  # decimal separator, and nothing else
_POWER = r"(?:[eE]|\*\*)[-+−]?\d+|\^[-+−({ ]*\d*|[⁻⁰¹²³⁴-⁹]"
_NUMBER = re.compile(rf"(?<![A-Za-z\d_^])([-−]?)(\d+(?:[.,{_ARABIC}]\d+)*|(?<!\.)\.\d+)({_POWER})?")


def number(text: str, language: str = "") -> Decimal | None:
    """The last number in a text, written in digits: where an answer is worked out, its result stands last.

    Digits of any script count, also with a unit ("20km", "50%", "5th") but not inside or behind a word ("B2"). Number
    words are not read, nor numbers with a power ("1e5", "10^5"). Of two kinds of separators the last is the decimal
    one ("1,234.5" and "1.234,5" are equal); one that could be either ("1,234") is what it is in the text's language.
    Groups of thousands may be India's ("12,34,567"). An enumeration ("1,2,3") gives its last number.

    Args:
        text: A hypothesis or a reference.
        language: Code of its language: whether it has a decimal comma or a decimal point.

    Returns:
        The number, exactly; `None` if there is none, or the last has a power.
    """
    found = list(_NUMBER.finditer(_GROUP.sub("", text)))
    if not found or found[-1][3]:
        return None
    last = found[-1]
    value = _value(last[2], "," if primary(language) in _DECIMAL_COMMA else ".")
    return value.copy_negate() if last[1] else value


def _value(digits: str, decimal: str) -> Decimal:
    """The value of digits with points, commas and the Arabic decimal separator between them.

    Args:
        digits: As "1,234.5".
        decimal: What separates the decimal places where the digits leave it open.
    """
    parts = re.split(r"\D", digits)
    marks = re.sub(r"\d", "", digits)
    are_groups = 1 <= len(parts[0]) <= 3 and parts[0].strip("0") != "" and all(len(part) == 3 for part in parts[1:])
    if _ARABIC in marks:
        decimal = _ARABIC
    elif len(set(marks)) == 2 or (len(marks) == 1 and not are_groups):
        decimal = marks[-1]
    elif len(marks) > 1:
        decimal = "," if marks[0] == "." else "."  # what stands twice separates thousands
    whole, _, places = digits.partition(decimal)
    groups = re.split(r"\D", whole)
    if re.search(r"\D", places) or not (_THOUSANDS.fullmatch(whole) or _INDIAN.fullmatch(whole)):
        return Decimal(parts[-1])  # no number but an enumeration, "1,2,3"
    return Decimal(f"{''.join(groups)}.{places}")


_THOUSANDS = re.compile(r"\d*(?:[.,]\d{3})*")
_INDIAN = re.compile(r"\d{1,2}(?:,\d{2})+,\d{3}")
