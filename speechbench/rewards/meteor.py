"""The reward `meteor`: METEOR, by nltk."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from itertools import zip_longest
from typing import Any, ClassVar

from speechbench.errors import MissingError, UsageError
from speechbench.languages import is_unspaced, primary
from speechbench.rewards.base import Batch
from speechbench.rewards.by_language import ByLanguage
from speechbench.rewards.signatures import unicode_version
from speechbench.rewards.texts import Folding, column

_SNOWBALL = {
    "ar": "arabic", "da": "danish", "de": "german", "es": "spanish", "fi": "finnish", "fr": "french",
    "hu": "hungarian", "it": "italian", "nb": "norwegian", "nl": "dutch", "nn": "norwegian", "no": "norwegian",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sv": "swedish",
}  # fmt: skip
_REMEMBERED = 1 << 16  # words whose stem or synonyms are kept


class Meteor(ByLanguage):
    """METEOR: how well the words of the hypothesis match those of the reference, in their order.

    Words match exactly, else by their stem, else as synonyms; the score is a mean of precision and recall that
    leans to recall, less a penalty for matches that do not stand together. With several references the best one
    counts. The reference itself scores not 1 but 1 − gamma / n^beta for n words.

    Words are those of nltk's Treebank tokenizer, as is usual, and characters in languages that are written without
    spaces. Stems are Porter's for English, Snowball's in the other languages that nltk has it for, and the words
    themselves elsewhere. nltk looks synonyms up by the stem, so that a word finds its own only where the stem is a word
    too: "big" does, "large" (stem "larg") does not.

    Args:
        synonyms: Whether synonyms match, which WordNet tells and only of English; by default they do in English
            and not elsewhere, where METEOR is defined without.
        alpha: Weight of recall against precision, from 0 to 1.
        beta: How fast the penalty falls with longer chunks, at least 0.
        gamma: The largest penalty, from 0 to 1.
        case: Whether words match only in the same case; words with capitals then have no synonyms.
        punctuation: Whether punctuation marks are words.

    Raises:
        UsageError: If a parameter is none of these.
    """

    family = "overlap"
    is_pure = True
    citation: ClassVar[str] = (
        "Banerjee and Lavie 2005, https://aclanthology.org/W05-0909; "
        "Lavie and Agarwal 2007, https://aclanthology.org/W07-0734; nltk"
    )

    def __init__(
        self,
        synonyms: bool | None = None,
        alpha: float = 0.9,
        beta: float = 3.0,
        gamma: float = 0.5,
        case: bool = False,
        punctuation: bool = True,
    ) -> None:
        if synonyms is not None and not isinstance(synonyms, bool):
            raise UsageError(f"meteor(synonyms={synonyms}): write true or false")
        self.synonyms = synonyms
        self.alpha = _number("alpha", alpha, 1.0)
        self.beta = _number("beta", beta, math.inf)
        self.gamma = _number("gamma", gamma, 1.0)
        self.folding = Folding("meteor", case, punctuation)
        self.display = column(
            "METEOR",
            {None: "", True: "synonyms", False: "no synonyms"}[synonyms],
            *(
                f"{name}={value:g}"
                for name, value, usual in (("alpha", alpha, 0.9), ("beta", beta, 3.0), ("gamma", gamma, 0.5))
                if value != usual
            ),
            "cased" if case else "",
            "" if punctuation else "no punct",
        )

    def score(self, batch: Batch) -> list[float | None]:
        """nltk's `meteor_score`; `None` for an example without a reference.

        Raises:
            UsageError: If synonyms are asked for in a language that has none.
            MissingError: If WordNet is needed and not on this machine.
        """
        from nltk.translate.meteor_score import meteor_score

        references: dict[int, list[list[str]]] = {}
        matching: dict[str, Mapping[str, Any]] = {}
        scores: list[float | None] = []
        for hypothesis, example in zip(batch.hypotheses, batch.examples, strict=True):
            language = example.target_language
            if id(example) not in references:
                references[id(example)] = [self._tokens(reference, language) for reference in example.references]
            if not references[id(example)]:
                scores.append(None)
                continue
            if language not in matching:
                matching[language] = self._matching(language)
            tokens = self._tokens(hypothesis, language)
            scores.append(float(meteor_score(references[id(example)], tokens, **matching[language])))
        return scores

    def signature(self) -> Mapping[str, Any]:
        """Parameters, nltk's version, and how words, stems and synonyms are found.

        Stemmer and words are those of the benchmark's language; without one the languages of the examples tell.
        WordNet's version and hash stand there wherever English may come by.
        """
        language = self._language
        english = (language is None or primary(language) == "en") and self.synonyms is not False
        return {
            "name": "meteor",
            "version": 1,
            "nltk": version("nltk"),
            "words": "by language" if language is None else _words_name(language),
            "stemmer": "by language" if language is None else _stemmer_name(language),
            "synonyms": {None: "by language", True: "yes", False: "no"}[self.synonyms],
            "wordnet": _wordnet_signature() if english else None,
            "alpha": self.alpha,
            "beta": self.beta,
            "gamma": self.gamma,
            **self.folding.signature,
            **unicode_version(self.folding),
        }

    def _check_language(self, language: str, of: str) -> None:
        if self._has_synonyms(language):
            _wordnet()

    def _matching(self, language: str) -> Mapping[str, Any]:
        """What nltk is told besides the words."""
        case = self.folding.case
        return {
            "preprocess": str if case else str.lower,
            "stemmer": _stemmer(_stemmer_name(language), case),
            "wordnet": _synonyms(_wordnet(), case) if self._has_synonyms(language) else _NoSynonyms,
            "alpha": self.alpha,
            "beta": self.beta,
            "gamma": self.gamma,
        }

    def _has_synonyms(self, language: str) -> bool:
        english = primary(language) == "en"
        if self.synonyms and not english:
            raise UsageError(
                f"meteor(synonyms=true): WordNet has English synonyms only, and the target language is "
                f"{language or 'not given'}: leave them out with meteor(synonyms=false)"
            )
        return english if self.synonyms is None else self.synonyms

    def _tokens(self, text: str, language: str) -> list[str]:
        if not self.folding.punctuation:
            text = self.folding(text)
        if _words_name(language) == "characters":
            return [character for character in text if not character.isspace()]
        from nltk.tokenize import word_tokenize

        return list(word_tokenize(text, preserve_line=True))  # split into sentences it would need data


class _Stemmer:
    """Stems as nltk's stemmers give them, remembered."""

    def __init__(self, stem: Callable[[str], str]) -> None:
        self.stem = lru_cache(_REMEMBERED)(stem)


