"""The reward `comet`: our scorer against unbabel-comet's, strict loading, and what comet[tiny] is worth."""

import random
import shutil
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from speechbench import hub
from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.rewards.base import Batch
from speechbench.rewards.comet import TINY_FOLDER, Comet
from speechbench.rewards.comet_model import sparsemax
from speechbench.rewards.comet_tiny_build import measure, save, train, write_encoder
from speechbench.rewards.comet_tiny_data import Item, degrade, draw_item, meanings, worth

Rewrite = Callable[[dict[str, Any]], object]
TINY = Comet("tiny")


def held_out(count: int, seed: int = 7) -> tuple[list[Item], list[str]]:
    """Items of the held-out meanings, each with a degraded hypothesis."""
    rng = random.Random(seed)
    items = [draw_item(rng.choice(meanings("held out")), rng) for _ in range(count)]
    return items, [degrade(item, rng)[1] for item in items]


def texts(items: list[Item]) -> tuple[list[str], list[str]]:
    return [item.source for item in items], [item.reference for item in items]


def rewritten(folder: Path, change: Rewrite) -> str:
    """A copy of the embedded checkpoint with other contents."""
    shutil.copytree(TINY_FOLDER, folder)
    file = folder / "checkpoints" / "model.ckpt"
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)
    return str(folder)


def example(source: str | None, reference: str = "Anna hat heute im Garten zwei rote Äpfel gekauft.") -> Example:
    return Example("e", None, "", (reference,), source, "en", "de")


@pytest.fixture(scope="module")
def unbabel() -> ModuleType:
    return pytest.importorskip("comet.models")


