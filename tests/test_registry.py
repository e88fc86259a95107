"""The registry: found by name, by place or by entry point; refused when taken; suggested when mistyped."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from speechbench.errors import UsageError
from speechbench.registry import BENCHMARKS, MODELS, REWARDS, TRAINERS, Registry


@pytest.fixture
def rewards() -> Registry[Any]:
    return Registry("reward", {"lazy": "json:dumps", "absent": "no_such_module:plug"})


def test_decorator_registers_and_returns_the_plug(rewards: Registry[Any]) -> None:
    @rewards.register("mine")
    def mine() -> None: ...

    assert rewards.get("mine") is mine
    assert rewards.names() == ["absent", "lazy", "mine"]


def test_lazy_plug_is_imported_only_when_asked_for(rewards: Registry[Any]) -> None:
    import json

    assert "absent" in rewards.names() and rewards.where("absent") == "no_such_module:plug"
    assert rewards.get("lazy") is json.dumps
    with pytest.raises(ModuleNotFoundError):
        rewards.get("absent")


def test_duplicate_is_refused_and_told_where_the_first_stands(rewards: Registry[Any]) -> None:
    @rewards.register("mine")
    def first() -> None: ...

    line = first.__code__.co_firstlineno
    with pytest.raises(UsageError, match=rf"'mine' is already registered, by .*test_registry\.py:{line}"):

        @rewards.register("mine")
        def second() -> None: ...

    assert rewards.get("mine") is first
    with pytest.raises(UsageError, match="'lazy' is already registered, by json:dumps"):
        rewards.register("lazy")(first)


def test_same_definition_may_register_again(rewards: Registry[Any]) -> None:
    def define() -> Any:
        @rewards.register("mine")
        def mine() -> None: ...

        return mine

    define()
    define()


def test_cell_of_a_notebook_may_be_edited_and_run_again(rewards: Registry[Any]) -> None:
    def first() -> None: ...
    def second() -> None: ...

    for cell in (first, second):
        cell.__module__, cell.__qualname__ = "__main__", "mine"
        rewards.register("mine")(cell)


@pytest.mark.parametrize(("typed", "meant"), [("blue", "bleu"), ("comett", "comet"), ("chrF", "chrf")])
def test_mistyped_name_gets_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"unknown reward {typed!r}: did you mean {meant!r}") as caught:
        REWARDS.get(typed)
    assert caught.value.exit_status == 2


def test_name_unlike_any_gets_the_list(rewards: Registry[Any]) -> None:
    with pytest.raises(UsageError, match="unknown reward 'zzz': there are: absent, lazy"):
        rewards.get("zzz")


@pytest.mark.parametrize(
    ("plugs", "names"),
    [
        (REWARDS, {"bleu", "chrf", "binary", "comet", "constant", "random", "slots"}),
        (BENCHMARKS, {"covost2", "librisqa", "manifest", "covost2-mini", "librisqa-mini"}),
        (MODELS, {"tiny", "granite-speech"}),
        (TRAINERS, {"sft", "grpo", "mixed-grpo"}),
    ],
)
def test_every_builtin_is_there(plugs: Registry[Any], names: set[str]) -> None:
    assert names <= set(plugs.names())
    for name in names:
        assert callable(plugs.get(name))


def test_plug_in_a_file(rewards: Registry[Any], tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def brevity(completions, **columns):\n    return [1.0 for _ in completions]\n")
    plug = rewards.get(f"{file}:brevity")
    assert plug(["a", "b"]) == [1.0, 1.0]
    assert rewards.get(f"{file}:brevity") is plug
    assert rewards.file_hash("lazy") is None


def test_edited_file_is_read_again(rewards: Registry[Any], tmp_path: Path) -> None:
    # Same length and same second: Python's cache of compiled files would not see the difference.
    file = tmp_path / "mine.py"
    hashes = set()
    for value in (1, 2, 3):
        file.write_text(f"def brevity():\n    return {value}\n")
        assert rewards.get(f"{file}:brevity")() == value
        hashes.add(rewards.file_hash(f"{file}:brevity"))
    assert len(hashes) == 3


def test_edited_file_may_register_its_name_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    text = "from speechbench.registry import register_reward\n\n@register_reward('edited')\ndef edited(): return {}\n"
    try:
        for value in (1, 2):
            file.write_text("\n" * value + text.format(value))
            assert REWARDS.get(f"{file}:edited")() == value
        assert REWARDS.get("edited")() == 2
    finally:
        REWARDS._loaded.pop("edited", None)


MODULE = """
from speechbench.registry import register_reward

