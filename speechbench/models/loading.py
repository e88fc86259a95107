"""From a model's spec, run folder or checkpoint folder to the model."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from speechbench.builtin import MODEL_TYPES
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.grammar import parse
from speechbench.hub import check_revision, fetch, is_hub_name
from speechbench.models.base import SpeechModel
from speechbench.models.checkpoint import CONFIG, blocks, model_type_of
from speechbench.models.weightless import is_weightless, without_weights
from speechbench.out_of_memory import ShortOfMemoryError, is_out_of_memory
from speechbench.registry import MODELS
from speechbench.run_files import read_json
from speechbench.run_schema import RESULT, RUN, TRAINED
from speechbench.specs import Spec

_OURS = frozenset({"tiny", *MODEL_TYPES.values()})


def checkpoint_of(folder: Path) -> Path:
    """The checkpoint that a folder stands for: of a run folder its trained model, otherwise itself.

    Raises:
        UsageError: If it is a run folder that is unfinished, or of the base model, which trains nothing.
    """
    if not (folder / RUN).is_file():
        return folder
    if not (folder / RESULT).is_file():
        raise UsageError(f"run {folder} is unfinished: finish it by its command, or name a finished run")
    final = folder / TRAINED
    if not final.is_dir():
        raise UsageError(
            f"run {folder} has no trained model: a base run trains nothing; name a run of a trainer, or the base "
            "model itself"
        )
    return final


def load_model(spec: str | Spec) -> SpeechModel:
    """Loads a model, onto the GPU where there is one and the spec names no other device.

    Args:
        spec: A registered name (`tiny`), a run folder, a checkpoint folder, or a name on the hub (`owner/model`);
            each takes parameters: `runs/a/b(train=projector)`.

    Raises:
        UsageError: If there is no such model or folder, or it takes no such parameter.
        SpeechbenchError: If the folder holds no complete model.
        MissingError: If a hub checkpoint cannot be had.
        ShortOfMemoryError: If memory does not hold it; the message says how much its weights take, where that is known.
    """
    parsed = spec if isinstance(spec, Spec) else parse(spec)
    try:
        return _loaded(parsed)
    except Exception as error:
        if isinstance(error, ShortOfMemoryError) or not is_out_of_memory(error):
            raise
        raise ShortOfMemoryError(f"model {parsed} does not fit into memory: {_what_it_takes(parsed)}") from error


def _loaded(spec: Spec) -> SpeechModel:
    base = _base_of(spec)
    if base is not None:
        model = _trained(Path(spec.name).expanduser(), base)
    else:
        found = model_of(spec)
        model = found.build(MODELS.get(found.name), "model")
        if not isinstance(model, SpeechModel):
            raise UsageError(f"model {spec} is no model: its class should extend speechbench.models.base.SpeechModel")
    model.name = str(spec)
    is_placed = getattr(model, "is_placed", False)  # by its parameter `device`
    return model.to("cuda") if torch.cuda.is_available() and not is_placed and not is_weightless() else model


def _what_it_takes(spec: Spec) -> str:
    """How much memory a model's weights take, where that can be known, and what would take less."""
    remedies = ["take a smaller model", "free memory"]
    if torch.cuda.is_available() and not str(spec.parameters.get("device", "cuda")).startswith("cpu"):
        remedies.insert(0, "take device=cpu")
    takes = "its weights are too large"
    try:
        with without_weights():
            weights = list(_loaded(spec).parameters())
    except Exception:  # a run of a model of the user's own, or memory is too short even to count
        weights = []
    if weights:
        dtype = max(weights, key=lambda weight: weight.numel()).dtype
        size = sum(weight.numel() * weight.element_size() for weight in weights)
        takes = f"its weights alone take {size / 2**30:.3g} GB in {str(dtype).removeprefix('torch.')}"
        if dtype == torch.float32:
            remedies.insert(0, "add dtype=bfloat16, which halves them")
    return f"{takes}: {', '.join(remedies[:-1])}, or {remedies[-1]}"


