"""The reward `metricx`: a small checkpoint against a forward written out here, and what is no MetricX."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.rewards.base import Batch
from speechbench.rewards.comet import TINY_FOLDER
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import measure
from speechbench.rewards.metricx import MetricX

SCORE = 250089
SOURCE, REFERENCE = "Anna bought two apples.", "Anna hat zwei Äpfel gekauft."
HYPOTHESES = ["Anna hat zwei Birnen gekauft.", "", REFERENCE, "drei", "a b c d e f g", "Tom schlief."]


def example(source: str | None = SOURCE, *references: str) -> Example:
    return Example("e", None, "", references, source, "en", "de")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Single characters, and an end token as mT5's tokenizer adds it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäöüßÄÖÜ.:"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -3.0) for letter in letters)]
    made = Tokenizer(models.Unigram(pieces, 2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder = tmp_path_factory.mktemp("tokenizer")
    roles = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=made, **roles).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random mT5, as small as the vocabulary allows, whose scores lie within the scale and differ."""
    from transformers import MT5Config, MT5ForConditionalGeneration

    torch.manual_seed(0)
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_heads": 2, "vocab_size": 250112}
    model = MT5ForConditionalGeneration(MT5Config(**sizes, feed_forward_proj="gated-gelu"))
    model.lm_head.weight = torch.nn.Parameter(torch.randn(250112, 8))  # of its own, as in the published checkpoints
    with torch.no_grad():
        model.shared.weight.normal_()
        seen = model.eval().get_encoder()(input_ids=torch.arange(3, 40)[None]).last_hidden_state
        state = model.get_decoder()(input_ids=torch.tensor([[0]]), encoder_hidden_states=seen).last_hidden_state[0, 0]
        model.lm_head.weight[SCORE] = 12.0 * state / (state @ state)  # half way up the scale, for such a text
    folder = tmp_path_factory.mktemp("metricx")
    model.save_pretrained(folder)
    return folder


def spec(model: Path, tokenizer: Path, **parameters: Any) -> dict[str, Any]:
    return {"model": str(model), "tokenizer": str(tokenizer), "version": 24, **parameters}


def direct(model: Path, tokenizer: Path, texts: list[str], longest: int) -> list[float]:
    """Each text alone through the published steps: no end token, one start token, one logit, cut to 0..25."""
    from transformers import AutoTokenizer, MT5ForConditionalGeneration

    t5 = MT5ForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
    of = AutoTokenizer.from_pretrained(tokenizer)
    errors = []
    for text in texts:
        ids = torch.tensor([of(text, max_length=longest, truncation=True)["input_ids"][:-1]])
        with torch.no_grad():
            seen = t5.get_encoder()(input_ids=ids).last_hidden_state
            state = t5.get_decoder()(input_ids=torch.tensor([[0]]), encoder_hidden_states=seen).last_hidden_state
        errors.append(min(max((state[0, 0] @ t5.lm_head.weight[SCORE]).item(), 0.0), 25.0))
    return errors


FORMS = {
    (24, False): f"source: {SOURCE} candidate: {{}} reference: {REFERENCE}",
    (24, True): f"source: {SOURCE} candidate: {{}}",
    (23, False): f"candidate: {{}} reference: {REFERENCE}",
    (23, True): f"candidate: {{}} source: {SOURCE}",
}


@pytest.mark.parametrize(("version", "reference_free"), FORMS)
def test_scores_are_those_of_a_direct_forward(
    checkpoint: Path, tokenizer: Path, version: int, reference_free: bool
) -> None:
    hypotheses = [*HYPOTHESES, "zwei Äpfel " * 300]
    reward = MetricX(**spec(checkpoint, tokenizer, version=version, reference_free=reference_free, batch_size=2))
    batch = Batch.of(hypotheses, [example(SOURCE, REFERENCE)] * len(hypotheses))
    texts = [FORMS[version, reference_free].format(hypothesis) for hypothesis in hypotheses]
    wanted = direct(checkpoint, tokenizer, texts, 1536 if version == 24 else 1024)
    assert len({round(error, 3) for error in wanted}) > 3
    assert reward.score(batch) == pytest.approx([1 - error / 25 for error in wanted], abs=1e-5)
    measured = measure(reward, hypotheses, batch.examples)
    assert measured.segments == pytest.approx(wanted, abs=1e-4)
    assert measured.corpus == pytest.approx(np.mean(wanted), abs=1e-4)
    assert measured.lower_is_better


