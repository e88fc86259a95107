"""One registry for the four kinds of plug: rewards, benchmarks, models, trainers.

A plug is found by its name (`bleu`), or where it stands (`path/to/file.py:name`). Built-in plugs and those of
installed packages are lazy: only their place is known until they are asked for, so that listing names imports
nothing heavy, and a broken package harms nobody who does not ask for its plugs.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from speechbench import builtin
from speechbench.errors import SpeechbenchError, UsageError, did_you_mean
from speechbench.sources import code_hash_of, file_of, place_of, target_of

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
        self._code: dict[str, str | None] = {}  # hashes of what was registered by decorator, as it then was
        self._installed: dict[str, list[EntryPoint]] | None = None  # by name; more than one if packages clash

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
            if name not in self._lazy:
                self._code[name] = code_hash_of(value)
            return plug

        return decorate

    def _is_taken(self, name: str, value: T) -> bool:
        if name in self._loaded:
            first = self._loaded[name]
            return first is not value and place_of(first) != place_of(value) and not _is_new_edition(first, value)
        return name in self._lazy and self._lazy[name] != target_of(value)

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted({*self._lazy, *self._loaded, *self._entries()})

    def places(self) -> dict[str, str]:
        """All registered names, sorted, with `where` each was registered."""
        return {name: self.where(name) for name in self.names()}

    def is_at_hand(self, name: str) -> bool:
        """Whether asking for a registered plug imports no package but ours: it is built in, or was registered here."""
        return name not in self._entries()

    def where(self, name: str) -> str:
        """Where a plug was registered: its file and line, its module, or the package that declares it.

        Where several claim the name, all of them, joined by "and by".
        """
        entries = self._entries().get(name, [])
        places = [f"{entry.value} of the package {_package(entry)}" for entry in entries]
        if name in self._loaded and target_of(self._loaded[name]) not in [entry.value for entry in entries]:
            places.insert(0, place_of(self._loaded[name]))
        elif name in self._lazy:
            places.insert(0, self._lazy[name])
        return " and by ".join(places)

    def get(self, name: str) -> T:
        """The plug with this name, or at this place.

        Args:
            name: A registered name, or `path/to/file.py:attribute`.

        Raises:
            UsageError: If there is none; the message names the nearest.
        """
        if name in self._entries():
            return self._from_package(name)
        if name in self._loaded:
            return self._loaded[name]
        path, colon, attribute = name.rpartition(":")
        if colon and path.endswith(".py"):
            return self._from_file(Path(path), attribute)
        if name not in self._lazy:
            raise UsageError(self._unknown(name))
        module, _, attribute = self._lazy[name].partition(":")
        plug = getattr(importlib.import_module(module), attribute)
        return self._loaded.setdefault(name, plug)

    def file_hash(self, name: str) -> str | None:
        """SHA-256 of the code behind a plug, so that an edited one is known for another.

        It is of the text of the file that the plug stands in; of a plug that a notebook or the script that is run
        has registered, of the text of its definition alone. What was registered by decorator counts as it was then:
        that is what runs, whatever was written into the file since.

        Returns:
            Hexadecimal; `None` for a built-in plug, whose version is speechbench's, and for an unknown name.

        Raises:
            UsageError: If the text cannot be read.
        """
        found: str | None
        path, colon, _ = name.rpartition(":")
        if name in self._entries():
            package = _package(self._entries()[name][0])  # of a compiled one its version tells
            found = code_hash_of(self.get(name)) or hashlib.sha256(package.encode()).hexdigest()
        elif name in self._code:
            found = self._code[name]
        elif name not in self._lazy and colon and path.endswith(".py"):
            found = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        else:
            return None
        if found is None:
            raise UsageError(
                f"{self.kind} {name}: its source text cannot be read, so that runs could not tell it from an edited "
                f"one; put it into a file and name that, as path/to/file.py:{name}"
            )
        return found

    def _entries(self) -> dict[str, list[EntryPoint]]:
        """What installed packages declare, by name; read once."""
        if self._installed is None:
            self._installed = {}
            for entry in entry_points(group=f"speechbench.{self.kind}s"):
                known = self._installed.setdefault(entry.name, [])
                if entry.value not in [other.value for other in known]:  # else the same package, found twice
                    known.append(entry)
        return self._installed

    def _from_package(self, name: str) -> T:
        """The plug that an installed package declares.

        Raises:
            UsageError: If something else has the name too, or what is declared cannot be imported.
        """
        entry, *others = self._entries()[name]
        removal = f"pip uninstall {_package(entry).split()[0]}"
        clash = f"{self.kind} {name!r} is registered by {self.where(name)}: rename one, or remove a package: {removal}"
        if others or name in self._lazy:
            raise UsageError(clash)
        remedy = f"mend the package, or remove it: {removal}"
        what = f"{self.kind} {name!r} of the package {_package(entry)}"
        module, _, attribute = entry.value.partition("[")[0].replace(" ", "").partition(":")
        if not module or not attribute:
            raise UsageError(f"{what}: its entry point is {entry.value!r}, not module:name; {remedy}")
        try:
            plug = cast(T, functools.reduce(getattr, attribute.split("."), importlib.import_module(module)))
        except SpeechbenchError:
            raise
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise UsageError(
                f"{what} cannot be loaded from its entry point {entry.value!r}: {said}; {remedy}"
            ) from error
        if self._loaded.get(name, plug) is not plug:
            raise UsageError(clash)
        return plug

    def _unknown(self, name: str) -> str:
        return f"unknown {self.kind} {name!r}: {did_you_mean(name, self.names(), cutoff=0.5)}"

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
        return target_of(first) == target_of(second) and target_of(first).startswith("__main__:")
    return file_of(first) is not None and file_of(first) == file_of(second)


def _package(entry: EntryPoint) -> str:
    """Name and version of the package that declares an entry point."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value.partition(":")[0]


REWARDS: Registry[Any] = Registry("reward", builtin.REWARDS)
BENCHMARKS: Registry[Any] = Registry("benchmark", builtin.BENCHMARKS)
MODELS: Registry[Any] = Registry("model", builtin.MODELS)
TRAINERS: Registry[Any] = Registry("trainer", builtin.TRAINERS)


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