def code_hash(spec: str | Spec) -> str | None:
    """SHA-256 of the user's own code behind a model, so that a model whose code was edited is known for another.

    Args:
        spec: As `load_model` takes it; a run folder stands for the model that its training began with.

    Returns:
        Hexadecimal, of what `Registry.file_hash` looks at; `None` for models of ours.

    Raises:
        UsageError: If the code cannot be read, or the run is unfinished or has no trained model.
        SpeechbenchError: If the run's folder is broken.
    """
    parsed = spec if isinstance(spec, Spec) else parse(spec)
    base = _base_of(parsed)
    return MODELS.file_hash(parsed.name) if base is None else code_hash(base)


def _base_of(spec: Spec) -> Spec | None:
    """The model that a run folder's model was trained from, if one cannot be loaded without the other.

    What our models save is a whole checkpoint; what a model of the user's own saves, only it can read.
    """
    folder = Path(spec.name).expanduser()
    if not _is_folder(spec) or checkpoint_of(folder) == folder:
        return None
    base = parse(read_json(folder / RUN)["model"])
    is_own = base.name not in _OURS if base.name in MODELS.names() else ":" in base.name
    if not is_own and _base_of(base) is None:  # else a run from a run of the user's own model
        return None
    return replace(base, parameters={**base.parameters, **spec.parameters})


def _trained(run: Path, base: Spec) -> SpeechModel:
    """The base model with the weights that a run gave it."""
    final = checkpoint_of(run)
    model = load_model(base)
    model.load_weights(final)
    digest = hashlib.sha256(model.fingerprint.encode())
    for file in sorted(path for path in final.rglob("*") if path.is_file()):
        of_file = hashlib.sha256()
        for block in blocks(file):
            of_file.update(block)
        digest.update(of_file.digest())
    model.fingerprint = digest.hexdigest()
    return model


def _is_folder(spec: Spec) -> bool:
    """Whether a spec's name can only be that of a folder: it is no registered name, and no plug in a file."""
    return spec.name not in MODELS.names() and ":" not in spec.name and Path(spec.name).expanduser().is_dir()


def _registered(folder: Path) -> str:
    """The registered model that a checkpoint's config asks for."""
    found = model_type_of(folder)
    if found not in MODEL_TYPES:
        raise SpeechbenchError(
            f"{folder / CONFIG} is of a {found or 'nameless'} model, which is none that hears and is known here "
            f"({', '.join(MODEL_TYPES)}): name another checkpoint, or register a model of your own (docs/extending.md)"
        )
    return MODEL_TYPES[found]


def model_of(spec: Spec) -> Spec:
    """The spec with the name of a registered model, where a folder or a hub name stands in its place.

    A checkpoint's config says which model it is of.

    Raises:
        MissingError: If the hub's config cannot be had.
        SpeechbenchError: If the folder's config is missing, broken, or of no model that is known here.
        UsageError: If there is no such folder.
    """
    folder = Path(spec.name).expanduser()
    if _is_folder(spec):
        checkpoint = checkpoint_of(folder)
        return Spec(_registered(checkpoint), {**spec.parameters, "checkpoint": str(checkpoint)})
    if spec.name in MODELS.names() or ":" in spec.name or "/" not in spec.name:
        return spec  # unknown, which the registry says with the nearest name
    if is_hub_name(spec.name) and not folder.parent.is_dir():
        revision = spec.parameters.get("revision")
        check_revision(revision)
        config = fetch(spec.name, [CONFIG], lambda found: (found / CONFIG).is_file(), cast("str | None", revision))
        return Spec(_registered(config), {**spec.parameters, "checkpoint": spec.name})
    beside = [path.name for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    nearest = difflib.get_close_matches(folder.name, beside, n=1)
    hint = f"did you mean {str(folder.with_name(nearest[0]))!r}?" if nearest else "name a folder that is there"
    raise UsageError(f"model {spec.name}: there is no such folder; {hint}")
