"""Models of real architectures with random weights, some 30 million parameters each, for the benchmarks of a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GraniteSpeechConfig,
    GraniteSpeechForConditionalGeneration,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    WhisperFeatureExtractor,
)

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER, Example
from speechbench.models.base import SpeechModel
from speechbench.models.tiny_build import tokenizer

INSTRUCTION = f"{AUDIO_PLACEHOLDER} listen to the speech and translate it into German."
VOCABULARY = 8192
_QWEN_AUDIO = {"": "<|AUDIO|>", "bos_": "<|audio_bos|>", "eos_": "<|audio_eos|>"}
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

    words = granite_tokenizer()
    config = GraniteSpeechConfig(
        text_config={"model_type": "granite", **TEXT, **ends(words), "logits_scaling": 1.0},
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


def qwen2_audio(folder: Path, train: str, **options: Any) -> SpeechModel:
    """Qwen2-Audio's architecture: Whisper's encoder over 30 s with 3 M, a language model of 30 M parameters."""
    from speechbench.models.qwen2_audio import Qwen2Audio

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    named = {f"audio_{name}token": token for name, token in _QWEN_AUDIO.items()}
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *named.values()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        [INSTRUCTION] * 9,
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    words = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=named
    )
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder", "d_model": 256, "encoder_ffn_dim": 1024, "encoder_layers": 4,
            "encoder_attention_heads": 4, "num_mel_bins": 128,
        },
        text_config={"model_type": "qwen2", **TEXT},
        audio_token_index=words.convert_tokens_to_ids(_QWEN_AUDIO[""]),
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen2AudioForConditionalGeneration(config).save_pretrained(folder)
    words.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    return Qwen2Audio(str(folder), train=train, **options)


def granite_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer with Granite Speech's special tokens."""
    return tokenizer.build([INSTRUCTION, "drei rote Äpfel"] * 20)


def ends(words: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The ids that a language model's config knows of its tokenizer."""
    return {f"{name}_token_id": getattr(words, f"{name}_token_id") for name in ("bos", "eos", "pad")}