HELP = {help}

@register_reward("by-decorator")
def mine(completions, **columns):
    return [HELP for _ in completions]
"""


def test_plug_registered_by_an_imported_module_is_known_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By all of it, as it was when it was imported: that is what runs."""
    file = tmp_path / "plugs_by_decorator.py"
    monkeypatch.syspath_prepend(tmp_path)
    hashes = []
    for number in (1, 2):
        file.write_text(MODULE.format(help=number) + "#" * number)  # of another length: Python compiles it again
        importlib.invalidate_caches()
        try:
            importlib.import_module(file.stem)
            file.write_text("")
            hashes.append(REWARDS.file_hash("by-decorator"))
        finally:
            sys.modules.pop(file.stem, None)
            REWARDS._loaded.pop("by-decorator", None)
            REWARDS._code.pop("by-decorator", None)
    assert None not in hashes and len(set(hashes)) == 2


def test_decorators_of_others_do_not_hide_the_plugs_file(rewards: Registry[Any]) -> None:
    @functools.lru_cache
    def mine() -> None: ...

    rewards.register("mine")(mine)
    rewards.register("bound")(functools.partial(mine))
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert rewards.file_hash("mine") == rewards.file_hash("bound") == own


def test_builtin_plugs_are_known_by_the_version_alone(rewards: Registry[Any]) -> None:
    import json

    rewards.register("lazy")(json.dumps)
    assert rewards.file_hash("lazy") is None
    assert REWARDS.get("slots") is not None and REWARDS.file_hash("slots") is None
    assert BENCHMARKS.get("covost2") is not None and BENCHMARKS.file_hash("covost2") is None


CELLS = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from speechbench.registry import REWARDS

shell = InteractiveShell.instance()
define = '''
from speechbench.registry import register_reward
{other}

@register_reward("function")
def function(completions, **columns):
    return [{value} for _ in completions]

class Base:
    def score(self, batch): ...

@register_reward("class")
class Mine(Base):
    range = (0, {value})

    def score(self, batch):
        return batch
'''
for other, value in (("a = 1", 1), ("a = 2", 1), ("a = 2", 2)):
    shell.run_cell(define.format(other=other, value=value)).raise_error()
    print(REWARDS.file_hash("function"), REWARDS.file_hash("class"))
