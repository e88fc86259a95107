"""MetricX in transformers' mT5: the first step of the decoder gives the score.

The architecture is that of Juraska et al., "MetricX-23: The Google Submission to the WMT 2023 Metrics Shared Task":
mT5, whose decoder is given its start token alone; the score is the logit of the vocabulary's id 250089
(<extra_id_10>), cut to 0..25 (https://github.com/google-research/metricx). The weights' names are mT5's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from speechbench.errors import MissingError, SpeechbenchError
from speechbench.rewards.comet_model import STEP, padded_batches
from speechbench.rewards.metricx import WORST, has_tokenizer

SCORE = 250089  # vocabulary id whose logit is the score


class Scorer:
    """A MetricX model with its tokenizer, in float32 and evaluation mode.

    Args:
        model: MT5ForConditionalGeneration (transformers), its weights in place.
        tokenizer: mT5's (transformers).
        longest: Longer inputs are cut to so many tokens.
    """

    def __init__(self, model: Any, tokenizer: Any, longest: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.float().eval().to(self.device)
        self.tokenizer = tokenizer
        self.longest = longest

    def score(self, texts: Sequence[str], size: int) -> list[float]:
        """Errors, 0 to 25, one per text.

        Each distinct text goes through the model once, among texts of about its own length, and in shapes that do
        not depend on what else is scored: so, on one thread of a CPU, no bit of its score does.

        Args:
            texts: Hypotheses together with what they are compared with, as the model was trained on.
            size: Texts in one forward.
        """
        distinct = sorted(set(texts))
        tokens = self.tokenizer(distinct, truncation=True, max_length=self.longest)["input_ids"]
        # The end token is the tokenizer's, not the model's: it was trained without.
        ids_of = {text: ids[:-1] for text, ids in zip(distinct, tokens, strict=True)}
        ordered = sorted(distinct, key=lambda text: len(ids_of[text]))
        pad = self.tokenizer.pad_token_id
        errors: list[float] = []
        with torch.inference_mode():
            for ids, mask in padded_batches([ids_of[text] for text in ordered], size, pad, self.device):
                states = self.model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
                fill = torch.arange(-(-len(ids) // STEP) * STEP, device=self.device).clamp(max=len(ids) - 1)
                logits = self.model(
                    encoder_outputs=(states[fill],),
                    attention_mask=mask[fill],
                    decoder_input_ids=torch.zeros(len(fill), 1, dtype=torch.long, device=self.device),
                ).logits
                errors += logits[: len(ids), 0, SCORE].clamp(0.0, WORST).tolist()
        error_of = dict(zip(ordered, errors, strict=True))
        return [error_of[text] for text in texts]


def load(folder: Path, tokenizer_folder: Path, longest: int) -> Scorer:
    """Loads a checkpoint, all of it.

    Args:
        folder: With config.json and weights.
        tokenizer_folder: With mT5's tokenizer.
        longest: Longer inputs are cut to so many tokens.

    Raises:
        SpeechbenchError: If the folder holds no MetricX checkpoint, or not all of its weights, or there is no
            tokenizer.
        MissingError: If the tokenizer needs a package that is not installed.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, MT5ForConditionalGeneration

    other = "name a MetricX checkpoint, as in metricx(model=google/metricx-24-hybrid-large-v2p6)"
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise SpeechbenchError(f"{folder} is no MetricX checkpoint ({_said(error)}): {other}") from error
    if config.model_type != "mt5" or config.vocab_size <= SCORE:
        found = f"{config.model_type} with {getattr(config, 'vocab_size', 'unknown')} pieces"
        raise SpeechbenchError(
            f"{folder} is no MetricX checkpoint, its model is {found} where mt5 with more than {SCORE} is wanted: "
            f"{other}"
        )
    tokenizer = _tokenizer(tokenizer_folder)
    try:
        model, found = MT5ForConditionalGeneration.from_pretrained(
            folder, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, EOFError, SafetensorError, UnpicklingError) as error:
        raise SpeechbenchError(
            f"the weights in {folder} cannot be loaded ({_said(error)}): get the checkpoint again, whole"
        ) from error
    if missing := sorted(found["missing_keys"]):
        raise SpeechbenchError(
            f"the checkpoint in {folder} lacks weights, {missing[0]} first of {len(missing)}: get it again, whole"
        )
    return Scorer(model, tokenizer, longest)


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    none = f"{folder} holds no tokenizer ({{}}): name mT5's, as in metricx(tokenizer=google/mt5-xl)"
    if not has_tokenizer(folder):  # of which transformers 5 would make an empty one
        raise SpeechbenchError(none.format("neither tokenizer.json nor spiece.model"))
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ImportError, OSError, ValueError) as error:
        # transformers 5 asks for tiktoken after sentencepiece, which would not help
        if isinstance(error, ImportError) or any(name in str(error) for name in ("sentencepiece", "tiktoken")):
            raise MissingError(
                f"the tokenizer in {folder} needs packages that are not installed: run `pip install sentencepiece "
                "protobuf`"
            ) from error
        raise SpeechbenchError(none.format(_said(error))) from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())
