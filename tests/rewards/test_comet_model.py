"""COMET's regression models, with and without reference: our scorer against unbabel-comet's."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from speechbench.benchmarks.base import Example
from speechbench.rewards.base import Batch
from speechbench.rewards.comet import TINY_FOLDER, Comet
from speechbench.rewards.comet_layers import sparsemax
from speechbench.rewards.comet_model import padded_batches
from speechbench.rewards.comet_tiny_data import Item, degrade, draw_item, meanings

CLASSES = {"regression_metric": "RegressionMetric", "referenceless_regression_metric": "ReferencelessRegression"}
TINY = Comet("tiny")


def held_out(count: int, seed: int = 7) -> tuple[list[Item], list[str]]:
    """Items of the held-out meanings, each with a degraded hypothesis."""
    rng = random.Random(seed)
    items = [draw_item(rng.choice(meanings("held out")), rng) for _ in range(count)]
    return items, [degrade(item, rng)[1] for item in items]


def texts(items: list[Item]) -> tuple[list[str], list[str]]:
    return [item.source for item in items], [item.reference for item in items]


@pytest.fixture(scope="module")
def unbabel() -> ModuleType:
    return pytest.importorskip("comet.models")


def of_unbabel(
    unbabel: ModuleType, folder: Path, items: list[Item], hypotheses: list[str], kind: str = "regression_metric"
) -> list[float]:
    model = getattr(unbabel, CLASSES[kind]).load_from_checkpoint(
        folder / "checkpoints" / "model.ckpt",
        map_location="cpu",
        pretrained_model=str(folder / "encoder"),
        load_pretrained_weights=False,
        local_files_only=True,
        strict=True,
    )
    rows = [{"src": i.source, "mt": h, "ref": i.reference} for i, h in zip(items, hypotheses, strict=True)]
    if kind != "regression_metric":
        rows = [{"src": row["src"], "mt": row["mt"]} for row in rows]
    return list(model.float().predict(rows, batch_size=16, gpus=0, progress_bar=False)["scores"])


@pytest.mark.parametrize("batch_size", [5, 64])
def test_the_embedded_checkpoint_scores_as_in_unbabel_comet(unbabel: ModuleType, batch_size: int) -> None:
    items, hypotheses = held_out(40)
    hypotheses[:3] = ["[PAD] zwei [PAD]", "", "zwei " * 200]
    sources, references = texts(items)
    ours = Comet("tiny", batch_size).score_texts(sources, hypotheses, references)
    assert ours == pytest.approx(of_unbabel(unbabel, TINY_FOLDER, items, hypotheses), abs=1e-5)


def write_encoder_of(family: str, folder: Path) -> None:
    """A small encoder of another family, with a tokenizer of single characters."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    kind = {"XLM-RoBERTa": "XLMRoberta", "XLM-RoBERTa-XL": "XLMRobertaXL", "RemBERT": "RemBert"}[family]
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    if family == "RemBERT":
        special = ["[CLS]", "<pad>", "[SEP]", "<unk>", "[MASK]"]
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäöüßÄÖÜ.[]"
    tokenizer = Tokenizer(models.Unigram([(piece, 0.0) for piece in special] + [(c, -3.0) for c in letters], 3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special[0]} $A {special[2]}", special_tokens=[(special[0], 0), (special[2], 2)]
    )
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
    roles = dict(zip(names, special, strict=True))
    of_tokenizer = "RemBert" if family == "RemBERT" else "XLMRoberta"
    getattr(transformers, f"{of_tokenizer}TokenizerFast")(
        tokenizer_file=str(folder / "tokenizer.json"), **roles
    ).save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    getattr(transformers, f"{kind}Config")(
        **sizes, vocab_size=len(special) + len(letters), max_position_embeddings=140, pad_token_id=1
    ).save_pretrained(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"encoder_model": "XLM-RoBERTa"},
        {"encoder_model": "XLM-RoBERTa-XL", "pool": "default"},
        {"encoder_model": "RemBERT"},
        {"layer_transformation": "sparsemax", "layer_norm": True, "dropout": 0.1},
        {"layer_transformation": "softmax", "layer_norm": True, "pool": "max", "hidden_sizes": [24]},
        {"layer": 1, "pool": "cls", "final_activation": "Sigmoid", "hidden_sizes": [24, 12, 6]},
        {"class_identifier": "referenceless_regression_metric"},
        {"class_identifier": "referenceless_regression_metric", "encoder_model": "XLM-RoBERTa", "hidden_sizes": None},
    ],
    ids=["XLM-R", "XLM-R-XL", "RemBERT", "sparsemax", "max", "one layer", "no reference", "no reference, XLM-R"],
)
def test_random_checkpoints_of_unbabel_comet_score_alike(
    unbabel: ModuleType, tmp_path: Path, settings: dict[str, Any]
) -> None:
    settings = {"encoder_model": "BERT", "hidden_sizes": [32, 16], **settings}
    family, kind = settings["encoder_model"], settings.pop("class_identifier", "regression_metric")
    if settings["hidden_sizes"] is None:
        del settings["hidden_sizes"]  # the class's own
    if family == "BERT":
        shutil.copytree(TINY_FOLDER / "encoder", tmp_path / "encoder")
    else:
        write_encoder_of(family, tmp_path / "encoder")
    torch.manual_seed(3)
    model = getattr(unbabel, CLASSES[kind])(
        pretrained_model=str(tmp_path / "encoder"),
        load_pretrained_weights=False,
        local_files_only=True,
        **settings,
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("layerwise_attention"):
                weight.uniform_(0.5, 1.5)
    (tmp_path / "checkpoints").mkdir()
    hparams = {key: value for key, value in model.hparams.items() if key in settings or key == "pretrained_model"}
    content = {"state_dict": model.state_dict(), "hyper_parameters": hparams}
    torch.save({**content, "pytorch-lightning_version": "2.0.0"}, tmp_path / "checkpoints" / "model.ckpt")
    (tmp_path / "hparams.yaml").write_text(f"class_identifier: {kind}\n")
    items, hypotheses = held_out(20)
    hypotheses[0] = "zwei " * 200  # longer than the encoder takes
    sources, references = texts(items)
    ours = Comet(str(tmp_path)).score_texts(sources, hypotheses, references)
    assert ours == pytest.approx(of_unbabel(unbabel, tmp_path, items, hypotheses, kind), abs=1e-5)
    assert len(set(ours)) > 10


def test_sparsemax_is_the_projection_onto_the_simplex() -> None:
    assert sparsemax(torch.tensor([2.0, 0.5, -1.0])).tolist() == [1.0, 0.0, 0.0]
    logits = torch.tensor([0.3, 0.1, -0.2, -2.0], dtype=torch.float64)
    found = sparsemax(logits)
    corners = torch.rand(2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    others = corners / corners.sum(1, keepdim=True)
    assert found.sum().item() == pytest.approx(1.0)
    assert found.min() >= 0
    assert ((others - logits).square().sum(1) >= (found - logits).square().sum() - 1e-12).all()


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_score_does_not_depend_on_what_else_is_scored() -> None:
    items, hypotheses = held_out(30)
    hypotheses[:4] = ["", "zwei " * 200, "zwei", "drei"]
    sources, references = texts(items)
    together = TINY.score_texts(sources, hypotheses, references)
    rows = list(zip(sources, hypotheses, references, strict=True))
    # To the last bit, so that scores which were kept and scores which are made again are the same.
    assert [TINY.score_texts([s], [h], [r])[0] for s, h, r in rows] == together
    some = rows[3::4]
    assert TINY.score_texts(*map(list, zip(*some, strict=True))) == together[3::4]
    assert Comet("tiny", 7).score_texts(sources, hypotheses, references) == together


def test_texts_are_padded_by_their_own_length_alone() -> None:
    tokens = [[5] * length for length in (2, 3, 4, 5, 8, 8, 8, 9)]
    batches = [(ids.tolist(), mask.tolist()) for ids, mask in padded_batches(tokens, 2, 0, torch.device("cpu"))]
    assert [(len(ids), len(ids[0])) for ids, _ in batches] == [(2, 4), (1, 4), (2, 8), (2, 8), (1, 12)]
    assert batches[0] == ([[5, 5, 0, 0], [5, 5, 5, 0]], [[1, 1, 0, 0], [1, 1, 1, 0]])
    long = list(padded_batches([[5] * 5000] * 3, 3, 0, torch.device("cpu")))
    assert [ids.shape for ids, _ in long] == [(1, 5000)] * 3
    assert [len(row) - row.count(0) for ids, _ in batches for row in ids] == [len(text) for text in tokens]


def test_source_and_reference_are_encoded_once_per_group(monkeypatch: pytest.MonkeyPatch) -> None:
    reward = Comet("tiny")
    model = reward._scorer.model
    encoded: list[int] = []
    embed = model.embed

    def counting(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        encoded.append(len(ids))
        return embed(ids, mask)

    monkeypatch.setattr(model, "embed", counting)
    shared = Example("e", None, "", ("zwei Äpfel im Garten",), "two apples in the garden", "en", "de")
    reward.score(Batch.of([f"{word} Äpfel" for word in ("zwei", "drei", "vier", "fünf")], [shared] * 4))
    assert sum(encoded) == 4 + 2
    encoded.clear()
    reward.batch_size = 3
    reward.score(Batch.of([f"{word} Birnen" for word in ("zwei", "drei", "vier", "fünf")], [shared] * 4))
    assert max(encoded) == 3
