"""Small random checkpoints of Qwen's real classes as the hub has them, and what their processors make of examples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    ProcessorMixin,
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2_5OmniProcessor,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example
from speechbench.models.qwen import QwenSpeechModel
from speechbench.models.qwen2_5_omni import Qwen25OmniThinker
from speechbench.models.qwen2_audio import Qwen2Audio

WINDOW = 4  # seconds; the hub's checkpoints have 30 and 300
TEXTS = ["Anna ist hier.", "eins, zwei", "Who did it?"]
EXTRA = {
    "audio_token": "<|AUDIO|>", "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>",
    "image_token": "<|IMAGE|>", "video_token": "<|VIDEO|>", "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
}  # fmt: skip
TEXT = {
    "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 320, "max_position_embeddings": 400, "initializer_range": 0.3,
    "tie_word_embeddings": False,
}  # fmt: skip
AUDIO = {
    "d_model": 16, "encoder_ffn_dim": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "num_mel_bins": 8,
    "max_source_positions": 50 * WINDOW, "initializer_range": 0.3,
}  # fmt: skip
VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 24}
# That of Qwen2.5-Omni's processor, without images and videos.
OMNI_TEMPLATE = """\
{%- for message in messages %}<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for content in message['content'] %}\
{% if content['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>{% else %}{{ content['text'] }}{% endif %}\
{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


class Small(NamedTuple):
    """A checkpoint, the class that loads it, and a processor of transformers' own."""

    folder: Path
    adapter: type[QwenSpeechModel]
    processor: ProcessorMixin


def _tokenizer(end: str) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *EXTRA.values()]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        [*TEXTS, "user assistant system"] * 9,
        trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=end, pad_token="<|endoftext|>", extra_special_tokens=EXTRA,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"], clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


@pytest.fixture(scope="session")
def qwen2_audio(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Without a file of a chat template, as the processor's default speaks of the hub, and with the end of a text."""
    folder = tmp_path_factory.mktemp("qwen2-audio")
    torch.manual_seed(0)
    words, extractor = _tokenizer("<|endoftext|>"), WhisperFeatureExtractor(feature_size=8, chunk_length=WINDOW)
    token = words.convert_tokens_to_ids("<|AUDIO|>")
    hearing, writing = AUDIO | {"model_type": "qwen2_audio_encoder"}, TEXT | {"model_type": "qwen2"}
    config = Qwen2AudioConfig(audio_config=hearing, text_config=writing, audio_token_index=token)
    config.initializer_range = 0.3
    Qwen2AudioForConditionalGeneration(config).save_pretrained(folder)
    words.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return Small(folder, Qwen2Audio, Qwen2AudioProcessor(extractor, words))


@pytest.fixture(scope="session")
def omni(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A whole Qwen2.5-Omni but for its voice, with its chat template in the processor's file of old."""
    folder = tmp_path_factory.mktemp("omni")
    torch.manual_seed(0)
    words, extractor = _tokenizer("<|im_end|>"), WhisperFeatureExtractor(feature_size=8, chunk_length=WINDOW)
    ids = {
        f"{kind}_token_index": words.convert_tokens_to_ids(EXTRA[f"{kind}_token"])
        for kind in ("audio", "image", "video")
    }
    ids |= {
        f"{kind}_{end}_token_id": words.convert_tokens_to_ids(EXTRA[f"{kind}_{short}_token"])
        for kind in ("audio", "vision")
        for end, short in (("start", "bos"), ("end", "eos"))
    }
    rope = {"mrope_section": [1, 1, 1], "rope_type": "default", "type": "default"}
    thinker = {
        "audio_config": AUDIO | {"n_window": 25, "output_dim": 24},
        "text_config": TEXT | {"rope_scaling": rope, "rope_theta": 1e6},
        "vision_config": VISION, "initializer_range": 0.3, **ids,
    }  # fmt: skip
    whole = Qwen2_5OmniForConditionalGeneration(Qwen2_5OmniConfig(thinker_config=thinker, enable_audio_output=False))
    whole.save_pretrained(folder)
    words.save_pretrained(folder)
    extractor.save_pretrained(folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": OMNI_TEMPLATE}))
    processor = object.__new__(Qwen2_5OmniProcessor)  # which asks for torchvision to be made, for what it sees
    processor.image_processor = processor.video_processor = SimpleNamespace(merge_size=2)
    processor.tokenizer, processor.feature_extractor, processor.chat_template = words, extractor, OMNI_TEMPLATE
    for name, token in EXTRA.items():
        setattr(processor, name, token)
        setattr(processor, f"{name}_id", words.convert_tokens_to_ids(token))
    return Small(folder, Qwen25OmniThinker, processor)


@pytest.fixture(params=["qwen2_audio", "omni"])
def small(request: pytest.FixtureRequest) -> Small:
    found: Small = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """An odd number of frames, an even one, and the whole window; the placeholder first, in the middle and last."""
    folder = tmp_path_factory.mktemp("audio")
    made = []
    instructions = ["<|audio|> translate it", "Listen to <|audio|> and say who", "What is said? <|audio|>"]
    for number, (samples, instruction) in enumerate(zip([11_279, 27_200, 16_000 * WINDOW], instructions, strict=True)):
        path = folder / f"{number}.wav"
        soundfile.write(path, np.random.default_rng(number).standard_normal(samples) * 0.1, 16000)
        made.append(Example(f"e{number}", Audio(path), instruction, (TEXTS[number],), "spoken", "en", "de"))
    return made


@pytest.fixture(scope="session")
def inputs_of() -> Callable[[Small, QwenSpeechModel, Example], dict[str, torch.Tensor]]:
    def inputs(small: Small, model: QwenSpeechModel, example: Example) -> dict[str, torch.Tensor]:
        """What the model's own processor makes of an example."""
        before, after = example.instruction.split("<|audio|>")
        content: list[dict[str, Any]] = [{"type": "text", "text": before}] if before else []
        content += [{"type": "audio", "audio_url": "somewhere"}]
        content += [{"type": "text", "text": after}] if after else []
        system = [{"type": "text", "text": model.default_system_prompt}]
        talk = [{"role": "system", "content": system}, {"role": "user", "content": content}]
        text = small.processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
        assert example.audio is not None
        made = small.processor(
            text=text, audio=[example.audio.samples(16000)], return_tensors="pt", sampling_rate=16000
        )
        return dict(made)

    return inputs
