"""A metric of the library evaluate: found, loaded, told apart from an edited one, and what it takes."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from speechbench import hub
from speechbench.benchmarks.base import Example
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.libraries import needed
from speechbench.rewards.base import Batch
from speechbench.threads import failure_within

INPUTS = ("predictions", "references", "sources")
_SECONDS = 6.0  # how long the hub may take to answer
_HUB_NAME = re.compile(r"(?:\w[\w.-]*/)?\w[\w.-]*")


@dataclass(frozen=True)
class Inputs:
    """What a metric is given beside the hypotheses.

    Attributes:
        references: "all" as a list of texts, the "first" as one text, or "none".
        sources: Whether the transcript is given too.
    """

    references: str
    sources: bool

    @property
    def needs(self) -> frozenset[str]:
        """What an example must have."""
        return frozenset({"reference"} if self.references != "none" else ()) | ({"source"} if self.sources else set())

    @property
    def several_references(self) -> str:
        """As in `Reward.several_references`."""
        return "pooled" if self.references == "all" else self.references

    def apply_to(self, example: Example) -> bool:
        """Whether an example has all that is needed."""
        return (self.references == "none" or bool(example.references)) and not (self.sources and example.source is None)

    def of(self, batch: Batch) -> dict[str, list[Any]]:
        """The arguments of `compute`, one entry per hypothesis each."""
        given: dict[str, list[Any]] = {"predictions": list(batch.hypotheses)}
        if self.references == "all":
            given["references"] = [list(example.references) for example in batch.examples]
        elif self.references == "first":
            given["references"] = [example.references[0] for example in batch.examples]
        if self.sources:
            given["sources"] = [example.source for example in batch.examples]
        return given


def local_script(path: str) -> Path | None:
    """The script that a path leads to, by the rule of the library; `None` for a name on the hub.

    Raises:
        UsageError: If it is neither.
    """
    place = Path(path).expanduser()
    script = place if place.suffix == ".py" else place / f"{place.name}.py"
    if script.is_file():
        return script
    if place.suffix == ".py" or _HUB_NAME.fullmatch(path) is None:
        raise UsageError(
            f"evaluate(path={path}): there is no script {script}: name a script, a folder that holds one of its own "
            "name, or a metric of the hub"
        )
    return None


def load(path: str, script: Path | None, config_name: str | None) -> Any:
    """The library's object for a metric, which keeps nothing on disk and draws numbers from one seed.

    A metric of the hub is taken from the library's cache on this machine, or else from the hub.

    Raises:
        MissingError: If the library is not installed, the metric needs a package that is not, or what it needs is
            not to be had: within seconds if there is no hub, at once in `speechbench.hub.without_downloads`.
        UsageError: If the script cannot be loaded.
    """
    library = needed("evaluate", "evaluate", "reward evaluate")
    may_download = hub.may_download()

    def loaded(offline: bool) -> Any:
        with _kept_offline(offline):
            return library.load(str(script or path), config_name=config_name, keep_in_memory=True, seed=0)

    try:
        if script is not None:
            return loaded(offline=not may_download)
        with suppress(FileNotFoundError, ConnectionError):
            return loaded(offline=True)
        if not may_download:
            raise _missing(path, "is not downloaded to be looked at")
        _reach(path)
        try:
            return loaded(offline=False)
        except (FileNotFoundError, ConnectionError):
            raise _missing(path, "the hub does not give it") from None
    except SpeechbenchError:
        raise
    except (ImportError, ConnectionError) as error:
        raise MissingError(f"evaluate: the metric {path!r} cannot be loaded: {_said(error)}") from None
    except Exception as error:
        raise UsageError(
            f"evaluate: {path!r} cannot be loaded as a script that defines a subclass of evaluate.Metric "
            f"({_said(error)}): mend it, or name its configuration with config_name="
        ) from error


@contextmanager
def _kept_offline(offline: bool) -> Iterator[None]:
    """Keeps the library to what it has on disk, and from saying so; by itself it asks the hub again for minutes."""
    from evaluate import config
    from evaluate.utils import logging

    before, verbosity = config.HF_EVALUATE_OFFLINE, logging.get_verbosity()
    config.HF_EVALUATE_OFFLINE = before or offline
    if offline:
        logging.set_verbosity_error()
    try:
        yield
    finally:
        config.HF_EVALUATE_OFFLINE = before
        logging.set_verbosity(verbosity)


def _reach(name: str) -> None:
    """Makes sure that the hub answers, be it that it has no such metric under this kind."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    space = name if "/" in name else f"evaluate-metric/{name}"
    failure = failure_within(_SECONDS + 1, lambda: HfApi().space_info(space, timeout=_SECONDS))
    if failure is not None and not isinstance(failure, HfHubHTTPError):
        raise _missing(name, "the hub does not answer")


