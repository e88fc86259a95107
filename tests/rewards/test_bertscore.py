"""The reward `bertscore`: equal to bert-score on small encoders, and what its parameters and languages mean."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from speechbench import hub
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import MissingError, UsageError
from speechbench.rewards import bertscore as module
from speechbench.rewards import load_reward
from speechbench.rewards.base import Batch
from speechbench.rewards.bertscore import BertScore
from speechbench.rewards.bertscore_defaults import LANGUAGES
from speechbench.rewards.loading import identity

Peer = Callable[..., list[float]]  # bert-score's scores
Grouped = Callable[..., tuple[list[str], list[list[str]]]]
needs_transformers_4 = pytest.mark.skipif(
    not transformers.__version__.startswith("4."),
    reason="under transformers 5, bert-score 0.3.13 crashes on empty strings and splits some texts otherwise",
)


def example(*references: str, language: str = "de") -> Example:
    return Example("e", None, "", references, None, "en", language)


def batch(hypotheses: list[str], references: list[list[str]]) -> Batch:
    return Batch.of(hypotheses, [example(*texts) for texts in references])


ODD = ["", "   \t\n", "\u200b\u200d", "😀", "e\u0301 é", "مرحبا بالعالم", "שלום", "[SEP] zwei [CLS]"]
ODD += ["</s> two <s> <pad>", "Äpfel", " Anna hat Äpfel. ", "zwei " * 20_000, "x" * 100_000, "日本語" * 30]
ODD += ["Anna hat heute im Garten zwei rote Äpfel gekauft."]


@pytest.mark.slow
@needs_transformers_4
@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "XLM-R"])
@pytest.mark.parametrize("layer", [0, 2, 3])
def test_scores_are_those_of_bert_score(
    of_bert_score: Peer, sentences: list[str], encoders: dict[str, Path], family: str, layer: int
) -> None:
    hypotheses = [hypothesis for hypothesis in ODD for _ in sentences[:3]]
    references = [[reference] for _ in ODD for reference in (sentences[0], sentences[6], "")]
    ours = BertScore(str(encoders[family]), layer).score(batch(hypotheses, references))
    assert ours == pytest.approx(of_bert_score(encoders[family], layer, hypotheses, references), abs=1e-5)
    assert min(score for score in ours if score) < 0.9  # else the encoder tells nothing apart


@pytest.fixture(scope="module")
def grouped(sentences: list[str]) -> Grouped:
    """Draws groups of eight hypotheses, some of them alike, some the reference, some from other sentences."""

    def drawn(seed: int, groups: int = 6) -> tuple[list[str], list[list[str]]]:
        rng = random.Random(seed)
        words = " ".join(sentences).split()
        hypotheses, references = [], []
        for _ in range(groups):
            reference = " ".join(rng.choices(words, k=rng.randint(1, 25)))
            for member in range(8):
                kept = [word if rng.random() < 0.7 else rng.choice(words) for word in reference.split()]
                changed = rng.choice([" ".join(kept), " ".join(kept[::2]), reference])
                hypotheses.append(hypotheses[-1] if member == 7 else changed)
                references.append([reference])
        return hypotheses, references

    return drawn


@needs_transformers_4
@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "XLM-R"])
def test_groups_score_as_in_bert_score(
    of_bert_score: Peer, grouped: Grouped, encoders: dict[str, Path], family: str
) -> None:
    hypotheses, references = grouped(1)
    ours = BertScore(str(encoders[family]), 2).score(batch(hypotheses, references))
    assert ours == pytest.approx(of_bert_score(encoders[family], 2, hypotheses, references), abs=1e-5)


@pytest.fixture(scope="module")
def scorers(encoders: dict[str, Path]) -> dict[str, tuple[BertScore, Any]]:
    """Ours and bert-score's, loaded."""
    import bert_score

    return {
        family: (
            BertScore(str(folder), 2),
            bert_score.BERTScorer(str(folder), 2, device="cpu", use_fast_tokenizer=family == "XLM-R"),
        )
        for family, folder in encoders.items()
    }


LETTERS = " \t\n\u00a0\u200b\u2028\ufeffabXäßé\u0301\u0308.,!?'\"-–…„“()[]<>/09ёжשםرح\u064bहि日本語ガ한😀👩\u200d"


@needs_transformers_4
@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "XLM-R"])
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.text(LETTERS, max_size=20), st.text(LETTERS, max_size=20)), min_size=1, max_size=5))
def test_any_text_scores_as_in_bert_score(
    scorers: dict[str, tuple[BertScore, Any]], family: str, pairs: list[tuple[str, str]]
) -> None:
    ours, theirs = scorers[family]
    hypotheses, references = [one for one, _ in pairs], [[other] for _, other in pairs]
    expected = theirs.score(hypotheses, references)[2].tolist()
    assert ours.score(batch(hypotheses, references)) == pytest.approx(expected, abs=1e-5)


