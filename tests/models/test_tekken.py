"""Mistral's tokenizer file against byte-pair encoding done by hand, and against transformers' own reading of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import regex
import transformers
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from speechbench.errors import SpeechbenchError
from speechbench.models.tekken import load_tekken

SENTENCE = "Das ist ein Straßenfest, 2024!\nWer    kommt noch? It's 日本語."


def by_hand(text: str, path: Path) -> list[int]:
    """The rule of tiktoken, mistral-common's encoder: of all neighbours, those that make the lowest rank join first."""
    content = json.loads(path.read_text())
    first = content["config"]["default_num_special_tokens"]
    room = content["config"]["default_vocab_size"] - first
    ranks = {base64.b64decode(t["token_bytes"]): r for r, t in enumerate(content["vocab"][:room])}
    ids = []
    for piece in regex.findall(content["config"]["pattern"], text):
        parts = [piece.encode()] if piece.encode() in ranks else [bytes([byte]) for byte in piece.encode()]
        while len(parts) > 1:
            rank, place = min((ranks.get(parts[i] + parts[i + 1], room), i) for i in range(len(parts) - 1))
            if rank == room:
                break
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        ids += [first + ranks[part] for part in parts]
    return ids


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40) | st.text("aeinrst dS.ß\n", max_size=40))
def test_text_is_encoded_by_the_ranks_and_comes_back(tekken: Path, text: str) -> None:
    tokenizer = load_tekken(tekken)
    assume(not any(token in text for token in tokenizer.all_special_tokens))
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert ids == by_hand(text, tekken)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_special_tokens_have_the_files_ids_and_those_it_only_counts_are_special_too(tekken: Path) -> None:
    tokenizer = load_tekken(tekken)
    assert tokenizer.convert_tokens_to_ids(["<unk>", "<s>", "</s>", "[INST]", "[AUDIO]"]) == [0, 1, 2, 3, 24]
    assert tokenizer.encode("<s>[INST]<SPECIAL_29>", add_special_tokens=False) == [1, 3, 29]
    assert all(tokenizer.added_tokens_decoder[id_].special for id_ in range(30))
    assert len(tokenizer) == json.loads(tekken.read_text())["config"]["default_vocab_size"]


@pytest.mark.skipif(Version(transformers.__version__) < Version("5"), reason="transformers reads the file from 5 on")
def test_transformers_reads_the_same(tekken: Path) -> None:
    from transformers.integrations.mistral import convert_tekken_tokenizer

    ours, theirs = load_tekken(tekken), convert_tekken_tokenizer(str(tekken))
    assert ours.get_vocab() == theirs.get_vocab()
    for text in (SENTENCE, f"<s>[INST]{SENTENCE}[/INST]"):
        assert ours.encode(text, add_special_tokens=False) == theirs.encode(text, add_special_tokens=False)


def test_a_conversation_is_written_as_mistral_common_writes_it(tekken: Path) -> None:
    tokenizer = load_tekken(tekken)
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Anna"},
        {"role": "user", "content": "When?"},
    ]
    written = tokenizer.apply_chat_template(conversation, tokenize=False)
    assert written == "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Who?[/INST]Anna</s>[INST]When?[/INST]"


def _without_specials(content: dict[str, Any]) -> None:
    del content["special_tokens"]


def _with_a_gap(content: dict[str, Any]) -> None:
    del content["special_tokens"][3]


def _without_bytes(content: dict[str, Any]) -> None:
    content["vocab"] = content["vocab"][7:]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [(_without_specials, "special_tokens"), (_with_a_gap, "have gaps"), (_without_bytes, "lacks single bytes")],
)
def test_what_is_no_such_file_is_named(
    tekken: Path, tmp_path: Path, spoil: Callable[[dict[str, Any]], None], says: str
) -> None:
    content = json.loads(tekken.read_text())
    spoil(content)
    (tmp_path / "tekken.json").write_text(json.dumps(content))
    with pytest.raises(SpeechbenchError, match=rf"tekken\.json is no tokenizer .*{says}.*; copy, download"):
        load_tekken(tmp_path / "tekken.json")
