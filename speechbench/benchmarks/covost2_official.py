"""How many examples each split of CoVoST 2 has, in all of its 36 directions.

A split is the released translations joined on `path` with `validated.tsv` of Common Voice corpus 4
(2019-12-10), as the official script joins them. These sources agree on every number here:

- counted in that join: `dataset_infos.json` of the data set covost2, repeated in the table of its card,
  https://github.com/huggingface/datasets/blob/040102f1/datasets/covost2/dataset_infos.json and
  https://huggingface.co/datasets/facebook/covost2;
- of the copy with audio, fixie-ai/covost2: the sizes in its makers' configuration,
  https://github.com/fixie-ai/ultravox/blob/060a6701/ultravox/data/configs/covost2.py.

Dev and test are Common Voice's own, so that the release's statistics confirm them once more:
https://github.com/common-voice/cv-dataset/blob/main/datasets/scripted-speech/cv-corpus-4-2019-12-10.json
(train is Common Voice's, extended). The readme of https://github.com/facebookresearch/covost gives no such numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

from speechbench.benchmarks.base import SPLITS

_FROM_ENGLISH = (289_430, 15_531, 15_531)  # the same clips, whatever they are translated into
_TARGETS = ("ar", "ca", "cy", "de", "et", "fa", "id", "ja", "lv", "mn", "sl", "sv-SE", "ta", "tr", "zh-CN")
_INTO_ENGLISH = {
    "ar": (2_283, 1_758, 1_695),
    "ca": (95_854, 12_730, 12_730),
    "cy": (1_241, 690, 690),
    "de": (127_834, 13_511, 13_511),
    "es": (79_015, 13_221, 13_221),
    "et": (1_782, 1_576, 1_571),
    "fa": (53_949, 3_445, 3_445),
    "fr": (207_374, 14_760, 14_760),
    "id": (1_243, 792, 844),
    "it": (31_698, 8_940, 8_951),
    "ja": (1_119, 635, 684),
    "lv": (2_337, 1_125, 1_629),
    "mn": (2_067, 1_761, 1_759),
    "nl": (7_108, 1_699, 1_699),
    "pt": (9_158, 3_318, 4_023),
    "ru": (12_112, 6_110, 6_300),
    "sl": (1_843, 509, 360),
    "sv-SE": (2_160, 1_349, 1_595),
    "ta": (1_358, 384, 786),
    "tr": (3_966, 1_624, 1_629),
    "zh-CN": (7_085, 4_843, 4_898),
}

OFFICIAL: Mapping[str, Mapping[str, int]] = {
    **{f"en_{target}": dict(zip(SPLITS, _FROM_ENGLISH, strict=True)) for target in _TARGETS},
    **{f"{source}_en": dict(zip(SPLITS, counts, strict=True)) for source, counts in _INTO_ENGLISH.items()},
}
"""The number of examples by direction ("en_de") and split ("train", "validation", "test").

Its keys are all directions that there are, those from English first.
"""
