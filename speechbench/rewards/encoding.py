"""What scorers on text encoders share: telling their files apart, and texts in padded batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BLOCK = 1 << 20  # bytes read at a time

# With so many tokens a forward is as fast per token as it gets, so that a longer batch gains nothing and pads more.
FULL_BATCH = {"cpu": 512, "cuda": 8192}


def sha256_of(files: Iterable[Path]) -> str:
    """SHA-256 of the files' contents, one after the other, hexadecimal."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def files_of(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """A folder's files, pattern by pattern, each once."""
    found = [file for pattern in patterns for file in sorted(folder.glob(pattern)) if file.is_file()]
    return list(dict.fromkeys(found))


def name_of(model: str) -> str:
    """A name on the hub as it is; of a folder its own name, without those that lead to it."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.exists() else model


def batches_by_length(lengths: Sequence[int], size: int, full: int) -> Iterator[list[int]]:
    """Which texts to encode together: those of about one length, the shortest first.

    Args:
        lengths: Of each text, in tokens.
        size: At most so many texts in a batch.
        full: A batch of so many tokens takes no longer text any more.

    Yields:
        Positions in `lengths`; each stands in one batch.
    """
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        is_full = batch and len(batch) * lengths[batch[-1]] >= full and lengths[number] > lengths[batch[-1]]
        if is_full or len(batch) == size:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def padded(tokens: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and their mask, 1 for tokens and 0 for padding on the right, both [text, token]."""
    import torch

    rows = [torch.tensor(ids, dtype=torch.long) for ids in tokens]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
    return ids.to(device), mask.to(device)
