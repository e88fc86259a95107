"""COMET's regression model in plain torch: an encoder, a mix of its layers, pooling, and an estimator on top.

The architecture is that of Rei et al., "COMET: A Neural Framework for MT Evaluation" (EMNLP 2020); names of
weights and hyper-parameters are unbabel-comet's, whose checkpoints are loaded and whose scores are matched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechbench.errors import SpeechbenchError
from speechbench.rewards.comet_checkpoint import Checkpoint

# hparams' name of an encoder family -> transformers' name of its architecture
ENCODERS: Mapping[str, str] = {
    "BERT": "bert",
    "XLM-RoBERTa": "xlm-roberta",
    "XLM-RoBERTa-XL": "xlm-roberta-xl",
    "RemBERT": "rembert",
}

# In checkpoints but of no use at inference: masks of layer dropout, the encoder's own pooler, and the
# position numbers that older transformers stored.
_UNUSED = ("layerwise_attention.dropout_", "encoder.model.pooler.", "encoder.model.embeddings.position_ids")


def sparsemax(logits: Tensor) -> Tensor:
    """Projects onto the probability simplex: Martins & Astudillo, "From Softmax to Sparsemax" (ICML 2016), eq. 3.

    Args:
        logits: Shape [option].

    Returns:
        Probabilities, some of them exactly 0, shape [option].
    """
    ordered, _ = logits.sort(descending=True)
    excess = ordered.cumsum(0) - 1
    rank = torch.arange(1, len(logits) + 1, device=logits.device, dtype=logits.dtype)
    support = int((rank * ordered > excess).sum())
    return (logits - excess[support - 1] / support).clamp(min=0)


class LayerMix(nn.Module):
    """Weighted sum of the hidden states of all layers, times gamma.

    Args:
        layers: Number of hidden states, the embeddings' included.
        transformation: "sparsemax"; anything else is softmax.
        layer_norm: Whether each layer is first brought to mean 0 and variance 1 over the sentence's
            tokens and dimensions together.
    """

    def __init__(self, layers: int, transformation: str, layer_norm: bool) -> None:
        super().__init__()
        self.transformation = transformation
        self.layer_norm = layer_norm
        self.scalar_parameters = nn.ParameterList([nn.Parameter(torch.zeros(1)) for _ in range(layers)])
        self.gamma = nn.Parameter(torch.ones(1))

    def forward(self, states: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Mixes.

        Args:
            states: For each layer [text, token, dimension].
            mask: 1 for tokens, 0 for padding, shape [text, token].
        """
        logits = torch.cat(list(self.scalar_parameters))
        weights = sparsemax(logits) if self.transformation == "sparsemax" else logits.softmax(0)
        if self.layer_norm:
            states = [_normalised(state, mask) for state in states]
        mixed = torch.zeros_like(states[0])
        for weight, state in zip(weights, states, strict=True):
            mixed = mixed + weight * state
        return self.gamma * mixed


def _normalised(state: Tensor, mask: Tensor) -> Tensor:
    inside = mask.to(state.dtype)[:, :, None]
    size = inside.sum((1, 2), keepdim=True) * state.shape[-1]
    centred = state - (state * inside).sum((1, 2), keepdim=True) / size
    variance = (centred * inside).square().sum((1, 2), keepdim=True) / size
    return centred / (variance + 1e-12).sqrt()


class Estimator(nn.Module):
    """Feed-forward net from the six combined sentence vectors to one score."""

    def __init__(self, inputs: int, hparams: Mapping[str, Any]) -> None:
        super().__init__()
        sizes = [inputs, *hparams["hidden_sizes"]]
        modules: list[nn.Module] = []
        for before, after in pairwise(sizes):
            # The dropout does nothing here: it keeps the numbering of the checkpoint's weights.
            modules += [nn.Linear(before, after), _activation(hparams["activations"]), nn.Dropout(0.0)]
        modules.append(nn.Linear(sizes[-1], 1))
        if hparams["final_activation"] is not None:
            modules.append(_activation(hparams["final_activation"]))
        self.ff = nn.Sequential(*modules)


def _activation(name: str) -> nn.Module:
    activation = getattr(nn, name.title(), None)
    if activation is None:
        raise SpeechbenchError(f"the COMET checkpoint names an activation that torch does not have: {name!r}")
    module: nn.Module = activation()
    return module