def _missing(name: str, why: str) -> MissingError:
    return MissingError(
        f"evaluate: the metric {name!r} is not on this machine and {why}; name a local script of it, as in "
        "evaluate(path=path/to/metric.py, field=...)"
    )


def inputs_of(metric: Any, path: str) -> Inputs:
    """What a metric takes, by the features it declares; all references where it takes them as a list too.

    Raises:
        UsageError: If it judges something other than texts, or needs what no benchmark has.
    """
    declared = metric.features if isinstance(metric.features, list) else [metric.features]
    found = [inputs for inputs in map(_inputs_by, declared) if inputs is not None]
    if not found:
        raise UsageError(
            f"evaluate(path={path}): the metric takes {declared[0]}, where texts are to be had as {', '.join(INPUTS)}: "
            "choose one that judges texts"
        )
    return min(found, key=lambda inputs: inputs.references)  # "all" comes before "first" and "none"


def _inputs_by(features: Mapping[str, Any]) -> Inputs | None:
    """What one of a metric's declarations stands for; `None` if texts do not fit it."""
    if not set(features) <= set(INPUTS) or not _is_text(features.get("predictions")):
        return None
    if "sources" in features and not _is_text(features["sources"]):
        return None
    if "references" not in features:
        return Inputs("none", "sources" in features)
    references = features["references"]
    inner = references[0] if isinstance(references, list) else getattr(references, "feature", None)
    if not _is_text(references) and not _is_text(inner):
        return None
    return Inputs("all" if _is_text(inner) else "first", "sources" in features)


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def check_options(metric: Any, options: Iterable[str], path: str) -> None:
    """Refuses options that a metric does not take.

    Raises:
        UsageError: For the first of them.
    """
    taken = inspect.signature(metric._compute).parameters.values()
    own = [parameter.name for parameter in taken if parameter.name not in INPUTS]
    unknown = [option for option in options if option not in own]
    if unknown and not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        raise UsageError(
            f"evaluate(path={path}, {unknown[0]}=...): the metric takes no such option, it takes: "
            f"{', '.join(own) or 'none'}"
        )


def fingerprint(script: Path) -> dict[str, Any]:
    """What tells a metric from an edited one: hash of its script and of the files beside it that it imports, versions
    of the packages that these import.

    Raises:
        UsageError: If a file is no Python.
        MissingError: If the library is not installed.
    """
    digest, packages = hashlib.sha256(), {"evaluate"}
    todo, seen = [script], {script}
    while todo:
        file = todo.pop(0)
        text = file.read_bytes()
        digest.update(hashlib.sha256(text).digest())
        try:
            nodes = list(ast.walk(ast.parse(text)))
        except (SyntaxError, ValueError) as error:
            raise UsageError(f"evaluate: the script {file} is no Python: {_said(error)}; mend it") from None
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.level:
                for name in [node.module] if node.module else [alias.name for alias in node.names]:
                    beside = file.parent / f"{name.partition('.')[0]}.py"
                    if beside.is_file() and beside not in seen:
                        seen.add(beside)
                        todo.append(beside)
            elif isinstance(node, ast.ImportFrom):
                packages.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Import):
                packages.update(alias.name.partition(".")[0] for alias in node.names)
    return {"sha256": digest.hexdigest(), "packages": _versions(packages)}


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of what is installed, by distribution; the standard library's modules belong to none."""
    try:
        version("evaluate")
    except PackageNotFoundError:
        needed("evaluate", "evaluate", "reward evaluate")  # which says how to install it
    distributions = _distributions()
    return {name: version(name) for name in sorted({n for p in packages for n in distributions.get(p, ())})}


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Which distributions each importable name is of; looking through all that is installed takes half a second."""
    return packages_distributions()


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
