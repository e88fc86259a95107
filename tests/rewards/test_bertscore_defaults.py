"""The default encoders, layers and baselines of `bertscore`, against bert-score's."""

from pathlib import Path

import pytest

from speechbench.rewards.bertscore_defaults import KNOWN, LANGUAGES, baseline_of, default_model, layer_of


def test_the_defaults_are_those_of_bert_score() -> None:
    from bert_score.utils import lang2model, model2layers

    assert {name: entry.layer for name, entry in KNOWN.items()} == {name: model2layers[name] for name in KNOWN}
    assert {language: default_model(language) for language in LANGUAGES} == {
        language: lang2model[language] for language in LANGUAGES
    }
    assert layer_of("FacebookAI/roberta-large") == layer_of("roberta-large") == 17 and layer_of("a/b") is None


def test_the_baselines_are_those_of_bert_score() -> None:
    import bert_score
    import pandas

    tables = Path(bert_score.__file__).with_name("rescale_baseline")
    for name, entry in KNOWN.items():
        published = {
            language: float(pandas.read_csv(tables / language / f"{name}.tsv").iloc[entry.layer]["F"])
            for language in LANGUAGES
            if (tables / language / f"{name}.tsv").is_file()
        }
        assert entry.baselines == published
    assert baseline_of("FacebookAI/roberta-large", 17, "eng-US") == KNOWN["roberta-large"].baselines["en"]
    assert baseline_of("roberta-large", 16, "en") is baseline_of("roberta-large", 17, "de") is None


def test_languages_are_those_of_multilingual_bert_by_either_code() -> None:
    assert len(LANGUAGES) == 104 - 1  # Chinese counts twice in the published list
    lingua = pytest.importorskip("lingua")
    for language in lingua.Language.all():
        short, long = (code.name.lower() for code in (language.iso_code_639_1, language.iso_code_639_3))
        if short in LANGUAGES:
            assert default_model(long) == default_model(short)
    assert default_model("zh-CN") == default_model("zh_TW") == default_model("zho") == "bert-base-chinese"
