"""sacrebleu's tokenizers for BLEU: which one a language has, and what to do where it is not on this machine."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from speechbench.errors import MissingError
from speechbench.languages import CHINESE, is_unspaced, primary

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

BY_LANGUAGE = {**dict.fromkeys(sorted(CHINESE), "zh"), "ja": "ja-mecab", "ko": "ko-mecab"}
"""Where sacrebleu has one for the language; of the others those written without spaces have `UNSPACED`."""
UNSPACED, OTHER = "char", "13a"

_PACKAGES = {"ja-mecab": "speechbench[ja]", "ko-mecab": "sacrebleu[ko]"}
_MARKS = frozenset(".,-")
_SECONDS = 6.0  # how long a server may be silent before it counts as unreachable


def tokenizer_of(language: str) -> str:
    """Name of the tokenizer for a target language."""
    return BY_LANGUAGE.get(primary(language), UNSPACED if is_unspaced(language) else OTHER)


def bleu_with(tokenizer: str, lowercase: bool, language: str) -> BLEU:
    """sacrebleu's sentence BLEU.

    Args:
        tokenizer: One of sacrebleu's.
        lowercase: Whether case does not count.
        language: What it is for, for the error; empty if unknown.

    Raises:
        MissingError: If the tokenizer needs a package that is not installed, or a model that is not on this machine
            and cannot be downloaded; within seconds if there is no network.
    """
    from sacrebleu.metrics.bleu import BLEU

    try:
        with _impatient():
            metric = BLEU(lowercase=lowercase, tokenize=tokenizer, effective_order=True)
    except (ImportError, RuntimeError, OSError, SystemExit) as error:  # it exits after a broken download
        raise MissingError(_how_to_mend(tokenizer, language, error)) from error
    if hasattr(metric.tokenizer, "_post_tokenizer"):  # of 13a and zh
        metric.tokenizer._post_tokenizer = _quicker(metric.tokenizer._post_tokenizer)
    return metric


def _quicker(tokenizer: TokenizerRegexp) -> Callable[[str], str]:
    """The last step of sacrebleu's tokenizers 13a and zh, with the same result.

    Its first expression puts spaces around single characters, one of them the space itself: half of the time that
    BLEU takes, where a translation does it at once. The others are about full stops, commas and dashes.
    """
    (single, _), *others = tokenizer._re
    apart = {code: f" {chr(code)} " for code in range(128) if single.match(chr(code))}

    def tokenized(line: str) -> str:
        line = line.translate(apart)
        if not _MARKS.isdisjoint(line):
            for expression, replacement in others:
                line = expression.sub(replacement, line)
        return " ".join(line.split())

    return tokenized


@contextmanager
def _impatient() -> Iterator[None]:
    """Gives up on servers that do not answer: sacrebleu would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _how_to_mend(tokenizer: str, language: str, error: BaseException) -> str:
    scorer = f"BLEU with the tokenizer {tokenizer}" + (f" (target language {language})" if language else "")
    other = "or choose another tokenizer, as in bleu(tokenize=char)"
    if tokenizer in _PACKAGES or isinstance(error, ImportError):
        package = _PACKAGES.get(tokenizer, "sentencepiece")
        return f"{scorer} needs a package that is not installed: run `pip install '{package}'`, {other}"
    from sacrebleu.utils import SACREBLEU_DIR

    said = " ".join(str(error).split())
    return (
        f"{scorer} needs a model that is not on this machine and cannot be downloaded ({said}): put it into "
        f"{SACREBLEU_DIR}/models, or set SACREBLEU to the folder whose models/ has it, {other}"
    )
