"""The embedded model's tokenizer: byte-complete BPE, so that any text can be written."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER

VOCABULARY = 1024
END, PAD, ROLE, ROLE_END = "<|end_of_text|>", "<|pad|>", "<|start_of_role|>", "<|end_of_role|>"

# Granite's layout of a dialogue, without its date.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] "
    "+ '<|end_of_text|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}"
)


def build(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on these texts."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, PAD, AUDIO_PLACEHOLDER, ROLE, ROLE_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[AUDIO_PLACEHOLDER, ROLE, ROLE_END],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
