"""COMET's regression models in plain torch: an encoder, a mix of its layers, pooling, and an estimator on top.

The architecture is that of Rei et al., "COMET: A Neural Framework for MT Evaluation" (EMNLP 2020), without the
reference that of Rei et al., "Are References Really Needed?" (WMT 2021); names of weights and hyper-parameters are
unbabel-comet's, whose checkpoints are loaded and whose scores are matched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechbench.errors import SpeechbenchError
from speechbench.rewards.comet_checkpoint import REFERENCELESS, Checkpoint
from speechbench.rewards.comet_layers import Estimator, LayerMix

# hparams' name of an encoder family -> transformers' name of its architecture
ENCODERS: Mapping[str, str] = {
    "BERT": "bert",
    "XLM-RoBERTa": "xlm-roberta",
    "XLM-RoBERTa-XL": "xlm-roberta-xl",
    "RemBERT": "rembert",
}

# On a CPU, rows of a matrix product round the same in every product whose rows are a multiple of four, and differ in
# the last bit in some others: so texts are padded to one. The estimator, whose output is narrower than what the
# processor takes at a time, gets as many rows each time.
STEP = 4
ROWS = 16
_FULL = 8192  # tokens in a forward: it gains nothing from more, which need memory


class CometRegression(nn.Module):
    """COMET's regression model, or the one that looks at no reference.

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
        self.reference_free = hparams["class_identifier"] == REFERENCELESS
        self.estimator = Estimator((4 if self.reference_free else 6) * encoder_config.hidden_size, hparams)

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
        """Scores, shape [segment], from three sentence vectors of shape [segment, dimension].

        A model without references does not look at the second.
        """
        of_source = (hypothesis * source, (hypothesis - source).abs())
        combined = (
            (hypothesis, source, *of_source)
            if self.reference_free
            else (hypothesis, reference, hypothesis * reference, (hypothesis - reference).abs(), *of_source)
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

        Each distinct text is encoded once, among texts of about its own length, and in shapes that do not depend
        on what else is scored: so, on one thread of a CPU, no bit of its score does.

        Args:
            sources: What was translated, one per hypothesis.
            hypotheses: What to score.
            references: What it should have been, one per hypothesis; not looked at by a model without references.
            size: Texts in one forward of the encoder.
        """
        if self.model.reference_free:
            references = hypotheses
        texts = sorted({*sources, *hypotheses, *references})
        row = {text: number for number, text in enumerate(texts)}
        columns = [[row[text] for text in column] for column in (hypotheses, references, sources)]
        scores: list[float] = []
        with torch.inference_mode():
            vectors = self._embed(texts, size)
            for start in range(0, len(hypotheses), ROWS):
                blocks = (column[start : start + ROWS] for column in columns)
                filled = (rows + rows[-1:] * (ROWS - len(rows)) for rows in blocks)
                scores += self.model.estimate(*(vectors[rows] for rows in filled)).tolist()
        return scores[: len(hypotheses)]

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
    """Cuts token ids, [text][token], into batches of ids and masks, both [text, token], padded on the right.

    How far a text is padded depends on its own length alone, since a longer row of attention rounds otherwise.
    Texts should be sorted by length: a batch ends where the next one needs more padding.

    Args:
        tokens: Token ids of each text.
        size: Texts in one batch, at most.
        pad: The padding token's id.
        device: Where the tensors go.
    """
    for width, group in groupby(tokens, key=lambda ids: -(-len(ids) // STEP) * STEP):
        texts = list(group)
        size_here = max(1, min(size, _FULL // width))
        for start in range(0, len(texts), size_here):
            chunk = texts[start : start + size_here]
            ids = torch.tensor([[*text, *[pad] * (width - len(text))] for text in chunk])
            lengths = torch.tensor([len(text) for text in chunk])
            mask = (torch.arange(width)[None, :] < lengths[:, None]).long()
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
        config = AutoConfig.from_pretrained(encoder, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(encoder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise SpeechbenchError(
            f"{encoder} holds no encoder's config.json and tokenizer: {said}: put them there"
        ) from error
    model = CometRegression(config, checkpoint.hparams, tokenizer.pad_token_id)
    model.load_state_dict(checkpoint.weights_for(model.state_dict()))
    # COMET's own limit: two positions less than its encoder class reports, which is two less than the configuration's.
    return Scorer(model, tokenizer, config.max_position_embeddings - 4)