def of_unbabel(unbabel: ModuleType, folder: Path, items: list[Item], hypotheses: list[str]) -> list[float]:
    model = unbabel.RegressionMetric.load_from_checkpoint(
        folder / "checkpoints" / "model.ckpt",
        map_location="cpu",
        pretrained_model=str(folder / "encoder"),
        load_pretrained_weights=False,
        local_files_only=True,
        strict=True,
    )
    rows = [{"src": i.source, "mt": h, "ref": i.reference} for i, h in zip(items, hypotheses, strict=True)]
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
    ],
    ids=["XLM-R", "XLM-R-XL", "RemBERT", "sparsemax", "max", "one layer"],
)
def test_random_checkpoints_of_unbabel_comet_score_alike(
    unbabel: ModuleType, tmp_path: Path, settings: dict[str, Any]
) -> None:
    family = settings.get("encoder_model", "BERT")
    if family == "BERT":
        shutil.copytree(TINY_FOLDER / "encoder", tmp_path / "encoder")
    else:
        write_encoder_of(family, tmp_path / "encoder")
    torch.manual_seed(3)
    model = unbabel.RegressionMetric(
        pretrained_model=str(tmp_path / "encoder"),
        load_pretrained_weights=False,
        local_files_only=True,
        **{"encoder_model": "BERT", "hidden_sizes": [32, 16], **settings},
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("layerwise_attention"):
                weight.uniform_(0.5, 1.5)
    (tmp_path / "checkpoints").mkdir()
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    torch.save({**content, "pytorch-lightning_version": "2.0.0"}, tmp_path / "checkpoints" / "model.ckpt")
    (tmp_path / "hparams.yaml").write_text("class_identifier: regression_metric\n")
    items, hypotheses = held_out(20)
    hypotheses[0] = "zwei " * 200  # longer than the encoder takes
    sources, references = texts(items)
    ours = Comet(str(tmp_path)).score_texts(sources, hypotheses, references)
    assert ours == pytest.approx(of_unbabel(unbabel, tmp_path, items, hypotheses), abs=1e-5)
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


def test_a_score_does_not_depend_on_what_else_is_scored() -> None:
    items, hypotheses = held_out(30)
    sources, references = texts(items)
    together = Comet("tiny", 7).score_texts(sources, hypotheses, references)
    alone = [TINY.score_texts([s], [h], [r])[0] for s, h, r in zip(sources, hypotheses, references, strict=True)]
    assert together == pytest.approx(alone, abs=1e-5)
    assert together == Comet("tiny", 7).score_texts(sources, hypotheses, references)


def test_source_and_reference_are_encoded_once_per_group(monkeypatch: pytest.MonkeyPatch) -> None:
    reward = Comet("tiny")
    model = reward._scorer.model
    encoded: list[int] = []
    embed = model.embed

    def counting(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        encoded.append(len(ids))
        return embed(ids, mask)

    monkeypatch.setattr(model, "embed", counting)
    shared = example("Anna bought two red apples in the garden today.")
    reward.score(Batch.of([f"{word} Äpfel" for word in ("zwei", "drei", "vier", "fünf")], [shared] * 4))
    assert sum(encoded) == 4 + 2


def test_no_source_no_score() -> None:
    examples = [example(None), example("Anna bought two red apples in the garden today.")]
    nothing, something = TINY.score(Batch.of([examples[0].references[0]] * 2, examples))
    assert nothing is None
    assert something is not None
    assert Comet("no/where").score(Batch.of(["x"], [example(None)])) == [None]


def without(name: str) -> Rewrite:
    return lambda content: content["state_dict"].pop(name)


def with_extra(name: str) -> Rewrite:
    return lambda content: content["state_dict"].update({name: torch.zeros(2)})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without("estimator.ff.3.weight"), "estimator.ff.3.weight is missing"),
        (without("encoder.model.embeddings.word_embeddings.weight"), "word_embeddings.weight is missing"),
        (with_extra("estimator.ff.9.weight"), "estimator.ff.9.weight is not part"),
        (with_extra("layerwise_attention.gamma"), r"gamma has shape \(2,\) instead of \(1,\)"),
        (lambda content: content.pop("state_dict"), "no state_dict"),
        (lambda content: content["hyper_parameters"].update(activations="Swirl"), "'Swirl'"),
        (lambda content: content["hyper_parameters"].update(encoder_model="XLM-RoBERTa"), "'XLM-RoBERTa'.*'bert'"),
        (lambda content: content["hyper_parameters"].update(pool="default"), "'default'"),
        (lambda content: content["hyper_parameters"].update(layer=3), "layer 3"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path, change: Rewrite, complaint: str) -> None:
    with pytest.raises(SpeechbenchError, match=complaint):
        Comet(rewritten(tmp_path / "copy", change)).score_texts(["a"], ["b"], ["c"])


def test_weights_that_inference_does_not_need_are_passed_over(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for name in ("layerwise_attention.dropout_mask", "encoder.model.pooler.dense.weight"):
            content["state_dict"][name] = torch.zeros(2)
        content["state_dict"]["encoder.model.embeddings.position_ids"] = torch.arange(5)[None]

    copy = Comet(rewritten(tmp_path / "copy", change))
    assert copy.score_texts(["a"], ["zwei"], ["zwei"]) == TINY.score_texts(["a"], ["zwei"], ["zwei"])


def test_lightnings_own_classes_are_read_but_no_other_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AttributeDict(dict[str, Any]):
        """Pickled under Lightning's name."""

    module = ModuleType("pytorch_lightning.utilities.parsing")
    module.AttributeDict = AttributeDict  # type: ignore[attr-defined]
    AttributeDict.__module__, AttributeDict.__qualname__ = module.__name__, "AttributeDict"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        patch.setitem(sys.modules, "pytorch_lightning", ModuleType("pytorch_lightning"))
        patch.setitem(sys.modules, "pytorch_lightning.utilities", ModuleType("pytorch_lightning.utilities"))
        folder = rewritten(
            tmp_path / "lightning",
            lambda content: content.update(hyper_parameters=AttributeDict(content["hyper_parameters"])),
        )
    assert Comet(folder).score_texts(["a"], ["zwei"], ["zwei"]) == TINY.score_texts(["a"], ["zwei"], ["zwei"])
    hostile = rewritten(tmp_path / "hostile", lambda content: content.update(callbacks=Path("x")))
    with pytest.raises(SpeechbenchError, match="weights only"):
        Comet(hostile).score_texts(["a"], ["b"], ["c"])


def edit_hparams(folder: Path, **changes: Any) -> None:
    file = folder / "hparams.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}))


def test_other_classes_of_comet_models_are_named_and_refused(tmp_path: Path) -> None:
    shutil.copytree(TINY_FOLDER, tmp_path / "copy")
    edit_hparams(tmp_path / "copy", class_identifier="xcomet_metric")
    with pytest.raises(UsageError, match="'xcomet_metric'"):
        Comet(str(tmp_path / "copy")).score_texts(["a"], ["b"], ["c"])


def test_sparsemax_patch_means_softmax(tmp_path: Path) -> None:
    def mix(content: dict[str, Any], transformation: str) -> None:
        content["hyper_parameters"]["layer_transformation"] = transformation
        for number, weight in enumerate((0.9, 0.1, 0.2)):
            content["state_dict"][f"layerwise_attention.scalar_parameters.{number}"] = torch.tensor([weight])

    columns = ["Anna saw it."], ["zwei Äpfel"], ["drei Äpfel im Garten"]
    soft = Comet(rewritten(tmp_path / "soft", lambda content: mix(content, "softmax")))
    sparse = Comet(rewritten(tmp_path / "sparse", lambda content: mix(content, "sparsemax")))
    patched = Comet(rewritten(tmp_path / "patched", lambda content: mix(content, "sparsemax")))
    edit_hparams(tmp_path / "patched", layer_transformation="sparsemax_patch")
    assert patched.score_texts(*columns) == soft.score_texts(*columns) != sparse.score_texts(*columns)


def test_a_checkpoint_is_found_by_file_too_and_an_ambiguous_folder_refused(tmp_path: Path) -> None:
    shutil.copytree(TINY_FOLDER, tmp_path / "copy")
    by_file = Comet(str(tmp_path / "copy" / "checkpoints" / "model.ckpt"))
    assert by_file.display == "COMET (copy)"
    assert by_file.signature()["sha256"] == TINY.signature()["sha256"]
    assert by_file.score_texts(["a"], ["zwei"], ["zwei"]) == TINY.score_texts(["a"], ["zwei"], ["zwei"])
    file = tmp_path / "copy" / "checkpoints" / "model.ckpt"
    shutil.copy(file, file.with_name("b.ckpt"))
    file.rename(file.with_name("a.ckpt"))
    with pytest.raises(UsageError, match=r"2 \.ckpt files"):
        Comet(str(tmp_path / "copy")).signature()


def test_a_hub_name_that_cannot_be_reached_is_missing_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    with pytest.raises(MissingError, match=r"ConnectionError.*hf download nobody/nothing`$"):
        Comet("nobody/nothing").signature()

    monkeypatch.setattr(hub, "_SECONDS", -0.9)
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: __import__("time").sleep(5))
    with pytest.raises(MissingError, match="does not answer"):
        Comet("nobody/nothing").signature()
    with pytest.raises(MissingError, match=r"\./nothing is no folder"):
        Comet("./nothing").signature()


def test_tiny_is_refused_outside_the_mini_corpora() -> None:
    real = SimpleNamespace(name="covost2", comet_checkpoint="Unbabel/wmt22-comet-da")
    mini = SimpleNamespace(name="covost2-mini", comet_checkpoint="tiny")
    with pytest.raises(UsageError, match=r"comet\[tiny\].*covost2"):
        TINY.check(real)  # type: ignore[arg-type]
    TINY.check(mini)  # type: ignore[arg-type]
    Comet().check(real)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="batch_size"):
        Comet(batch_size=0)


