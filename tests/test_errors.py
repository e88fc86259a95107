"""What fails in writing, by whichever library, is one sentence."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from speechbench.errors import SpeechbenchError, writing
from speechbench.models.tiny import FOLDER

MANY = {"a": torch.zeros(9999)}
WRITES: dict[str, Callable[[Path], object]] = {
    "safetensors": lambda path: save_file(MANY, path),
    "tokenizers": lambda path: AutoTokenizer.from_pretrained(FOLDER).backend_tokenizer.save(str(path)),
    "torch": lambda path: torch.save(MANY, path),
    "python": lambda path: path.write_text("x" * 9999),
}


@contextmanager
def little_room() -> Iterator[None]:
    """No file of this process may grow beyond 4 kB: not even the one that pytest may be reporting to."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("library", WRITES)
def test_what_does_not_fit_is_told_with_place_reason_and_fix(library: str, tmp_path: Path) -> None:
    half = tmp_path / ".final.tmp"
    half.mkdir()
    with pytest.raises(SpeechbenchError) as caught, little_room(), writing(Path("runs/a/final"), half):
        WRITES[library](half / "file")
    reason = "torch could not write all of it" if library == "torch" else os.strerror(errno.EFBIG)
    assert str(caught.value).startswith(f"runs/a/final cannot be written: {reason}; make room there")
    assert not half.exists()


@pytest.mark.parametrize("library", ["safetensors", "tokenizers", "python"])
def test_a_place_that_is_gone_is_told_as_such(library: str, tmp_path: Path) -> None:
    with pytest.raises(SpeechbenchError, match=r"^runs/a cannot be written: No such file or"), writing(Path("runs/a")):
        WRITES[library](tmp_path / "gone" / "file")


def test_what_is_no_failure_to_write_stays_what_it_is_and_leaves_no_half(tmp_path: Path) -> None:
    for error in (KeyError("no number after os error"), RuntimeError("a mistake in a model's save")):
        tmp_path.mkdir(exist_ok=True)
        with pytest.raises(type(error)) as caught, writing(Path("runs/a"), tmp_path):
            raise error
        assert caught.value is error and not tmp_path.exists()
    sentence = SpeechbenchError("runs/b cannot be written (os error 28)")
    with pytest.raises(SpeechbenchError) as told, writing(Path("runs/a")):
        raise sentence
    assert told.value is sentence