class _Synonyms:
    """WordNet's synsets, remembered."""

    def __init__(self, synsets: Callable[[str], Sequence[Any]]) -> None:
        self.synsets = lru_cache(_REMEMBERED)(synsets)


class _NoSynonyms:
    """A WordNet that knows no word."""

    @staticmethod
    def synsets(word: str) -> Sequence[Any]:
        return ()


def _number(name: str, value: float, highest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= highest or value == math.inf:
        raise UsageError(
            f"meteor({name}={value}): {name} is a number {'from 0 to 1' if highest == 1 else 'of at least 0'}"
        )
    return float(value)


def _words_name(language: str) -> str:
    return "characters" if is_unspaced(language) else "treebank"


def _stemmer_name(language: str) -> str:
    code = primary(language)
    return "porter" if code == "en" else _SNOWBALL.get(code, "none")


@cache
def _stemmer(name: str, case: bool) -> _Stemmer:
    from nltk.stem import PorterStemmer, SnowballStemmer

    def stem(word: str) -> str:
        if name == "none":
            return word
        # A new one each time, since Snowball's for Arabic remembers words before, which scores must not depend on.
        return str((PorterStemmer() if name == "porter" else SnowballStemmer(name)).stem(word))

    def cased(word: str) -> str:  # stemmers give lower case: here each letter of the stem as it is in the word
        pairs = zip_longest(stem(word), word, fillvalue="")
        return "".join(letter.upper() if original.isupper() else letter for letter, original in pairs)

    return _Stemmer(cased if case else stem)


@cache
def _synonyms(wordnet: Any, case: bool) -> _Synonyms:
    return _Synonyms(lambda word: () if case and word != word.lower() else wordnet.synsets(word))


def _wordnet() -> Any:
    """nltk's reader of WordNet, with its data.

    Raises:
        MissingError: If the data is not on this machine, or broken.
    """
    import nltk.corpus

    try:
        nltk.corpus.wordnet.ensure_loaded()
    except LookupError:
        raise MissingError(_how_to_mend("is not on this machine: run")) from None
    except Exception as error:  # what a reader of half a file may raise
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise MissingError(_how_to_mend(f"cannot be read ({said}): remove it and run")) from error
    return nltk.corpus.wordnet


def _how_to_mend(what: str) -> str:
    return (
        f"meteor takes English synonyms from WordNet, which {what} `python -m nltk.downloader wordnet`, "
        "or name the folder that has it in NLTK_DATA, or leave synonyms out with meteor(synonyms=false)"
    )


def _wordnet_signature() -> Mapping[str, str] | None:
    """WordNet's version and SHA-256; `None` where it is not on this machine, so that nothing can be scored with it."""
    try:
        return _wordnet_hash(_wordnet())
    except MissingError:
        return None


@cache
def _wordnet_hash(wordnet: Any) -> Mapping[str, str]:
    digest = hashlib.sha256()
    for part in ("adj", "adv", "noun", "verb"):
        for name in (f"data.{part}", f"index.{part}", f"{part}.exc"):
            with wordnet.abspath(name).open() as file:
                digest.update(f"{name}\0".encode() + file.read())
    return {"version": str(wordnet.get_version()), "sha256": digest.hexdigest()}
