"""The reward `bertscore`: our scorer against bert-score's on small encoders of many families, and its defaults."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from speechbench import hub
from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.rewards import bertscore as module
from speechbench.rewards import load_reward
from speechbench.rewards.base import Batch
from speechbench.rewards.bertscore import BertScore
from speechbench.rewards.bertscore_defaults import KNOWN, LANGUAGES, baseline_of, default_model, layer_of
from speechbench.rewards.bertscore_model import Matcher, Vectors, f_scores, load
from speechbench.rewards.encoding import batches_by_length
from speechbench.rewards.loading import identity

CORPUS = [
    "Anna hat heute im Garten zwei rote Äpfel gekauft.",
    "Der alte Mann liest am Abend gerne eine lange Zeitung.",
    "The old man reads a long newspaper in the evening.",
    "She bought two red apples in the garden today!",
    "שלום עולם, מה שלומך היום?",
    "مرحبا بالعالم كيف حالك اليوم",
    "日本語の文章です。",
    "Straße, Café, naïve, ﬁne 😀 👩‍👩‍👧 e\u0301",
]
needs_transformers_4 = pytest.mark.skipif(
    not transformers.__version__.startswith("4."),
    reason="under transformers 5, bert-score 0.3.13 crashes on empty strings and splits some texts otherwise",
)
LENGTH = 128  # tokens that the encoders take
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}


def write_tokenizer(family: str, folder: Path) -> Any:
    """A tokenizer of the family, trained on the corpus."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer: Any
    if family == "BERT":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
        made = transformers.BertTokenizerFast
    elif family == "RoBERTa":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
        made = transformers.RobertaTokenizerFast
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        )
        trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
        made = transformers.XLMRobertaTokenizerFast
    tokenizer.train_from_iterator(CORPUS, trainer)
    first, last = (special[2], special[3]) if family == "BERT" else (special[0], special[2])
    ids = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ids)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    options: dict[str, Any] = {"do_lower_case": False} if family == "BERT" else {}
    if family != "BERT":
        options |= dict(bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>", pad_token="<pad>")
    ready = made(tokenizer_file=str(folder / "tokenizer.json"), model_max_length=LENGTH, **options)
    ready.save_pretrained(folder)
    return ready


def write_encoder(kind: str, folder: Path, tokenizer: Any, seed: int = 3, **settings: Any) -> Path:
    """A random encoder beside its tokenizer."""
    torch.manual_seed(seed)
    roles = {"pad_token_id": tokenizer.pad_token_id, "vocab_size": len(tokenizer)}
    config = getattr(transformers, f"{kind}Config")(**roles, **settings)
    model = getattr(transformers, f"{kind}Model")(config)
    with torch.no_grad():  # vectors that differ as those of a trained encoder do
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, 0.5 if "embedding" in name else 0.15)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    kinds = {"BERT": ("Bert", LENGTH), "RoBERTa": ("Roberta", LENGTH + 2), "XLM-R": ("XLMRoberta", LENGTH + 2)}
    return {
        family: write_encoder(
            kind, root / family, write_tokenizer(family, root / family), max_position_embeddings=positions, **SIZES
        )
        for family, (kind, positions) in kinds.items()
    }


def example(*references: str, language: str = "de") -> Example:
    return Example("e", None, "", references, None, "en", language)


def batch(hypotheses: list[str], references: list[list[str]]) -> Batch:
    return Batch.of(hypotheses, [example(*texts) for texts in references])


def of_bert_score(
    folder: Path, layer: int, hypotheses: list[str], references: list[list[str]], **settings: Any
) -> list[float]:
    import bert_score

    settings["use_fast_tokenizer"] = folder.name == "XLM-R"  # of which a slow one would need sentencepiece's model
    scores = bert_score.score(
        hypotheses, references, model_type=str(folder), num_layers=layer, device="cpu", batch_size=64, **settings
    )
    return [float(score) for score in scores[2]]


ODD = [
    "",
    "   \t\n",
    "\u200b\u200d",
    "😀",
    "e\u0301 é",
    "مرحبا بالعالم",
    "שלום",
    "[SEP] zwei [CLS]",
    "</s> two <s> <pad>",
    "Äpfel",
    " Anna hat Äpfel. ",
    "zwei " * 20_000,
    "x" * 100_000,
    "日本語" * 30,
    "Anna hat heute im Garten zwei rote Äpfel gekauft.",
]


