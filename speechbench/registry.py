"""One registry for the four kinds of plug: rewards, benchmarks, models, trainers.

A plug is found by its name (`bleu`), or where it stands (`path/to/file.py:name`). Built-in plugs are
lazy: only their place is known until they are asked for, so that listing names imports nothing heavy.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from speechbench.errors import SpeechbenchError, UsageError

T = TypeVar("T")
P = TypeVar("P")


class Registry(Generic[T]):
    """Names of one kind of plug.

    Args:
        kind: What is registered, in the singular ("reward"); the entry-point group is `speechbench.<kind>s`.
        builtin: Name to "module:attribute", imported on first use.
    """

    def __init__(self, kind: str, builtin: dict[str, str] | None = None) -> None:
        self.kind = kind
        self._lazy = dict(builtin or {})
        self._loaded: dict[str, T] = {}
        self._scanned_entry_points = False

    def register(self, name: str) -> Callable[[P], P]:
        """Decorator that registers a class or function under a name.

        Raises:
            UsageError: If something else already has the name; the message says where it was registered.
        """

        def decorate(plug: P) -> P:
            value = cast(T, plug)
            if self._is_taken(name, value):
                raise UsageError(f"{self.kind} {name!r} is already registered, by {self.where(name)}")
            self._loaded[name] = value
            return plug

        return decorate

    def _is_taken(self, name: str, value: T) -> bool:
        if name in self._loaded:
            first = self._loaded[name]
            return first is not value and _place(first) != _place(value) and not _is_new_edition(first, value)
        return name in self._lazy and self._lazy[name] != _target(value)

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._scan_entry_points()
        return sorted({*self._lazy, *self._loaded})

    def where(self, name: str) -> str:
        """Where a plug was registered: its file and line, or for one not yet loaded its module."""
        return _place(self._loaded[name]) if name in self._loaded else self._lazy[name]

    def get(self, name: str) -> T:
        """The plug with this name, or at this place.

        Args:
            name: A registered name, or `path/to/file.py:attribute`.

        Raises:
            UsageError: If there is none; the message names the nearest.
        """
        if name in self._loaded:
            return self._loaded[name]
        path, colon, attribute = name.rpartition(":")
        if colon and path.endswith(".py"):
            return self._from_file(Path(path), attribute)
        if name not in self._lazy:
            self._scan_entry_points()
        if name not in self._lazy:
            raise UsageError(self._unknown(name))
        module, _, attribute = self._lazy[name].partition(":")
        plug = getattr(importlib.import_module(module), attribute)
        return self._loaded.setdefault(name, plug)

    def file_hash(self, name: str) -> str | None:
        """SHA-256 of the text of the file that `path/to/file.py:attribute` names; `None` for a registered name."""
        path, colon, _ = name.rpartition(":")
        if name in self._loaded or not colon or not path.endswith(".py"):
            return None
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    def _scan_entry_points(self) -> None:
        if self._scanned_entry_points:
            return
        for entry in entry_points(group=f"speechbench.{self.kind}s"):
            if self._lazy.get(entry.name) == entry.value:
                continue  # the same installation, found twice
            if entry.name in self._lazy or entry.name in self._loaded:
                raise UsageError(
                    f"{self.kind} {entry.name!r} of the installed entry point {entry.value} is already registered, "
                    f"by {self.where(entry.name)}"
                )
            self._lazy[entry.name] = entry.value
        self._scanned_entry_points = True

    def _unknown(self, name: str) -> str:
        nearest = difflib.get_close_matches(name, self.names(), n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(self.names())}"
        return f"unknown {self.kind} {name!r}: {hint}"

    def _from_file(self, path: Path, attribute: str) -> T:
        if not path.is_file():
            raise UsageError(f"{self.kind} {path}:{attribute}: there is no file {path.resolve()}")
        module = _module_of_file(path.resolve())
        if attribute in self._loaded and inspect.getmodule(self._loaded[attribute]) is module:
            return self._loaded[attribute]
        if not hasattr(module, attribute):
            public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            nearest = difflib.get_close_matches(attribute, public, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise UsageError(f"{path} defines no {attribute!r}{hint}")
        return cast(T, getattr(module, attribute))


def _module_of_file(path: Path) -> Any:
    """Imports a file once, under a name of its own, and again once it was edited.

    It is compiled here from the text whose hash is in the name: Python's own cache of compiled files takes two
    editions of one second and one length for the same.
    """
    text = path.read_bytes()
    name = f"speechbench_plug_{path.stem}_{hashlib.sha256(bytes(path) + text).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(text, path, "exec"), vars(module))
    except SpeechbenchError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        raise UsageError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _is_new_edition(first: object, second: object) -> bool:
    """Whether both are of one file that was edited and imported again, or of one notebook's cells."""
    if getattr(first, "__module__", None) == getattr(second, "__module__", None):
        return _target(first) == _target(second) and _target(first).startswith("__main__:")
    return _file(first) is not None and _file(first) == _file(second)


def _file(plug: object) -> str | None:
    try:
        return inspect.getsourcefile(cast(Any, plug))
    except TypeError:
        return None


def _target(plug: object) -> str:
    return f"{getattr(plug, '__module__', '?')}:{getattr(plug, '__qualname__', '?')}"


def _place(plug: object) -> str:
    try:
        _, line = inspect.getsourcelines(cast(Any, plug))
        return f"{inspect.getsourcefile(cast(Any, plug))}:{line}"
    except (TypeError, OSError):
        return _target(plug)


REWARDS: Registry[Any] = Registry(
    "reward",
    {
        "bleu": "speechbench.rewards.overlap:Bleu",
        "chrf": "speechbench.rewards.overlap:Chrf",
        "binary": "speechbench.rewards.exact:Binary",
        "comet": "speechbench.rewards.comet:Comet",
        "constant": "speechbench.rewards.controls:Constant",
        "random": "speechbench.rewards.controls:Random",
        "slots": "speechbench.benchmarks.mini.slots:Slots",
    },
)
BENCHMARKS: Registry[Any] = Registry(
    "benchmark",
    {
        "covost2": "speechbench.benchmarks.covost2:Covost2",
        "librisqa": "speechbench.benchmarks.librisqa:LibriSQA",
        "manifest": "speechbench.benchmarks.manifest:Manifest",
        "covost2-mini": "speechbench.benchmarks.mini.corpora:Covost2Mini",
        "librisqa-mini": "speechbench.benchmarks.mini.corpora:LibriSQAMini",
    },
)
MODELS: Registry[Any] = Registry(
    "model",
    {
        "tiny": "speechbench.models.tiny:Tiny",
        "granite-speech": "speechbench.models.granite_speech:GraniteSpeech",
    },
)
TRAINERS: Registry[Any] = Registry(
    "trainer",
    {
        "sft": "speechbench.trainers.sft:train",
        "grpo": "speechbench.trainers.grpo:train",
        "mixed-grpo": "speechbench.trainers.mixed_grpo:train",
    },
)


def register_reward(name: str) -> Callable[[P], P]:
    """Registers a reward: a `speechbench.rewards.Reward` class, or a function `(completions, **columns)`."""
    return REWARDS.register(name)


def register_benchmark(name: str) -> Callable[[P], P]:
    """Registers a `speechbench.benchmarks.Benchmark` class."""
    return BENCHMARKS.register(name)


def register_model(name: str) -> Callable[[P], P]:
    """Registers a `speechbench.models.SpeechModel` class."""
    return MODELS.register(name)


def register_trainer(name: str) -> Callable[[P], P]:
    """Registers a function `train(model, benchmark, reward, config) -> TrainResult`."""
    return TRAINERS.register(name)