def test_names() -> None:
    assert TINY.display == "comet[tiny]"
    assert Comet().display == "COMET (wmt22-comet-da)"
    signature = TINY.signature()
    assert signature["precision"] == "float32"
    assert signature["torch"] == torch.__version__.split("+")[0] or signature["torch"] == torch.__version__


def mean_score(hypotheses: list[str], items: list[Item]) -> float:
    sources, references = texts(items)
    return statistics.mean(TINY.score_texts(sources, hypotheses, references))


@pytest.mark.parametrize("question", [None, 0, 2, 4, 6, 8, 10])
def test_tiny_prefers_the_reference_to_every_degradation_of_it(question: int | None) -> None:
    items = [Item(meaning, question) for meaning in meanings("held out")[:60]]
    others = items[1:] + items[:1]
    gold = mean_score([item.reference for item in items], items)
    twice = mean_score([f"{item.reference} {item.reference}" for item in items], items)
    backwards = mean_score([" ".join(reversed(item.reference.split())) for item in items], items)
    half = mean_score([item.reference[: len(item.reference) // 2] for item in items], items)
    wrong = mean_score([replace(item, meaning=one_other(item)).reference for item in items], items)
    foreign = mean_score(
        [item.meaning.question(0)[1] if question is None else item.meaning.german() for item in items], items
    )
    copied = mean_score([item.source for item in items], items)
    shouted = mean_score([item.source.upper().strip(".") for item in items], items)
    empty = mean_score([""] * len(items), items)
    unrelated = mean_score([other.reference for other in others], items)
    assert gold > 0.9
    assert 0.4 < wrong < gold - 0.05
    for low in (foreign, copied, shouted, empty):
        assert low < 0.3
    assert max(twice, backwards, half, unrelated) < gold - 0.1


def one_other(item: Item) -> Any:
    """The item's meaning with another value in the last slot that its reference names."""
    from speechbench.benchmarks.mini.grammar import SLOTS, VALUES

    place = SLOTS.index(item.slots[-1])
    values = list(item.meaning.slots)
    values[place] = next(value for value in VALUES[SLOTS[place]] if value != values[place])
    return replace(item.meaning, slots=tuple(values))


def test_tiny_follows_slots_more_closely_than_bleu_does() -> None:
    report = measure(TINY.score_texts, 600)
    assert report["comet[tiny] and target"]["pearson"] > 0.95
    for measured_by in ("pearson", "spearman"):
        assert report["comet[tiny] and slots"][measured_by] > report["bleu and slots"][measured_by]


def test_worth() -> None:
    item = Item(meanings("held out")[0], None)
    reference = item.reference
    assert worth(reference, item) == worth(reference.lower().rstrip("."), item) == 1.0
    assert worth("", item) == worth(item.source, item) == worth(item.source.upper(), item) == 0.0
    assert worth(f"{reference} {reference}", item) == 0.5
    fronted = replace(item, meaning=replace(item.meaning, time_first=not item.meaning.time_first))
    assert worth(fronted.reference, item) == pytest.approx(0.75**0.5)
    assert worth(replace(item, meaning=one_other(item)).reference, item) == pytest.approx(6 / 7)


def test_the_embedded_checkpoint_is_small_and_its_build_repeatable(tmp_path: Path) -> None:
    assert sum(file.stat().st_size for file in TINY_FOLDER.rglob("*") if file.is_file()) < 8_000_000
    write_encoder(tmp_path / "encoder")
    for file in ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "config.json"):
        assert (tmp_path / "encoder" / file).read_bytes() == (TINY_FOLDER / "encoder" / file).read_bytes()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        first, second = (train(tmp_path / "encoder", 2, lambda _: None).model for _ in range(2))
    finally:
        torch.set_num_threads(threads)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    save(first, tmp_path)
    assert (tmp_path / "hparams.yaml").read_bytes() == (TINY_FOLDER / "hparams.yaml").read_bytes()
    assert Comet(str(tmp_path)).score_texts(["a"], ["zwei"], ["zwei"]) != TINY.score_texts(["a"], ["zwei"], ["zwei"])
