"""Models of real architectures with random weights, some 30 million parameters each, for the benchmarks of a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from transformers import GraniteSpeechConfig, GraniteSpeechForConditionalGeneration, PreTrainedTokenizerBase

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example
from speechbench.models.base import SpeechModel
from speechbench.models.tiny_build import tokenizer

INSTRUCTION = f"{AUDIO_PLACEHOLDER} listen to the speech and translate it into German."
VOCABULARY = 8192
TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}


def examples(folder: Path, count: int, seconds: float) -> list[Example]:
    """Noise of one length, each with the same instruction."""
    made = []
    for number in range(count):
        path = folder / f"{number}.wav"
        noise = np.random.default_rng(number).standard_normal(int(16_000 * seconds)) * 0.1
        soundfile.write(path, noise, 16_000)
        made.append(Example(f"e{number}", Audio(path), INSTRUCTION, ("drei rote Äpfel",), None, "en", "de"))
    return made


def granite(folder: Path, train: str, **options: Any) -> SpeechModel:
    """Granite Speech's architecture: a conformer of 8 M, a Q-Former of 1 M, a language model of 30 M parameters."""
    from speechbench.models.granite_speech import GraniteSpeech

    words = _tokenizer()
    config = GraniteSpeechConfig(
        text_config={"model_type": "granite", **TEXT, **_ends(words), "logits_scaling": 1.0},
        encoder_config={
            "input_dim": 160, "num_layers": 4, "hidden_dim": 256, "feedforward_mult": 4, "num_heads": 4,
            "dim_head": 64, "output_dim": 42, "context_size": 200, "max_pos_emb": 512, "conv_kernel_size": 15,
        },
        projector_config={
            "model_type": "blip_2_qformer", "hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4,
            "intermediate_size": 512, "encoder_hidden_size": 256, "cross_attention_frequency": 1, "vocab_size": 1,
        },
        audio_token_index=words.convert_tokens_to_ids(AUDIO_PLACEHOLDER),
        has_lora_adapter=False,
    )  # fmt: skip
    torch.manual_seed(0)
    GraniteSpeechForConditionalGeneration(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return GraniteSpeech(str(folder), train=train, **options)


def _tokenizer() -> PreTrainedTokenizerBase:
    return tokenizer.build([INSTRUCTION, "drei rote Äpfel"] * 20)


def _ends(words: PreTrainedTokenizerBase) -> dict[str, Any]:
    return {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos", "pad")}
