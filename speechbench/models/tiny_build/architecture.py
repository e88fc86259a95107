"""The dimensions of the embedded model: Granite Speech's architecture, 3.5 million parameters."""

from __future__ import annotations

from transformers import GraniteSpeechConfig, PreTrainedTokenizerBase

CHARACTERS = "\0 abcdefghijklmnopqrstuvwxyz"  # of the encoder's CTC head; the first is the blank


def config(tokenizer: PreTrainedTokenizerBase, audio_token: str) -> GraniteSpeechConfig:
    """A real Granite Speech configuration of small dimensions for this tokenizer."""
    encoder = {
        "input_dim": 160,
        "num_layers": 3,
        "hidden_dim": 128,
        "feedforward_mult": 4,
        "num_heads": 4,
        "dim_head": 32,
        "output_dim": len(CHARACTERS),
        "context_size": 128,
        "max_pos_emb": 128,
        "dropout": 0.1,
        "conv_kernel_size": 15,
        "conv_expansion_factor": 2,
    }
    projector = {
        "model_type": "blip_2_qformer",
        "hidden_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "encoder_hidden_size": encoder["hidden_dim"],
        "cross_attention_frequency": 1,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 64,
        "vocab_size": 1,
    }
    text = {
        "model_type": "granite",
        "vocab_size": len(tokenizer),
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 1024,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return GraniteSpeechConfig(
        text_config=text,
        encoder_config=encoder,
        projector_config=projector,
        audio_token_index=tokenizer.convert_tokens_to_ids(audio_token),
        has_lora_adapter=False,
        downsample_rate=5,
        window_size=15,
        tie_word_embeddings=True,
    )