@needs_transformers_4
@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "XLM-R"])
@pytest.mark.parametrize("layer", [0, 2, 3])
def test_scores_are_those_of_bert_score(encoders: dict[str, Path], family: str, layer: int) -> None:
    hypotheses = [hypothesis for hypothesis in ODD for _ in CORPUS[:3]]
    references = [[reference] for _ in ODD for reference in (CORPUS[0], CORPUS[6], "")]
    ours = BertScore(str(encoders[family]), layer).score(batch(hypotheses, references))
    assert ours == pytest.approx(of_bert_score(encoders[family], layer, hypotheses, references), abs=1e-5)
    assert min(score for score in ours if score) < 0.9  # else the encoder tells nothing apart


def grouped(seed: int, groups: int = 6) -> tuple[list[str], list[list[str]]]:
    """Groups of eight hypotheses, some of them alike, some the reference, some from other sentences."""
    rng = random.Random(seed)
    words = " ".join(CORPUS).split()
    hypotheses, references = [], []
    for _ in range(groups):
        reference = " ".join(rng.choices(words, k=rng.randint(1, 25)))
        for member in range(8):
            kept = [word if rng.random() < 0.7 else rng.choice(words) for word in reference.split()]
            changed = rng.choice([" ".join(kept), " ".join(kept[::2]), reference])
            hypotheses.append(hypotheses[-1] if member == 7 else changed)
            references.append([reference])
    return hypotheses, references


@needs_transformers_4
@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "XLM-R"])
def test_groups_score_as_in_bert_score(encoders: dict[str, Path], family: str) -> None:
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


