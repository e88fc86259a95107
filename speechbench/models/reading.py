"""A checkpoint's folder read by transformers, and what is wrong with it said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType

import torch
import transformers
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from speechbench.errors import MissingError, SpeechbenchError
from speechbench.hub import TOKENIZERS
from speechbench.models.checkpoint import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    MEND,
    check_checkpoint,
    check_config,
    check_weights,
    read_json,
)
from speechbench.models.tekken import TEKKEN, load_tekken
from speechbench.models.weightless import empty_network, is_weightless

PROMPTING = "speechbench.json"
"""File of a checkpoint that says how the model is prompted; the hub's checkpoints have none."""


def load_network(folder: Path, architecture: str, model_types: Sequence[str], dtype: torch.dtype) -> PreTrainedModel:
    """The model of transformers that a folder holds, without an adapter that lies beside its weights.

    Args:
        folder: Of the checkpoint.
        architecture: Name of the class of transformers.
        model_types: What the folder's config may say that it is.
        dtype: Of the weights.

    Raises:
        MissingError: If this transformers does not know the class.
        SpeechbenchError: If the folder holds no such model, or not all of its weights.
    """
    check_config(folder, model_types)
    class_ = getattr(transformers, architecture, None)
    if class_ is None:
        raise MissingError(
            f"{folder} is a {model_types[0]} model, which transformers {transformers.__version__} does not know: "
            "pip install -U 'transformers>=5'"
        )
    if is_weightless():
        return empty_network(class_, folder, dtype)
    check_checkpoint(folder, model_types)
    view = folder
    try:
        with _without_adapter(folder) as view:
            model, report = class_.from_pretrained(
                view,
                dtype=dtype,
                output_loading_info=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # they stand in the report, and are refused below
            )
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0].replace(str(view), str(folder)).rstrip(".")
        raise SpeechbenchError(f"{folder} holds no {model_types[0]} model: {said}; {MEND}") from error
    check_weights(folder, report)
    loaded: PreTrainedModel = model
    loaded.config.name_or_path = str(folder)
    return loaded


@contextmanager
def _without_adapter(folder: Path) -> Iterator[Path]:
    """The folder as it would be without an adapter.

    With one, transformers 4.57 takes the weights from where the adapter's config says that they were once, and what 5
    reports of the weights is of the adapter alone.
    """
    if not (folder / ADAPTER_CONFIG).is_file():
        yield folder
        return
    with TemporaryDirectory() as name:
        for file in folder.resolve().iterdir():
            if file.name not in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
                (Path(name) / file.name).symlink_to(file)
        yield Path(name)


def load_tokenizer(folder: Path, chat_template: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint, which must have a chat template; Mistral's own file of one is read here.

    Args:
        folder: Of the checkpoint.
        chat_template: In the place of the tokenizer's own.

    Raises:
        SpeechbenchError: If it is missing or broken.
    """
    if (folder / TEKKEN).is_file():
        return load_tekken(folder / TEKKEN)
    if not any(True for pattern in TOKENIZERS for _ in folder.glob(pattern)):  # transformers 5 would make an empty one
        raise SpeechbenchError(f"{folder} lacks its tokenizer; {MEND}")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # which one depends on the file that is missing or broken: there are half a dozen
        raise SpeechbenchError(
            f"{folder} lacks its tokenizer, or it is broken ({type(error).__name__}); {MEND}"
        ) from error
    tokenizer.chat_template = chat_template or tokenizer.chat_template
    if tokenizer.chat_template is None:
        raise SpeechbenchError(f"{folder}: its tokenizer has no chat template, by which the model is asked; {MEND}")
    return tokenizer


def system_prompt(folder: Path, default: str | None) -> str | None:
    """What begins every conversation with a checkpoint, as its folder says; `None` for nothing.

    Args:
        folder: Of the checkpoint.
        default: For one that does not say it.

    Raises:
        SpeechbenchError: If what it says is no text.
    """
    path = folder / PROMPTING
    content = read_json(path) if path.is_file() else {"system_prompt": default}
    prompt = content.get("system_prompt", ...)
    if not isinstance(prompt, (str, NoneType)):
        raise SpeechbenchError(f"{path}: its 'system_prompt' must be a text, or null for none; {MEND}")
    return prompt