@needs_transformers_4
def test_the_best_of_several_references_counts(
    of_bert_score: Peer, sentences: list[str], encoders: dict[str, Path]
) -> None:
    hypotheses = ["Anna hat zwei Äpfel.", "The old man reads.", "", "Ja."]
    references = [[sentences[1], sentences[0]], [sentences[2]], [sentences[0], ""], ["", sentences[3], sentences[5]]]
    ours = BertScore(str(encoders["BERT"]), 2).score(batch(hypotheses, references))
    assert ours == pytest.approx(of_bert_score(encoders["BERT"], 2, hypotheses, references), abs=1e-5)
    alone = BertScore(str(encoders["BERT"]), 2).score(batch(hypotheses[:1], [[sentences[0]]]))
    assert ours[0] == pytest.approx(alone[0], abs=1e-6)


@needs_transformers_4
def test_rescaling_is_that_of_bert_score(
    of_bert_score: Peer, sentences: list[str], encoders: dict[str, Path], tmp_path: Path
) -> None:
    table = tmp_path / "baseline.csv"
    table.write_text("LAYER,P,R,F\n0,0.1,0.1,0.1\n1,0.2,0.2,0.2\n2,0.3,0.35,0.37\n")
    hypotheses, references = ["", *sentences[:3]], [[sentences[0]]] * 3 + [sentences[3:5]]
    settings = {"lang": "de", "rescale_with_baseline": True, "baseline_path": str(table)}
    theirs = of_bert_score(encoders["BERT"], 2, hypotheses, references, **settings)
    scorer = BertScore(str(encoders["BERT"]), 2, rescale=True, baseline=0.37)
    ours = scorer.score(batch(hypotheses, references))
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert ours[0] == pytest.approx(scorer.range[0]) and ours[1] == scorer.range[1] == 1.0


@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "XLM-R"])
def test_a_score_does_not_depend_on_earlier_calls(grouped: Grouped, encoders: dict[str, Path], family: str) -> None:
    used = BertScore(str(encoders[family]), 2)
    steps = [grouped(seed) for seed in (1, 2, 3)]
    steps.append((steps[0][0] + steps[1][0][:3], steps[0][1] + steps[1][1][:3]))  # known groups and a cut one together
    steps += [(steps[2][0][at : at + 8], steps[2][1][at : at + 8]) for at in range(0, 48, 8)]  # one group each
    steps.append(steps[0])
    for hypotheses, references in steps:
        fresh = BertScore(str(encoders[family]), 2)
        assert used.score(batch(hypotheses, references)) == fresh.score(batch(hypotheses, references))


@needs_transformers_4
def test_more_pairs_than_are_held_in_memory_at_once(
    of_bert_score: Peer, grouped: Grouped, encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechbench.rewards.bertscore_model._WINDOW", 10)
    hypotheses, references = grouped(4)
    ours = BertScore(str(encoders["BERT"]), 2).score(batch(hypotheses, references))
    assert ours == pytest.approx(of_bert_score(encoders["BERT"], 2, hypotheses, references), abs=1e-5)


@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "XLM-R"])
def test_the_reference_itself_scores_exactly_the_maximum(
    grouped: Grouped, sentences: list[str], encoders: dict[str, Path], family: str
) -> None:
    scorer = BertScore(str(encoders[family]), 2)
    texts = [*sentences, "Ja.", "😀 x", *(texts[0] for texts in grouped(7, 50)[1])]
    assert scorer.score(batch(texts, [["Nein.", f" {text}\n"] for text in texts])) == [scorer.maximum] * len(texts)


def test_what_does_not_apply_is_none_and_nothing_is_nothing(encoders: dict[str, Path]) -> None:
    scorer = BertScore(str(encoders["BERT"]), 2)
    assert scorer.score(batch([], [])) == []
    scores = scorer.score(batch(["Garten", "Garten", "  "], [[], ["Abend"], ["Abend"]]))
    assert scores[0] is None and scores[1] is not None and 0 < scores[1] < 1 and scores[2] == 0.0
    assert scorer.score(batch(["Garten"], [[]])) == [None]


class Of(Benchmark):
    """A benchmark of one target language."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self.name, self.target_language = "of", language

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return []


@pytest.fixture
def fetched(encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the hub, which has the same small encoder for any name."""
    names: list[str] = []

    def fetch(name: str, patterns: object, complete: Callable[[Path], bool]) -> Path:
        names.append(name)
        assert complete(encoders["BERT"]) and not complete(encoders["BERT"].parent)
        return encoders["BERT"]

    monkeypatch.setattr(module, "fetch", fetch)
    return names


def test_each_language_is_scored_by_its_own_encoder(fetched: list[str]) -> None:
    scorer = BertScore(layer=1)
    languages = ["de", "zh-CN", "en", "de", "tr"]
    scorer.score(Batch.of(["Ja."] * 5, [example("Nein.", language=language) for language in languages]))
    assert fetched == [
        "google-bert/bert-base-multilingual-cased",
        "google-bert/bert-base-chinese",
        "FacebookAI/roberta-large",
        "dbmdz/bert-base-turkish-cased",
    ]


