import pytest

from speechbench.benchmarks import templates
from speechbench.benchmarks.base import SPLITS
from speechbench.benchmarks.covost2_official import OFFICIAL

# As the official script lists them: github.com/facebookresearch/covost, get_covost_splits.py.
INTO_15 = "de tr fa sv-SE mn zh-CN cy ca sl et id ar ta lv ja"
FROM_21 = "fr de es ca it ru zh-CN pt fa et mn nl tr ar sv-SE lv sl ta ja id cy"

# All rows of a direction as the data set viewer shows them: huggingface.co/datasets/fixie-ai/covost2/viewer.
VIEWER = """ar_en 5.74k, ca_en 121k, cy_en 2.62k, de_en 155k, es_en 105k, et_en 4.93k, fa_en 60.8k, fr_en 237k,
id_en 2.88k, it_en 49.6k, ja_en 2.44k, lv_en 5.09k, mn_en 5.59k, nl_en 10.5k, pt_en 16.5k, ru_en 24.5k, sl_en 2.71k,
sv-SE_en 5.1k, ta_en 2.53k, tr_en 7.22k, zh-CN_en 16.8k, en_ar 320k, en_ca 320k, en_cy 320k, en_de 320k, en_et 320k,
en_fa 320k, en_id 320k, en_ja 320k, en_lv 320k, en_mn 320k, en_sl 320k, en_sv-SE 320k, en_ta 320k, en_tr 320k,
en_zh-CN 320k"""

# Clips in train, dev, test and validated of Common Voice corpus 4, by language:
# github.com/common-voice/cv-dataset, datasets/scripted-speech/cv-corpus-4-2019-12-10.json.
COMMON_VOICE_4 = {
    "ar": (2029, 1758, 1695, 6839),
    "ca": (54173, 12730, 12730, 175625),
    "cy": (721, 690, 690, 47059),
    "de": (71841, 13511, 13511, 370976),
    "en": (232975, 15531, 15531, 854444),
    "es": (64353, 13221, 13221, 112127),
    "et": (1750, 1576, 1571, 5679),
    "fa": (4347, 3445, 3445, 188313),
    "fr": (130604, 14760, 14760, 264897),
    "id": (1243, 792, 844, 2881),
    "it": (19387, 8940, 8951, 56009),
    "ja": (1119, 635, 684, 2438),
    "lv": (2336, 1125, 1629, 5098),
    "mn": (2018, 1761, 1759, 6371),
    "nl": (1893, 1699, 1699, 22954),
    "pt": (6014, 3318, 4023, 22131),
    "ru": (10352, 6110, 6300, 47987),
    "sl": (1566, 509, 360, 2972),
    "sv-SE": (2152, 1349, 1595, 5898),
    "ta": (1358, 384, 786, 2528),
    "tr": (1823, 1624, 1629, 12364),
    "zh-CN": (7079, 4843, 4898, 16898),
}


def test_the_directions_are_those_of_the_official_script_and_have_names():
    assert sorted(OFFICIAL) == sorted(
        [f"en_{code}" for code in INTO_15.split()] + [f"{code}_en" for code in FROM_21.split()]
    )
    assert {code for direction in OFFICIAL for code in direction.split("_")} == set(templates.LANGUAGES)


def test_every_direction_has_every_split():
    assert {tuple(counts) for counts in OFFICIAL.values()} == {SPLITS}


def test_whatever_english_is_translated_into_the_counts_are_the_same():
    assert all(OFFICIAL[f"en_{code}"] == OFFICIAL["en_de"] for code in INTO_15.split())


def test_the_totals_are_those_that_the_viewer_rounds():
    shown = dict(entry.split() for entry in VIEWER.split(","))
    assert {direction: f"{sum(counts.values()) / 1000:.3g}k" for direction, counts in OFFICIAL.items()} == shown


@pytest.mark.parametrize("direction", OFFICIAL)
def test_dev_and_test_are_common_voices_own_and_train_is_its_extended(direction):
    train, dev, test, validated = COMMON_VOICE_4[direction.split("_")[0]]
    counts = OFFICIAL[direction]
    assert (counts["validation"], counts["test"]) == (dev, test)
    assert counts["train"] >= train
    assert sum(counts.values()) <= validated