@pytest.mark.parametrize(("factor", "end"), [(1000.0, 25.0), (-1000.0, 0.0)])
def test_the_scale_has_ends(checkpoint: Path, tokenizer: Path, tmp_path: Path, factor: float, end: float) -> None:
    from transformers import MT5ForConditionalGeneration

    model = MT5ForConditionalGeneration.from_pretrained(checkpoint)
    with torch.no_grad():
        model.lm_head.weight[SCORE] *= factor
    model.save_pretrained(tmp_path)
    columns = [SOURCE] * 6, HYPOTHESES, [REFERENCE] * 6
    assert all(0.0 < error < 25.0 for error in MetricX(**spec(checkpoint, tokenizer)).score_texts(*columns))
    assert MetricX(**spec(tmp_path, tokenizer)).score_texts(*columns) == [end] * 6


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_score_does_not_depend_on_what_else_is_scored(
    checkpoint: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward = MetricX(**spec(checkpoint, tokenizer))
    columns = [SOURCE] * 12, HYPOTHESES * 2, [REFERENCE] * 12
    together = reward.score_texts(*columns)
    alone = [reward.score_texts([SOURCE], [hypothesis], [REFERENCE])[0] for hypothesis in HYPOTHESES]
    assert together == alone * 2
    scorer: Any = reward._scorer
    encoded: list[int] = []
    scorer.model.encoder.register_forward_pre_hook(
        lambda _, args, kwargs: encoded.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    reward.score_texts(*columns)
    assert sum(encoded) == len(HYPOTHESES)  # each distinct text once
    encoded.clear()
    reward.batch_size = 1
    assert reward.score_texts(*columns) == together
    assert encoded == [1] * len(HYPOTHESES)
    encoded.clear()
    measure(reward, HYPOTHESES, [example(SOURCE, REFERENCE)] * 6)
    assert sum(encoded) == len(HYPOTHESES)  # scores and statistics are one piece of work


def test_what_an_example_lacks_leaves_it_without_a_score(checkpoint: Path, tokenizer: Path) -> None:
    examples = [example(SOURCE, REFERENCE, "x"), example(None, REFERENCE), example(SOURCE), example(SOURCE, REFERENCE)]
    batch = Batch.of(["zwei"] * 4, examples)
    lacking = {(24, False): [1, 2], (24, True): [1], (23, False): [2], (23, True): [1]}
    for (version, reference_free), rows in lacking.items():
        reward = MetricX(**spec(checkpoint, tokenizer, version=version, reference_free=reference_free))
        scores = reward.score(batch)
        assert [row for row, score in enumerate(scores) if score is None] == rows
        assert scores[0] == scores[3]  # the first reference counts
        assert reward.segments(scores, reward.statistics(batch))[rows[0]] is None
        assert reward.statistics(batch)[rows[0]].tolist() == [0.0, 0.0]
        assert ("reference" in reward.needs) is not reward.several_references.startswith("none")
    assert MetricX(**spec(checkpoint, tokenizer)).needs == {"source", "reference"}


AWKWARD = {
    "white space": " \t\n ",
    "emoji": "👩‍👩‍👧‍👦 ok 👍🏽",
    "combining": "Zu\u0308rich e\u0301\u0323\u0302",
    "right to left": "قرأت ليلى הספר אמש",
    "long": "zwei Äpfel " * 9000,
    "one long word": "ä" * 100_000,
    "braces": "{source} {0} {",
}


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_texts_are_scored_like_any_other(checkpoint: Path, tokenizer: Path, text: str) -> None:
    reward = MetricX(**spec(checkpoint, tokenizer))
    for score in reward.score(Batch.of([text, "zwei"], [example(SOURCE, REFERENCE), example(text, text)])):
        assert score is not None
        assert 0.0 <= score <= 1.0
        assert math.isfinite(score)


def test_no_hypotheses_no_scores() -> None:
    reward = MetricX("nobody/metricx-24-nothing")
    assert reward.score(Batch.of([], [])) == []
    assert reward.score(Batch.of(["a"], [example(None)])) == [None]
    assert reward.statistics(Batch.of([], [])).shape == (0, 2)


def test_longer_inputs_are_cut(checkpoint: Path, tokenizer: Path) -> None:
    columns = [SOURCE], ["zwei"], [REFERENCE]
    whole = MetricX(**spec(checkpoint, tokenizer)).score_texts(*columns)
    cut = MetricX(**spec(checkpoint, tokenizer, max_length=20)).score_texts(*columns)
    text = FORMS[24, False].format("zwei")
    assert cut == pytest.approx(direct(checkpoint, tokenizer, [text], 20), abs=1e-4)
    assert cut != whole


def test_what_the_name_tells() -> None:
    default = MetricX()
    assert (default.version, default.reference_free, default.max_length) == (24, False, 1536)
    assert default.display == "MetricX (metricx-24-hybrid-large-v2p6)"
    old = MetricX("google/metricx-23-large-v2p0")
    assert (old.version, old.needs, old.max_length) == (23, {"reference"}, 1024)
    without = MetricX("google/metricx-23-qe-large-v2p0")
    assert (without.reference_free, without.needs) == (True, {"source"})
    assert MetricX("google/metricx-24-hybrid-xl-v2p6", reference_free=True).needs == {"source"}
    assert MetricX("some/folder", version=23).version == 23


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"model": "some/folder"}, r"metricx\(model=some/folder\): .*add version=24 or version=23"),
        ({"version": 22}, r"metricx\(version=22\): the version is 24 or 23"),
        ({"model": "google/metricx-23-qe-xl-v2p0", "reference_free": False}, "knows no reference"),
        ({"reference_free": "yes"}, r"metricx\(reference_free=yes\): write true or false"),
        ({"reference_free": 1}, r"metricx\(reference_free=1\): write true or false"),
        ({"batch_size": 0}, r"metricx\(batch_size=0\): "),
        ({"max_length": 1.5}, r"metricx\(max_length=1.5\): "),
        ({"max_length": 1}, r"metricx\(max_length=1\): .*at least 2"),
        ({"tokenizer": ""}, r"metricx\(tokenizer=\): "),
        ({"model": 3}, r"metricx\(model=3\): "),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        MetricX(**parameters)