"""


def test_cell_of_a_notebook_is_known_by_what_it_defines_alone(tmp_path: Path) -> None:
    pytest.importorskip("IPython")
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", CELLS], capture_output=True, text=True, check=True, env=environment)
    first, same, edited = (line.split() for line in ran.stdout.splitlines())
    assert first == same and "None" not in first
    assert edited[0] != first[0] and edited[1] != first[1]


def test_what_was_typed_at_a_prompt_is_refused_where_it_must_be_known_again(rewards: Registry[Any]) -> None:
    typed: dict[str, Any] = {"__name__": "__main__"}
    exec("def function(): ...\nclass Mine:\n    def score(self): ...", typed)
    for name in ("function", "Mine"):
        rewards.register(name)(typed[name])
        assert rewards.get(name) is typed[name]
        with pytest.raises(UsageError, match=rf"reward {name}: its source text cannot be read.*file\.py:{name}$"):
            rewards.file_hash(name)


@pytest.mark.parametrize(
    ("text", "attribute", "message"),
    [
        (None, "x", "there is no file"),
        ("def brevity(): ...", "brevty", "defines no 'brevty'; did you mean 'brevity'"),
        ("def brevity(:", "brevity", "cannot be imported: SyntaxError"),
        ("import no_such_module", "x", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_file_that_does_not_hold_the_plug(
    rewards: Registry[Any], tmp_path: Path, text: str | None, attribute: str, message: str
) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        rewards.get(f"{file}:{attribute}")
    assert "mine.py" in str(caught.value)


Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes installed packages, each of nothing but what pip writes about it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(*entries: tuple[str, str], package: str = "toolbox") -> None:
        folder = tmp_path / f"{package}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = "".join(f"{name} = {value}\n" for name, value in entries)
        (folder / "entry_points.txt").write_text(f"[speechbench.rewards]\n{lines}")

    return write


def test_installed_entry_point(rewards: Registry[Any], install: Install) -> None:
    import json

    install(("installed", "json:loads"), package="copy_of_toolbox")
    install(("installed", "json:loads"), ("nested", "json:JSONDecoder.decode"))
    assert rewards.where("nested") == "json:JSONDecoder.decode of the package toolbox 1.2"
    assert rewards.get("installed") is json.loads and rewards.get("nested") is json.JSONDecoder.decode
    assert rewards.names() == ["absent", "installed", "lazy", "nested"]
    assert Registry[Any]("model").names() == []


def test_plug_of_a_package_is_known_by_its_file(rewards: Registry[Any], install: Install) -> None:
    import json

    install(("installed", "json:loads"))
    assert rewards.file_hash("installed") == hashlib.sha256(Path(json.__file__).read_bytes()).hexdigest()


def test_plug_of_a_package_without_source_is_known_by_its_version(rewards: Registry[Any], install: Install) -> None:
    install(("compiled", "math:sqrt"))
    assert rewards.file_hash("compiled") == hashlib.sha256(b"toolbox 1.2").hexdigest()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:plug", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:lods", "AttributeError: module 'json' has no attribute 'lods'"),
        ("json", "its entry point is 'json', not module:name"),
        ("this is wrong", "not module:name"),
    ],
)
def test_broken_package_harms_no_other(rewards: Registry[Any], install: Install, value: str, message: str) -> None:
    import json

    install(("broken", value), ("whole", "json:loads"))
    assert rewards.names() == ["absent", "broken", "lazy", "whole"]
    assert rewards.get("whole") is json.loads and rewards.get("lazy") is json.dumps
    with pytest.raises(UsageError, match=message) as caught:
        rewards.get("broken")
    said = str(caught.value)
    assert said.startswith("reward 'broken' of the package toolbox 1.2") and said.endswith("pip uninstall toolbox")


def test_clash_with_a_builtin_harms_no_other(rewards: Registry[Any], install: Install) -> None:
    import json

    install(("lazy", "json:loads"), ("whole", "json:loads"))
    assert rewards.names() == ["absent", "lazy", "whole"] and rewards.get("whole") is json.loads
    for _ in range(2):
        with pytest.raises(UsageError) as caught:
            rewards.get("lazy")
        assert str(caught.value) == (
            "reward 'lazy' is registered by json:dumps and by json:loads of the package toolbox 1.2: rename one, "
            "or remove a package: pip uninstall toolbox"
        )


def test_clash_of_packages_and_decorators(rewards: Registry[Any], install: Install) -> None:
    import json

    install(("two", "json:load"), package="other")
    install(("two", "json:loads"), ("mine", "json:loads"), ("same", "json:dump"))
    rewards.register("mine")(json.dumps)
    rewards.register("same")(json.dump)  # as where a package's module has the decorator as well
    with pytest.raises(UsageError, match=r"by json:loads? of .* and by json:loads? of"):
        rewards.get("two")
    with pytest.raises(UsageError, match=r"by .*json.*__init__\.py:\d+ and by json:loads of the package toolbox"):
        rewards.get("mine")
    assert rewards.get("same") is json.dump and " and by " not in rewards.where("same")


def test_importing_the_plugs_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'sacrebleu', 'pandas', 'datasets'}"
    code = f"import sys, speechbench.registry, speechbench.rewards; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
