"""Token vectors of encoders of many families, their matching, and folders of something else."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors

from speechbench.benchmarks.base import Example
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.rewards import load_reward
from speechbench.rewards.base import Batch
from speechbench.rewards.bertscore import BertScore
from speechbench.rewards.bertscore_model import Matcher, Vectors, f_scores, load

Peer = Callable[..., list[float]]  # bert-score's scores
LENGTH = 128  # tokens that the encoders take
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}


def batch(hypotheses: list[str], references: list[list[str]]) -> Batch:
    return Batch.of(hypotheses, [Example("e", None, "", tuple(texts), None, "en", "de") for texts in references])


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
    of_bert_score: Peer,
    sentences: list[str],
    write_encoder: Callable[..., Path],
    encoders: dict[str, Path],
    tmp_path: Path,
    kind: str,
) -> None:
    folder = tmp_path / f"a-{kind.lower()}"  # bert-score takes for T5 what is called t5
    shutil.copytree(encoders["BERT"], folder, ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    write_encoder(kind, folder, tokenizer, **FAMILIES[kind])
    texts = sentences[:7]  # transformers 5 splits the last one otherwise than bert-score's default
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
        tokenizer.model_max_length = int(
            1e9
        )  # 1e30, which stands for none, bert-score cannot pass on to transformers 5
        tokenizer.save_pretrained(folder)
        with_limit = BertScore(str(encoders[family]), 2).score(batch(["zwei " * 300], references))
        assert BertScore(str(folder), 2).score(batch(["zwei " * 300], references)) == with_limit


ENDLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("T5", FAMILIES["T5"]),
    "encoder-of-t5": ("T5Encoder", FAMILIES["T5"]),
    "deberta": ("DebertaV2", {**FAMILIES["DebertaV2"], "position_biased_input": False}),
    "xlnet": ("XLNet", {"d_model": 32, "n_layer": 3, "n_head": 2, "d_inner": 48}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDLESS)
def test_texts_are_not_cut_where_positions_have_no_end(
    of_bert_score: Peer, write_encoder: Callable[..., Path], encoders: dict[str, Path], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    kind, sizes = ENDLESS[name]
    shutil.copytree(encoders["BERT"], folder, ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = int(1e9)  # 1e30, which stands for none, bert-score cannot pass on to transformers 5
    tokenizer.save_pretrained(folder)
    write_encoder(kind, folder, tokenizer, **sizes)
    hypotheses, references = ["zwei rote " * 150, "drei"], [["zwei " * 650 + "drei"], ["drei " * 600]]
    ours = BertScore(str(folder), 2).score(batch(hypotheses, references))
    assert ours == pytest.approx(of_bert_score(folder, 2, hypotheses, references), abs=1e-5)


def test_a_references_vectors_are_the_same_to_the_bit_wherever_it_is_scored(
    sentences: list[str], encoders: dict[str, Path]
) -> None:
    matcher = load(encoders["BERT"], 2)
    matcher.f_scores(["Ja."] * 16, [*sentences, *sentences], 64)
    for text in sentences:
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


def test_a_reference_is_encoded_once_and_kept_while_there_is_room(
    sentences: list[str], encoders: dict[str, Path]
) -> None:
    hypotheses, references = [f"{text} Ja." for text in sentences], sentences[:1] * 4 + sentences[1:2] * 4
    matcher = load(encoders["BERT"], 2)
    shapes = count_forwards(matcher)
    first = matcher.f_scores(hypotheses, references, 64)
    assert sorted(rows for rows, _ in shapes)[:2] == [1, 1] and sum(rows for rows, _ in shapes) == 8 + 2
    shapes.clear()
    assert matcher.f_scores(hypotheses, references, 64) == first
    assert sum(rows for rows, _ in shapes) == 8

    small = load(encoders["BERT"], 2)
    needed = sum(part.nbytes for part in matcher._kept[sentences[0]])
    small.room = needed  # for the first reference, no more
    assert [small.f_scores(hypotheses, references, 64) for _ in range(2)] == [first, first]
    assert list(small._kept) == sentences[:1] and small.room == 0


def test_batch_size_is_the_most_texts_in_a_forward(sentences: list[str], encoders: dict[str, Path]) -> None:
    scorer = BertScore(str(encoders["BERT"]), 2, batch_size=3)
    shapes = count_forwards(scorer._choice("de").encoder.matcher)
    scorer.score(batch(sentences[:7], [[sentences[7]]] * 7))
    assert max(rows for rows, _ in shapes) == 3


def test_an_empty_text_of_a_tokenizer_without_special_tokens_scores_nothing(
    of_bert_score: Peer, sentences: list[str], encoders: dict[str, Path], tmp_path: Path
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
    assert scorer.score(batch(["", "", sentences[0]], [[""], [sentences[0]], ["  "]])) == [0.0] * 3
    theirs = of_bert_score(folder, 2, sentences[:2], [[sentences[2]], [sentences[3]]])
    assert scorer.score(batch(sentences[:2], [[sentences[2]], [sentences[3]]])) == pytest.approx(theirs, abs=1e-5)


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