class CometRegression(nn.Module):
    """COMET's regression model.

    Args:
        encoder_config: The encoder's configuration (transformers); its weights start random.
        hparams: As in `Checkpoint.hparams`.
        pad: The padding token's id.

    Raises:
        SpeechbenchError: If a hyper-parameter asks for what there is not.
    """

    def __init__(self, encoder_config: Any, hparams: Mapping[str, Any], pad: int) -> None:
        from transformers import AutoModel

        super().__init__()
        layers = encoder_config.num_hidden_layers + 1
        wanted = ENCODERS.get(hparams["encoder_model"])
        if encoder_config.model_type != wanted:
            raise SpeechbenchError(
                f"the COMET checkpoint's encoder is {hparams['encoder_model']!r} on a configuration of type "
                f"{encoder_config.model_type!r}: it must be one of {', '.join(ENCODERS)} with its own configuration"
            )
        self.pool = hparams["pool"]
        if self.pool not in ("avg", "cls", "max") and (self.pool != "default" or wanted == "bert"):
            raise SpeechbenchError(f"the COMET checkpoint pools by {self.pool!r}: comet knows avg, cls and max")
        self.layer = hparams["layer"]
        if self.layer != "mix" and self.layer not in range(layers):
            raise SpeechbenchError(f"the COMET checkpoint takes layer {self.layer!r} of an encoder with {layers}")
        self.pad = pad
        self.encoder = nn.ModuleDict({"model": AutoModel.from_config(encoder_config, add_pooling_layer=False)})
        if self.layer == "mix":
            self.layerwise_attention = LayerMix(layers, hparams["layer_transformation"], hparams["layer_norm"])
        self.estimator = Estimator(6 * encoder_config.hidden_size, hparams)

    def embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Sentence vectors, shape [text, dimension], from token ids and their mask, both [text, token]."""
        output = self.encoder["model"](input_ids=ids, attention_mask=mask, output_hidden_states=True)
        if self.pool == "default":
            first: Tensor = output.last_hidden_state[:, 0]
            return first
        states = output.hidden_states
        mixed: Tensor = self.layerwise_attention(states, mask) if self.layer == "mix" else states[self.layer]
        if self.pool == "cls":
            return mixed[:, 0]
        # As unbabel-comet does it: what looks like padding is left out, what the mask holds is counted.
        padding = (ids == self.pad)[:, :, None]
        if self.pool == "max":
            return mixed.masked_fill(padding, float("-inf")).amax(1)
        return mixed.masked_fill(padding, 0.0).sum(1) / mask.sum(1, keepdim=True).to(mixed.dtype)

    def estimate(self, hypothesis: Tensor, reference: Tensor, source: Tensor) -> Tensor:
        """Scores, shape [segment], from three sentence vectors of shape [segment, dimension]."""
        combined = (
            hypothesis,
            reference,
            hypothesis * reference,
            (hypothesis - reference).abs(),
            hypothesis * source,
            (hypothesis - source).abs(),
        )
        scores: Tensor = self.estimator.ff(torch.cat(combined, dim=1))
        return scores.squeeze(1)


class Scorer:
    """A loaded COMET model with its tokenizer, in float32 and evaluation mode.

    Args:
        model: The model, its weights in place.
        tokenizer: The encoder's (transformers).
        longest: Longer texts are cut to so many tokens.
    """

    def __init__(self, model: CometRegression, tokenizer: Any, longest: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.float().eval().to(self.device)
        self.tokenizer = tokenizer
        self.longest = longest

    def score(
        self, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str], size: int
    ) -> list[float]:
        """COMET scores, one per hypothesis.

        Each distinct text is encoded once, among texts of about its own length.

        Args:
            sources: What was translated, one per hypothesis.
            hypotheses: What to score.
            references: What it should have been, one per hypothesis.
            size: Texts in one forward of the encoder.
        """
        texts = sorted({*sources, *hypotheses, *references})
        row = {text: number for number, text in enumerate(texts)}
        with torch.inference_mode():
            vectors = self._embed(texts, size)
            columns = ([row[text] for text in column] for column in (hypotheses, references, sources))
            return [float(score) for score in self.model.estimate(*(vectors[rows] for rows in columns)).cpu()]

    def _embed(self, texts: Sequence[str], size: int) -> Tensor:
        tokens: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.longest)["input_ids"]
        by_length = sorted(range(len(texts)), key=lambda number: len(tokens[number]))
        vectors = [
            self.model.embed(*batch)
            for batch in padded_batches([tokens[n] for n in by_length], size, self.model.pad, self.device)
        ]
        back = torch.empty(len(texts), dtype=torch.long)
        back[torch.tensor(by_length)] = torch.arange(len(texts))
        return torch.cat(vectors)[back.to(self.device)]


def padded_batches(
    tokens: Sequence[Sequence[int]], size: int, pad: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Cuts token ids, [text][token], into batches of ids and masks, both [text, token], padded on the right."""
    for start in range(0, len(tokens), size):
        chunk = [torch.tensor(ids) for ids in tokens[start : start + size]]
        ids = nn.utils.rnn.pad_sequence(chunk, batch_first=True, padding_value=pad)
        lengths = torch.tensor([len(ids) for ids in chunk])
        mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
        yield ids.to(device), mask.to(device)


def load(checkpoint: Checkpoint, encoder: Path) -> Scorer:
    """Builds the model and puts the weights in, all of them.

    Args:
        checkpoint: From `read_checkpoint`.
        encoder: Folder with the encoder's config.json and tokenizer; no weights are read from it.

    Raises:
        SpeechbenchError: If a weight is missing, unknown or of the wrong shape, or the folder is no encoder's.
    """
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(encoder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(encoder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise SpeechbenchError(f"{encoder} holds no encoder's config.json and tokenizer: {error}") from error
    model = CometRegression(config, checkpoint.hparams, tokenizer.pad_token_id)
    weights = {name: weight for name, weight in checkpoint.weights.items() if not name.startswith(_UNUSED)}
    expected = model.state_dict()
    misfits = [f"{name} is missing" for name in expected if name not in weights]
    misfits += [f"{name} is not part of the model" for name in weights if name not in expected]
    misfits += [
        f"{name} has shape {tuple(weight.shape)} instead of {tuple(expected[name].shape)}"
        for name, weight in weights.items()
        if name in expected and weight.shape != expected[name].shape
    ]
    if misfits:
        more = f" and {len(misfits) - 8} more" if len(misfits) > 8 else ""
        raise SpeechbenchError(f"{checkpoint.path} does not fit its hyper-parameters: {'; '.join(misfits[:8])}{more}")
    model.load_state_dict(weights)
    # COMET's own limit: two positions less than its encoder class reports, which is two less than the configuration's.
    return Scorer(model, tokenizer, config.max_position_embeddings - 4)
