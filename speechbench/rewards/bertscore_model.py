"""BERTScore in plain torch: token vectors of one layer of an encoder, matched greedily by their cosines.

The score is that of Zhang et al., "BERTScore: Evaluating Text Generation with BERT" (ICLR 2020), section 3, with
what bert-score does beyond it: special tokens may be matched, but count nothing.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from speechbench.errors import SpeechbenchError, UsageError
from speechbench.rewards.encoding import FULL_BATCH, batches_by_length, padded

KEPT_BYTES = 1 << 30  # of token vectors of references, in main memory
_WINDOW = 512  # pairs whose token vectors are in memory together

# bert-score sets a space in front for these tokenizers, with which the first word is spelt as any other.
_SPACED = ("RobertaTokenizer", "RobertaTokenizerFast", "GPT2Tokenizer", "GPT2TokenizerFast")

_LONGEST = 2048  # tokens, where neither the tokenizer nor the encoder says: memory has an end


class Vectors(NamedTuple):
    """A text as BERTScore sees it.

    Attributes:
        directions: Token vectors of length 1, [token, dimension].
        weights: What each token counts: 0 for special ones, else 1; [token].
    """

    directions: Tensor
    weights: Tensor


class Matcher:
    """An encoder cut off above one layer, with its tokenizer, in float32 and evaluation mode.

    A reference of several hypotheses is encoded alone, so that its vectors are the same to the last bit whatever else
    is scored with it, and kept for later calls while there is room: what is kept never moves a score.

    Args:
        model: The encoder (transformers); its last hidden state is compared.
        tokenizer: Its tokenizer (transformers).
        longest: Longer texts are cut to so many tokens.
        spelt: What the tokenizer is given for a text.
        room: Bytes of vectors that are kept.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, longest: int, spelt: Callable[[str], str], room: int = KEPT_BYTES
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.float().eval().to(self.device)
        self.tokenizer = tokenizer
        self.longest = longest
        self.spelt = spelt
        self.room = room
        self._weightless = torch.tensor(
            [token for token in (tokenizer.cls_token_id, tokenizer.sep_token_id) if token is not None],
            dtype=torch.long,
            device=self.device,
        )
        self._kept: dict[str, Vectors] = {}

    def f_scores(self, hypotheses: Sequence[str], references: Sequence[str], size: int) -> list[float]:
        """F of each hypothesis and its reference, from 0 to 1; 0 where one of them has no word.

        Each distinct text of some 512 pairs is encoded once, among texts of about its own length.

        Args:
            hypotheses: What to score.
            references: What it should have been, one per hypothesis.
            size: Texts in one forward of the encoder.
        """
        hypotheses, references = [text.strip() for text in hypotheses], [text.strip() for text in references]
        shared = {text for text, count in Counter(references).items() if count > 1}
        scores: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(hypotheses), _WINDOW):
                window = slice(start, start + _WINDOW)
                scores += self._window(hypotheses[window], references[window], shared, size).tolist()
        return scores

    def _window(self, hypotheses: Sequence[str], references: Sequence[str], shared: set[str], size: int) -> Tensor:
        rows: dict[str, list[int]] = {}
        for row, reference in enumerate(references):
            rows.setdefault(reference, []).append(row)
        vectors = {reference: self._alone(reference) for reference in rows if reference in shared}
        others = [text for text in dict.fromkeys((*rows, *hypotheses)) if text not in vectors]
        vectors.update(self._encoded(others, size))
        scores = torch.empty(len(hypotheses), device=self.device)
        for reference, group in rows.items():
            found = f_scores(vectors[reference], [vectors[hypotheses[row]] for row in group])
            scores[torch.tensor(group, device=self.device)] = found
        same = torch.tensor([one == other for one, other in zip(hypotheses, references, strict=True)])
        scores[same.to(self.device) & (scores > 0)] = 1.0  # the cosine of a vector with itself, but for rounding
        return scores

    def _alone(self, text: str) -> Vectors:
        if text in self._kept:
            return Vectors(*(part.to(self.device) for part in self._kept[text]))
        vectors = self._encoded([text], 1)[text]
        needed = sum(part.nbytes for part in vectors)
        if needed <= self.room:
            self.room -= needed
            self._kept[text] = Vectors(*(part.cpu() for part in vectors))
        return vectors

    def _encoded(self, texts: Sequence[str], size: int) -> Mapping[str, Vectors]:
        if not texts:
            return {}
        spelt = [self.spelt(text) for text in texts]
        found: list[list[int]] = self.tokenizer(spelt, truncation=True, max_length=self.longest)["input_ids"]
        tokens = [ids or [self.tokenizer.pad_token_id] for ids in found]  # where not even special ones are added
        vectors: dict[str, Vectors] = {}
        for batch in batches_by_length([len(ids) for ids in tokens], size, FULL_BATCH[self.device.type]):
            ids, mask = padded([tokens[number] for number in batch], self.tokenizer.pad_token_id, self.device)
            states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state  # [text, token, dimension]
            directions = states / states.norm(dim=-1, keepdim=True)
            weights = (~torch.isin(ids, self._weightless)).to(directions.dtype)
            for row, number in enumerate(batch):
                length, counts = len(tokens[number]), bool(found[number])
                vectors[texts[number]] = Vectors(directions[row, :length], weights[row, :length] * counts)
        return vectors