def test_the_signature_tells_scorers_apart(checkpoint: Path, tokenizer: Path, tmp_path: Path) -> None:
    first = load_reward(f"metricx(model={str(checkpoint)!r}, tokenizer={str(tokenizer)!r}, version=24)")
    signature = first.signature()
    assert signature == MetricX(**spec(checkpoint, tokenizer, batch_size=3)).signature()
    others = [
        MetricX(**spec(checkpoint, tokenizer, **changed)).signature()
        for changed in ({"version": 23}, {"reference_free": True}, {"max_length": 9})
    ]
    shutil.copytree(tokenizer, tmp_path / "tokenizer")
    file = tmp_path / "tokenizer" / "tokenizer.json"
    file.write_text(file.read_text().replace('"▁"', '"_"'))
    others.append(MetricX(**spec(checkpoint, tmp_path / "tokenizer")).signature())
    shutil.copytree(checkpoint, tmp_path / checkpoint.name)
    config = tmp_path / checkpoint.name / "config.json"
    config.write_text(config.read_text().replace('"num_heads": 2', '"num_heads": 1'))
    others.append(MetricX(**spec(tmp_path / checkpoint.name, tokenizer)).signature())
    assert len({str(one) for one in [signature, *others]}) == 6


def test_what_is_no_metricx_is_told(checkpoint: Path, tokenizer: Path, tmp_path: Path) -> None:
    columns = ["a"], ["b"], ["c"]
    with pytest.raises(SpeechbenchError, match=r"encoder is no MetricX checkpoint, its model is bert.*name a MetricX"):
        MetricX(**spec(TINY_FOLDER / "encoder", tokenizer)).score_texts(*columns)
    with pytest.raises(SpeechbenchError, match=r"is no MetricX checkpoint \("):
        MetricX(**spec(tokenizer, tokenizer)).score_texts(*columns)
    with pytest.raises(SpeechbenchError, match=r"holds no tokenizer .*name mT5's"):
        MetricX(**spec(checkpoint, tmp_path)).score_texts(*columns)
    shutil.copytree(checkpoint, tmp_path / "copy")
    (weights,) = (tmp_path / "copy").glob("*.safetensors")
    from safetensors.torch import load_file, save_file

    content = load_file(weights)
    name = next(name for name in content if name.startswith("decoder.block.1"))
    del content[name]
    save_file(content, weights, metadata={"format": "pt"})
    with pytest.raises(SpeechbenchError, match=rf"lacks weights, {name} first of 1: get it again"):
        MetricX(**spec(tmp_path / "copy", tokenizer)).score_texts(*columns)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(SpeechbenchError, match=r"the weights in .*copy cannot be loaded"):
        MetricX(**spec(tmp_path / "copy", tokenizer)).score_texts(*columns)
    with pytest.raises(UsageError, match="no such folder"):
        MetricX(**spec(tmp_path / "nowhere", tokenizer)).score_texts(*columns)


def test_a_hub_that_cannot_be_reached_is_told_when_loaded(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi, constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    with pytest.raises(MissingError, match=r"metricx-24-hybrid-large-v2p6 is not on this machine.*name a folder"):
        load_reward("metricx")
    with pytest.raises(MissingError, match=r"google/mt5-xl is not on this machine.*name a folder"):
        load_reward(f"metricx(model={str(checkpoint)!r}, version=24)")


def test_the_last_name_in_a_path_tells_the_year(tmp_path: Path) -> None:
    found = MetricX(str(tmp_path / "metricx-24-tests" / "metricx-23-qe-large-v2p0"))
    assert (found.version, found.reference_free) == (23, True)


def test_a_folder_without_weights_or_with_code_of_its_own_is_refused(tmp_path: Path, tokenizer: Path) -> None:
    marker = tmp_path / "ran"
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    (folder / "config.json").write_text('{"auto_map": {"AutoConfig": "own.Config"}, "model_type": "own"}')
    with pytest.raises(SpeechbenchError, match="holds no weights: get the checkpoint again"):
        MetricX(**spec(folder, tokenizer)).signature()
    with pytest.raises(SpeechbenchError, match="is no MetricX checkpoint"):
        MetricX(**spec(folder, tokenizer)).score(Batch.of(["a"], [example(SOURCE, REFERENCE)]))
    assert not marker.exists()
