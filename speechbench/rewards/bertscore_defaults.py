"""Which encoder BERTScore takes by default, at which layer, and what its scores are rescaled by.

The facts are bert-score's (Zhang et al. 2020), version 0.3.13, https://github.com/Tiiiger/bert_score: the encoder
of a language and the layer of an encoder from `bert_score/utils.py` (`lang2model`, `model2layers`), the baselines
from `bert_score/rescale_baseline`, column F, at that layer. It has layers of a hundred more encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from speechbench.errors import UsageError
from speechbench.languages import primary


@dataclass(frozen=True)
class Known:
    """An encoder that bert-score knows.

    Attributes:
        hub: Its present name on the hub.
        layer: Whose output is compared.
        baselines: Language to the mean F of unrelated sentences at that layer.
    """

    hub: str
    layer: int
    baselines: Mapping[str, float] = field(default_factory=dict)


_MULTILINGUAL = "bert-base-multilingual-cased"
_OF_LANGUAGE = {"en": "roberta-large", "zh": "bert-base-chinese", "tr": "dbmdz/bert-base-turkish-cased"}

# By the name that bert-score has for it, which on the hub leads to the present one.
KNOWN: Mapping[str, Known] = {
    "roberta-large": Known("FacebookAI/roberta-large", 17, {"en": 0.83122575}),
    "bert-base-chinese": Known("google-bert/bert-base-chinese", 8, {"zh": 0.54755783}),
    "dbmdz/bert-base-turkish-cased": Known("dbmdz/bert-base-turkish-cased", 10),
    _MULTILINGUAL: Known(
        "google-bert/bert-base-multilingual-cased",
        9,
        {
            "cs": 0.604006,
            "de": 0.6147353,
            "en": 0.63146895,
            "es": 0.6342529,
            "et": 0.6106605,
            "fi": 0.6107369,
            "fr": 0.6252499,
            "it": 0.62006223,
            "lv": 0.614489,
            "pt": 0.63099706,
            "zh": 0.62803453,
        },
    ),
    "xlm-roberta-base": Known(
        "FacebookAI/xlm-roberta-base",
        9,
        {
            "cs": 0.8010951,
            "de": 0.809723,
            "en": 0.81639785,
            "es": 0.8232284,
            "et": 0.8046123,
            "fi": 0.8020057,
            "fr": 0.81971085,
            "it": 0.81542325,
            "lv": 0.81327385,
            "pt": 0.8175885,
            "zh": 0.82975745,
        },
    ),
    "xlm-roberta-large": Known(
        "FacebookAI/xlm-roberta-large",
        17,
        {
            "cs": 0.8250096,
            "de": 0.83889884,
            "en": 0.8525485,
            "es": 0.8445116,
            "et": 0.83119583,
            "fi": 0.8361323,
            "fr": 0.84175515,
            "it": 0.8349814,
            "lv": 0.8394039,
            "pt": 0.8393744,
        },
    ),
    "roberta-base": Known("FacebookAI/roberta-base", 10, {"en": 0.814463}),
    "roberta-large-mnli": Known("FacebookAI/roberta-large-mnli", 19, {"en": 0.6896288}),
    "bert-base-uncased": Known("google-bert/bert-base-uncased", 9, {"en": 0.35219112}),
    "bert-large-uncased": Known("google-bert/bert-large-uncased", 18, {"en": 0.42646673}),
    "distilbert-base-uncased": Known("distilbert/distilbert-base-uncased", 5, {"en": 0.66620487}),
    "microsoft/deberta-large-mnli": Known("microsoft/deberta-large-mnli", 18, {"en": 0.45173016}),
    "microsoft/deberta-xlarge-mnli": Known("microsoft/deberta-xlarge-mnli", 40, {"en": 0.5150192}),
    "microsoft/deberta-v3-large": Known("microsoft/deberta-v3-large", 12),
    "microsoft/mdeberta-v3-base": Known("microsoft/mdeberta-v3-base", 10),
    "allenai/scibert_scivocab_uncased": Known("allenai/scibert_scivocab_uncased", 8),
}

# What multilingual BERT (cased) was trained on: https://github.com/google-research/bert/blob/master/multilingual.md
# (104 languages; Chinese stands there in both scripts). bert-score takes multilingual BERT for any language at all.
_LANGUAGES = """
af sq ar an hy ast az ba eu bar be bn bpy bs br bg my ca ceb ce zh cv hr cs da nl en et fi fr gl ka de el gu ht he hi
hu is io id ga it ja jv kn kk ky ko la lv lt lmo nds lb mk mg ms ml mr min ne new nb nn oc fa pms pl pt pa ro ru sco sr
sh scn sk sl azb es su sw sv tl tg ta tt te tr uk ur uz vi vo war cy fy pnb yo th mn
"""
LANGUAGES = frozenset(_LANGUAGES.split())
"""The languages that have a default encoder, each by its shortest code."""


def default_model(language: str) -> str:
    """The encoder of a target language, as a key of `KNOWN`.

    Args:
        language: Code of two or three letters, a region may follow.

    Raises:
        UsageError: If there is none.
    """
    short = _short(language)
    if short not in LANGUAGES:
        raise UsageError(
            f"bertscore has no default encoder for the target language {language!r}: name one and the layer to "
            "compare, as in bertscore(model=FacebookAI/xlm-roberta-large, layer=17)"
        )
    return _OF_LANGUAGE.get(short, _MULTILINGUAL)


def _known(model: str) -> Known | None:
    """By its name on the hub, or by the name of the folder that holds it."""
    folder = Path(model).expanduser()
    for name, entry in KNOWN.items():
        if model in (name, entry.hub) or (folder.is_dir() and folder.absolute().name == Path(name).name):
            return entry
    return None


def layer_of(model: str) -> int | None:
    """The layer to compare of an encoder, by its name on the hub or that of its folder; `None` where none is known."""
    entry = _known(model)
    return None if entry is None else entry.layer


def baseline_of(model: str, layer: int, language: str) -> float | None:
    """The published baseline of an encoder at a layer for a target language; `None` where there is none."""
    entry = _known(model)
    return entry.baselines.get(_short(language)) if entry is not None and entry.layer == layer else None


def _short(language: str) -> str:
    code = primary(language)
    return "nb" if code == "no" else code