def f_scores(reference: Vectors, hypotheses: Sequence[Vectors]) -> Tensor:
    """F of each hypothesis with one reference: Zhang et al. 2020, section 3.

    A token without any similar one counts 0, not less. bert-score does so only where it pads the other text, which
    depends on the batch.

    Returns:
        Shape [hypothesis], from 0 to 1; 0 where either text has no token that counts.
    """
    lengths = [len(hypothesis.weights) for hypothesis in hypotheses]
    directions = torch.cat([hypothesis.directions for hypothesis in hypotheses])
    similarity = (directions @ reference.directions.T).clamp(min=0)  # [token of any hypothesis, token of reference]
    parts = list(torch.split(similarity, lengths))
    similarities = nn.utils.rnn.pad_sequence(parts, batch_first=True)  # [hypothesis, token, token of reference]
    weights = nn.utils.rnn.pad_sequence([hypothesis.weights for hypothesis in hypotheses], batch_first=True)
    precision = (similarities.amax(2) * weights).sum(1) / weights.sum(1)
    recall = (similarities.amax(1) * reference.weights).sum(1) / reference.weights.sum()
    return (2 * precision * recall / (precision + recall)).nan_to_num(0.0).clamp(max=1)


def load(folder: Path, layer: int) -> Matcher:
    """Reads an encoder and its tokenizer from disk.

    Args:
        folder: With config.json, weights and tokenizer, as transformers saves them.
        layer: Of which the output is compared; 0 for the embeddings.

    Raises:
        SpeechbenchError: If the folder is no encoder's, or lacks some of its weights.
        UsageError: If the encoder has fewer layers.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    sources = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **sources)
        tokenizer = AutoTokenizer.from_pretrained(folder, **sources)
        whole, report = AutoModel.from_pretrained(folder, output_loading_info=True, **sources)
    except Exception as error:  # transformers raises what the file at fault made it stumble over
        raise _no_encoder(folder, f"{type(error).__name__}: {error}") from error
    if tokenizer.pad_token_id is None:
        raise _no_encoder(folder, "its tokenizer has no padding token")
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers 5 makes where there are no files
        raise _no_encoder(folder, "its tokenizer has no vocabulary")
    has_both = config.is_encoder_decoder or all(hasattr(whole, part) for part in ("encoder", "decoder"))
    model = whole.get_encoder() if has_both else whole
    used = {id(parameter) for parameter in model.parameters()}
    absent = [
        name
        for name, parameter in whole.named_parameters(remove_duplicate=False)
        if name in report["missing_keys"] and id(parameter) in used and "pooler" not in name.split(".")
    ]
    if absent:
        raise SpeechbenchError(
            f"bertscore: the weights in {folder} lack {len(absent)} of the encoder's, such as {absent[0]}: name a "
            "folder with a whole checkpoint"
        )
    cut(model, layer)
    longest = min(tokenizer.model_max_length, _positions(model, config))
    matcher = Matcher(model, tokenizer, longest, _spelling(tokenizer))
    try:
        matcher.f_scores(["a"], ["b"], 1)
    except Exception as error:  # an encoder of something else than text
        raise _no_encoder(folder, f"{type(error).__name__}: {error}") from error
    return matcher


def cut(model: Any, layer: int) -> None:
    """Takes away an encoder's layers above one, so that its last hidden state is that layer's.

    Raises:
        SpeechbenchError: If it has no list of layers.
        UsageError: If it has fewer layers.
    """
    count = getattr(model.config, "num_hidden_layers", 0)
    stacks = [part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == count]
    is_shared = model.config.model_type == "albert"  # whose layers are one, applied many times
    if not count or not (stacks or is_shared):
        raise SpeechbenchError(
            f"bertscore: a model of type {model.config.model_type} has no layers to choose from: name a text encoder"
        )
    if layer > count:
        raise UsageError(f"bertscore(layer={layer}): the encoder has {count} layers: name one from 0 to {count}")
    if hasattr(model, "n_layers"):  # XLM's layers are spread over several lists
        model.n_layers = layer
    elif is_shared:
        model.encoder.config.num_hidden_layers = layer
    else:
        del stacks[0][layer:]  # the outermost list stands first


def _spelling(tokenizer: Any) -> Callable[[str], str]:
    """What makes a fast tokenizer split a text as bert-score does with transformers 4's slow one, its default."""
    if type(tokenizer).__name__ in _SPACED:
        return lambda text: text and f" {text}"
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    if type(normalizer).__name__ == "BertNormalizer":  # it leaves combining characters as they are
        return lambda text: unicodedata.normalize("NFC", text)
    return str


def _positions(model: Any, config: Any) -> int:
    """How many tokens an encoder takes: RoBERTa's numbers its positions from after the padding's."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if isinstance(table, nn.Embedding):
        return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    numbered = getattr(config, "max_position_embeddings", None) or 0
    is_relative = getattr(config, "position_biased_input", True) is False  # DeBERTa's, which has no end
    return numbered if numbered > 0 and not is_relative else _LONGEST


def _no_encoder(folder: Path, why: str) -> SpeechbenchError:
    why = " ".join(why.split())
    return SpeechbenchError(
        f"bertscore: {folder} holds no text encoder with its tokenizer ({why}): name a folder with config.json, "
        "weights and tokenizer as transformers saves them"
    )