@given(st.integers(0, 10**6))
def test_f_is_that_of_the_paper(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def drawn() -> Vectors:
        tokens = int(torch.randint(1, 6, (1,), generator=generator))
        directions = torch.randn(tokens, 3, generator=generator)
        weights = (torch.rand(tokens, generator=generator) < 0.8).float()
        return Vectors(directions / directions.norm(dim=1, keepdim=True), weights)

    def mean_of_best(one: Vectors, other: Vectors) -> float:
        best = [max(0.0, max(float(a @ b) for b in other.directions)) for a in one.directions]
        total = sum(one.weights.tolist())
        return sum(w * b for w, b in zip(one.weights.tolist(), best, strict=True)) / total if total else 0.0

    reference, hypotheses = drawn(), [drawn() for _ in range(4)]
    for hypothesis, found in zip(hypotheses, f_scores(reference, hypotheses).tolist(), strict=True):
        precision, recall = mean_of_best(hypothesis, reference), mean_of_best(reference, hypothesis)
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        assert found == pytest.approx(expected, abs=1e-6)


@needs_transformers_4
def test_the_best_of_several_references_counts(encoders: dict[str, Path]) -> None:
    hypotheses = ["Anna hat zwei Äpfel.", "The old man reads.", "", "Ja."]
    references = [[CORPUS[1], CORPUS[0]], [CORPUS[2]], [CORPUS[0], ""], ["", CORPUS[3], CORPUS[5]]]
    ours = BertScore(str(encoders["BERT"]), 2).score(batch(hypotheses, references))
    assert ours == pytest.approx(of_bert_score(encoders["BERT"], 2, hypotheses, references), abs=1e-5)
    assert ours[0] == BertScore(str(encoders["BERT"]), 2).score(batch(hypotheses[:1], [[CORPUS[0]]]))[0]


@needs_transformers_4
def test_rescaling_is_that_of_bert_score(encoders: dict[str, Path], tmp_path: Path) -> None:
    table = tmp_path / "baseline.csv"
    table.write_text("LAYER,P,R,F\n0,0.1,0.1,0.1\n1,0.2,0.2,0.2\n2,0.3,0.35,0.37\n")
    hypotheses, references = ["", *CORPUS[:3]], [[CORPUS[0]], [CORPUS[0]], [CORPUS[0]], [CORPUS[3], CORPUS[4]]]
    settings = {"lang": "de", "rescale_with_baseline": True, "baseline_path": str(table)}
    theirs = of_bert_score(encoders["BERT"], 2, hypotheses, references, **settings)
    scorer = BertScore(str(encoders["BERT"]), 2, rescale=True, baseline=0.37)
    ours = scorer.score(batch(hypotheses, references))
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert ours[0] == pytest.approx(scorer.range[0]) and ours[1] == scorer.range[1] == 1.0


FAMILIES: dict[str, dict[str, Any]] = {
    "Albert": {**SIZES, "embedding_size": 16},
    "Electra": {**SIZES, "embedding_size": 16},
    "MPNet": {**SIZES, "max_position_embeddings": LENGTH + 2},
    "DebertaV2": {**SIZES, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "DistilBert": {"dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 48},
    "XLM": {"emb_dim": 32, "n_layers": 3, "n_heads": 2},
    "T5": {"d_model": 32, "num_layers": 3, "num_heads": 2, "d_ff": 48, "d_kv": 16},
    "Bart": {"d_model": 32, "encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 2}
    | {"decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_layers_of_other_families_are_cut_as_in_bert_score(
    encoders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / f"a-{kind.lower()}"  # bert-score takes for T5 what is called t5
    shutil.copytree(encoders["BERT"], folder, ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    write_encoder(kind, folder, tokenizer, **FAMILIES[kind])
    texts = CORPUS[:7]  # transformers 5 splits the last one otherwise than bert-score's default
    references = [[text] for text in texts]
    ours = BertScore(str(folder), 2).score(batch(texts[::-1], references))
    assert ours == pytest.approx(of_bert_score(folder, 2, texts[::-1], references), abs=1e-5)
    assert ours != pytest.approx(BertScore(str(folder), 3).score(batch(texts[::-1], references)), abs=1e-4)


def test_texts_are_cut_where_the_tokenizer_names_no_limit(encoders: dict[str, Path], tmp_path: Path) -> None:
    references = [["zwei " * 500, "drei"]]
    for family in ("BERT", "RoBERTa"):
        folder = tmp_path / family
        shutil.copytree(encoders[family], folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        tokenizer.model_max_length = int(1e30)
        tokenizer.save_pretrained(folder)
        with_limit = BertScore(str(encoders[family]), 2).score(batch(["zwei " * 300], references))
        assert BertScore(str(folder), 2).score(batch(["zwei " * 300], references)) == with_limit


@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "XLM-R"])
def test_a_score_does_not_depend_on_earlier_calls(encoders: dict[str, Path], family: str) -> None:
    used = BertScore(str(encoders[family]), 2)
    steps = [grouped(seed) for seed in (1, 2, 3)]
    steps.append((steps[0][0] + steps[1][0][:3], steps[0][1] + steps[1][1][:3]))  # known groups and a cut one together
    steps += [(steps[2][0][at : at + 8], steps[2][1][at : at + 8]) for at in range(0, 48, 8)]  # one group each
    steps.append(steps[0])
    for hypotheses, references in steps:
        fresh = BertScore(str(encoders[family]), 2)
        assert used.score(batch(hypotheses, references)) == fresh.score(batch(hypotheses, references))


def test_a_references_vectors_are_the_same_to_the_bit_wherever_it_is_scored(encoders: dict[str, Path]) -> None:
    matcher = load(encoders["BERT"], 2)
    matcher.f_scores(["Ja."] * 16, [*CORPUS, *CORPUS], 64)
    for text in CORPUS:
        alone = load(encoders["BERT"], 2)
        alone.f_scores(["Ja.", "Nein."], [text, text], 64)
        assert torch.equal(alone._kept[text].directions, matcher._kept[text].directions)


def count_forwards(matcher: Matcher) -> list[tuple[int, ...]]:
    """The shapes of what the encoder is given from here on."""
    shapes: list[tuple[int, ...]] = []
    matcher.model.register_forward_pre_hook(
        lambda _, __, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    return shapes


def test_a_reference_is_encoded_once_and_kept_while_there_is_room(encoders: dict[str, Path]) -> None:
    hypotheses, references = [f"{text} Ja." for text in CORPUS], CORPUS[:1] * 4 + CORPUS[1:2] * 4
    matcher = load(encoders["BERT"], 2)
    shapes = count_forwards(matcher)
    first = matcher.f_scores(hypotheses, references, 64)
    assert sorted(rows for rows, _ in shapes)[:2] == [1, 1] and sum(rows for rows, _ in shapes) == 8 + 2
    shapes.clear()
    assert matcher.f_scores(hypotheses, references, 64) == first
    assert sum(rows for rows, _ in shapes) == 8

    small = load(encoders["BERT"], 2)
    needed = sum(part.nbytes for part in matcher._kept[CORPUS[0]])
    small.room = needed  # for the first reference, no more
    assert [small.f_scores(hypotheses, references, 64) for _ in range(2)] == [first, first]
    assert list(small._kept) == CORPUS[:1] and small.room == 0


@needs_transformers_4
def test_more_pairs_than_are_held_in_memory_at_once(encoders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speechbench.rewards.bertscore_model._WINDOW", 10)
    hypotheses, references = grouped(4)
    ours = BertScore(str(encoders["BERT"]), 2).score(batch(hypotheses, references))
    assert ours == pytest.approx(of_bert_score(encoders["BERT"], 2, hypotheses, references), abs=1e-5)


def test_batch_size_is_the_most_texts_in_a_forward(encoders: dict[str, Path]) -> None:
    scorer = BertScore(str(encoders["BERT"]), 2, batch_size=3)
    shapes = count_forwards(scorer._choice("de").encoder.matcher)
    scorer.score(batch(CORPUS[:7], [[CORPUS[7]]] * 7))
    assert max(rows for rows, _ in shapes) == 3


def test_batches_hold_each_text_once_and_pad_no_full_one() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(2, 60) for _ in range(500)]
    batches = list(batches_by_length(lengths, size=32, full=256))
    assert sorted(number for numbers in batches for number in numbers) == list(range(500))
    assert max(map(len, batches)) <= 32
    for numbers in batches:
        longest = max(lengths[number] for number in numbers)
        shorter = [number for number in numbers if lengths[number] < longest]
        assert len(shorter) * max((lengths[number] for number in shorter), default=0) < 256
    assert list(batches_by_length([], 32, 256)) == []


def test_an_empty_text_of_a_tokenizer_without_special_tokens_scores_nothing(
    encoders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(encoders["BERT"], folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.Sequence([])
    tokenizer.save(str(folder / "tokenizer.json"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        model_max_length=LENGTH,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)
    scorer = BertScore(str(folder), 2)
    assert scorer.score(batch(["", "", CORPUS[0]], [[""], [CORPUS[0]], ["  "]])) == [0.0] * 3
    theirs = of_bert_score(folder, 2, CORPUS[:2], [[CORPUS[2]], [CORPUS[3]]])
    assert scorer.score(batch(CORPUS[:2], [[CORPUS[2]], [CORPUS[3]]])) == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("family", ["BERT", "RoBERTa", "XLM-R"])
def test_the_reference_itself_scores_exactly_the_maximum(encoders: dict[str, Path], family: str) -> None:
    scorer = BertScore(str(encoders[family]), 2)
    texts = [*CORPUS, "Ja.", "😀 x", *(texts[0] for texts in grouped(7, 50)[1])]
    assert scorer.score(batch(texts, [["Nein.", f" {text}\n"] for text in texts])) == [scorer.maximum] * len(texts)


def test_what_does_not_apply_is_none_and_nothing_is_nothing(encoders: dict[str, Path]) -> None:
    scorer = BertScore(str(encoders["BERT"]), 2)
    assert scorer.score(batch([], [])) == []
    scores = scorer.score(batch(["Garten", "Garten", "  "], [[], ["Abend"], ["Abend"]]))
    assert scores[0] is None and scores[1] is not None and 0 < scores[1] < 1 and scores[2] == 0.0
    assert scorer.score(batch(["Garten"], [[]])) == [None]


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


def broken(encoders: dict[str, Path], folder: Path, change: Callable[[Path], object]) -> str:
    shutil.copytree(encoders["BERT"], folder)
    change(folder)
    return str(folder)


def without_a_layer(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({name: w for name, w in weights.items() if "layer.0" not in name}, folder / "model.safetensors")


def as_audio_model(folder: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes)).save_pretrained(folder)


def as_image_and_text_model(folder: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.CLIPModel(transformers.CLIPConfig(text_config=sizes, vision_config=sizes)).save_pretrained(folder)


def without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)


def without_padding(folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "config.json").write_text("{}"), "no text encoder"),
        (lambda folder: (folder / "config.json").write_text("no JSON"), "no text encoder"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"nothing"), "no text encoder"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no text encoder"),
        (without_tokenizer, "no text encoder"),
        (without_a_layer, "lack 16 of the encoder's, such as encoder.layer.0"),
        (as_audio_model, "no text encoder"),
        (as_image_and_text_model, "no layers to choose from"),
        (without_padding, "no padding token"),
    ],
)
def test_folders_of_something_else_are_refused(
    encoders: dict[str, Path], tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    folder = broken(encoders, tmp_path / "folder", change)
    with pytest.raises(SpeechbenchError, match=said) as caught:
        BertScore(folder, 2).score(batch(["Ja."], [["Nein."]]))
    assert (folder in str(caught.value) or "clip" in str(caught.value)) and "\n" not in str(caught.value)


def test_a_layer_that_is_not_there_and_a_folder_without_weights(encoders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"layer=4.*3 layers"):
        BertScore(str(encoders["BERT"]), 4).score(batch(["Ja."], [["Nein."]]))
    with pytest.raises(SpeechbenchError, match="no weights"):
        load_reward(f"bertscore(model={tmp_path}, layer=2)")


def test_a_folder_with_a_known_name_needs_no_layer(encoders: dict[str, Path], tmp_path: Path) -> None:
    folder = broken(encoders, tmp_path / "amazon-like", lambda _: None)
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
