"""Mistral's tokenizer file, tekken.json, as a tokenizer of transformers.

The hub's checkpoints of Voxtral hold no other. mistral-common reads it, with another interface; here the same
byte-pair encoding is built from the file alone.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from speechbench.errors import SpeechbenchError
from speechbench.models.checkpoint import MEND, read_json

TEKKEN = "tekken.json"
# As mistral-common's InstructTokenizerV7 writes a conversation: no white space around the control tokens.
_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}[SYSTEM_PROMPT]{{ message['content'] }}[/SYSTEM_PROMPT]"
    "{% elif message['role'] == 'user' %}[INST]{{ message['content'] }}[/INST]"
    "{% else %}{{ message['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)


def load_tekken(path: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a tekken.json, with the chat template of Mistral's instruction format, version 7.

    The file's special tokens have the first ids, filled up to the number that it declares; the text's tokens follow
    in the order of their ranks, as many as the declared vocabulary has room for.

    Args:
        path: Of the file.

    Raises:
        SpeechbenchError: If it is no such file.
    """
    content = read_json(path)
    try:
        specials, ranks = _specials(content), _ranks(content)
        pattern = str(content["config"]["pattern"])
    except (KeyError, TypeError, ValueError) as error:
        raise SpeechbenchError(
            f"{path} is no tokenizer of Mistral's with its special tokens: {error}; {MEND}"
        ) from error
    letters = _letters()
    spell = {token: "".join(letters[byte] for byte in token) for token in ranks}
    vocabulary = {token: number for number, token in enumerate(specials)}
    vocabulary |= {spell[token]: len(specials) + rank for token, rank in ranks.items()}
    model = BPE(vocab=vocabulary, merges=[(spell[a], spell[b]) for a, b in _merges(ranks)], ignore_merges=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
        chat_template=_CHAT_TEMPLATE,
    )


def _specials(content: dict[str, Any]) -> list[str]:
    """Control tokens by id, those that the file only counts under mistral-common's names for them."""
    named = sorted(content["special_tokens"], key=lambda token: token["rank"])
    if [token["rank"] for token in named] != list(range(len(named))):
        raise ValueError("the ranks of its special tokens have gaps")
    count = int(content["config"]["default_num_special_tokens"])
    return [token["token_str"] for token in named] + [f"<SPECIAL_{id_}>" for id_ in range(len(named), count)]


def _ranks(content: dict[str, Any]) -> dict[bytes, int]:
    config = content["config"]
    room = int(config["default_vocab_size"]) - int(config["default_num_special_tokens"])
    tokens = [base64.b64decode(token["token_bytes"]) for token in content["vocab"][:room]]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    if len(ranks) < 256 or any(bytes([byte]) not in ranks for byte in range(256)):
        raise ValueError("its vocabulary lacks single bytes")
    return ranks


def _merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Every pair of tokens that makes a token, the pairs of the token of lowest rank first."""
    return [
        pair
        for token in ranks  # in the order of their ranks
        for pair in sorted(
            (
                (token[:cut], token[cut:])
                for cut in range(1, len(token))
                if token[:cut] in ranks and token[cut:] in ranks
            ),
            key=lambda pair: (ranks[pair[0]], ranks[pair[1]]),
        )
    ]


def _letters() -> list[str]:
    """How tokenizers' ByteLevel spells each byte: itself where it is printable, else the letters from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