def test_the_signature_names_what_scores_depend_on(fetched: list[str], encoders: dict[str, Path]) -> None:
    assert load_reward("bertscore").signature()["model"] == "by target language" and not fetched
    english, german = (load_reward("bertscore", Of(language)).signature() for language in ("en", "de"))
    assert (english["model"], english["layer"], english["baseline"]) == ("FacebookAI/roberta-large", 17, None)
    assert (german["model"], german["layer"]) == ("google-bert/bert-base-multilingual-cased", 9)
    rescaled = load_reward("bertscore(rescale=true)", Of("de")).signature()
    assert rescaled == {**german, "rescale": True, "baseline": 0.6147353}
    folder = encoders["BERT"]
    specs = ["layer=1", "layer=2", "layer=2, rescale=true, baseline=0.3", "layer=2, rescale=true, baseline=0.4"]
    found = [dict(load_reward(f"bertscore(model={folder}, {spec})", Of("de")).signature()) for spec in specs]
    assert all(one != other for n, one in enumerate(found) for other in found[:n])
    assert str(folder.parent) not in str(found) and found[0]["model"] == "BERT"


def test_other_weights_or_another_tokenizer_are_another_signature(encoders: dict[str, Path], tmp_path: Path) -> None:
    digests = {BertScore(str(encoders["BERT"]), 2).signature()["sha256"]}
    for number, name in enumerate(("model.safetensors", "tokenizer.json", "config.json")):
        folder = tmp_path / str(number) / "BERT"
        shutil.copytree(encoders["BERT"], folder)
        assert BertScore(str(folder), 2).signature()["sha256"] in digests
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        digests.add(BertScore(str(folder), 2).signature()["sha256"])
    assert len(digests) == 4


def test_an_encoder_that_lies_elsewhere_is_the_same_scorer(encoders: dict[str, Path], tmp_path: Path) -> None:
    elsewhere = shutil.copytree(encoders["BERT"], tmp_path / "BERT")
    one, other = (load_reward(f"bertscore(model={folder}, layer=2)") for folder in (encoders["BERT"], elsewhere))
    assert identity(one) == identity(other) and one.signature() == other.signature()


def test_display_and_range() -> None:
    assert BertScore().display == "BERTScore" and BertScore().range == (0.0, 1.0)
    assert BertScore("xlm-roberta-base", 8).display == "BERTScore[xlm-roberta-base, layer 8]"
    assert BertScore(rescale=True).display == "BERTScore[rescaled]" and BertScore(rescale=True).range[0] < -4.9
    assert BertScore(rescale=True, baseline=0.5).display == "BERTScore[baseline 0.5]"
    assert BertScore(rescale=True, baseline=0.5).range == (-1.0, 1.0)
    assert BertScore().languages == LANGUAGES and BertScore("xlm-roberta-base").languages == frozenset()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("bertscore(layer=-1)", "0 or more"),
        ("bertscore(layer=1.5)", "whole number"),
        ("bertscore(batch_size=0)", "1 or more"),
        ("bertscore(rescale=1)", "true or false"),
        ("bertscore(rescale=true, baseline=1)", "between 0 and 1"),
        ("bertscore(rescale=true, baseline=high)", "between 0 and 1"),
        ("bertscore(baseline=0.5)", "rescale=true"),
        ("bertscore(model=some/encoder)", "layer=9"),
    ],
)
def test_bad_parameters_are_refused(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_reward(spec)


def test_languages_without_a_default_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'qu'.*model=FacebookAI/xlm-roberta-large"):
        load_reward("bertscore", Of("qu"))
    with pytest.raises(UsageError, match="'mul'"):
        BertScore().score(Batch.of(["Ja."], [example("Ja.", language="mul")]))
    with pytest.raises(UsageError, match=r"baseline.*turkish.*layer 10.*'tr'.*baseline=0.83"):
        load_reward("bertscore(rescale=true)", Of("tr"))
    with pytest.raises(UsageError, match="layer 16"):
        load_reward("bertscore(layer=16, rescale=true)", Of("en"))


def test_a_folder_with_a_known_name_needs_no_layer(encoders: dict[str, Path], tmp_path: Path) -> None:
    folder = str(shutil.copytree(encoders["BERT"], tmp_path / "amazon-like"))
    with pytest.raises(UsageError, match="no layer is known"):
        BertScore(folder)
    assert BertScore(str(shutil.move(folder, tmp_path / "roberta-base"))).signature()["layer"] == 10


def test_an_encoder_that_is_nowhere_is_missing_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    def model_info(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    monkeypatch.setattr(hub, "_SECONDS", 1.0)
    with pytest.raises(MissingError, match="name a folder that has it"):
        load_reward("bertscore(model=nobody/no-such-encoder, layer=2)")


def test_importing_the_reward_loads_no_torch() -> None:
    code = (
        "import speechbench.rewards.bertscore, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
