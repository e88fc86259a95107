"""Where a COMET checkpoint and its encoder stand: in a folder, in the hub's cache, or on the hub."""

from __future__ import annotations

from pathlib import Path

from speechbench.errors import MissingError, UsageError
from speechbench.hub import fetch
from speechbench.rewards.encoding import sha256_of

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "sentencepiece.model")
_OF_ENCODER = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", *_TOKENIZERS)
_LAYOUT = "Unbabel's layout is hparams.yaml and checkpoints/model.ckpt"


def find_checkpoint(model: str) -> Path:
    """The .ckpt file, downloaded if it has to be.

    Args:
        model: A .ckpt file, a folder in Unbabel's layout, or a name on the hub.

    Raises:
        MissingError: If it is not on this machine and cannot be downloaded; within seconds if there is no hub.
        UsageError: If the folder does not say which file it is.
    """
    path = Path(model).expanduser()
    if path.suffix == ".ckpt":
        if not path.is_file():
            raise MissingError(
                f"comet: there is no checkpoint {path}: run `hf download Unbabel/wmt22-comet-da` for one"
            )
        return path
    if not path.is_dir():
        path = fetch(model, ("hparams.yaml", "checkpoints/*.ckpt"), _is_whole)
    found = _checkpoints(path)
    usual = [file for file in found if file.name == "model.ckpt"] or found
    if not usual:
        raise UsageError(
            f"comet: {path} is no COMET checkpoint, it has no checkpoints/*.ckpt ({_LAYOUT}): name another folder, a "
            ".ckpt file, or a model on the hub"
        )
    if len(usual) > 1:
        raise UsageError(
            f"comet: {path}/checkpoints holds {len(found)} .ckpt files where one is wanted: "
            "name the file itself, comet(model=path/to/file.ckpt)"
        )
    return usual[0]


def find_encoder(name: str, root: Path) -> Path:
    """The folder with the encoder's configuration and tokenizer: beside the checkpoint, at a path, or of the hub.

    Args:
        name: The checkpoint's hyper-parameter `pretrained_model`.
        root: The checkpoint's folder.

    Raises:
        MissingError: If it is not on this machine and cannot be downloaded; within seconds if there is no hub.
    """
    for folder in (root / name, root / "encoder", Path(name)):
        if _is_encoder(folder):
            return folder
    return fetch(name, _OF_ENCODER, _is_encoder)


def encoder_hash(folder: Path) -> str:
    """SHA-256 of the encoder's configuration and tokenizer, whose weights are the checkpoint's."""
    return sha256_of(file for name in _OF_ENCODER if (file := folder / name).is_file())


def _checkpoints(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").glob("*.ckpt"))


def _is_whole(folder: Path) -> bool:
    """Without hparams.yaml, a checkpoint would be taken for one of another class."""
    return (folder / "hparams.yaml").is_file() and bool(_checkpoints(folder))


def _is_encoder(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any((folder / file).is_file() for file in _TOKENIZERS)
