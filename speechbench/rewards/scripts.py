"""Languages and scripts written without spaces between words."""

from __future__ import annotations

from speechbench.rewards.texts import primary

CHINESE = frozenset({"zh", "zho", "cmn", "yue"})
JAPANESE = frozenset({"ja", "jpn"})
_OTHERS = frozenset({"th", "tha", "lo", "lao", "km", "khm", "my", "mya"})

SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
"""The scripts, by Unicode's names."""


def is_unspaced(language: str) -> bool:
    """Whether a language, by a code of two or three letters with or without region, puts no spaces between words."""
    return primary(language) in CHINESE | JAPANESE | _OTHERS
