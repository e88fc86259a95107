"""The code behind a plug: where it stands, and a hash by which an edited one is known for another."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import linecache
import textwrap
from pathlib import Path
from typing import Any, cast


def file_of(plug: object) -> str | None:
    """The file that a class or function is defined in; `None` where that cannot be told."""
    try:
        return inspect.getsourcefile(cast(Any, _undecorated(plug)))
    except TypeError:
        return None


def target_of(plug: object) -> str:
    """Module and name of a class or function, as "module:name"."""
    return f"{getattr(plug, '__module__', '?')}:{getattr(plug, '__qualname__', '?')}"


def place_of(plug: object) -> str:
    """File and line of a class or function, as "file:line"; `target_of` it where these cannot be told."""
    try:
        _, line = inspect.getsourcelines(cast(Any, plug))
        return f"{inspect.getsourcefile(cast(Any, plug))}:{line}"
    except (TypeError, OSError):
        return target_of(plug)


def code_hash_of(plug: object) -> str | None:
    """SHA-256, hexadecimal, of the text of the file that a class or function is defined in.

    Of what a notebook's cell or the script that is run defines, it is of the definition alone: beside it stands
    what is done with it, and that changes from one ablation to the next.

    Returns:
        The hash; `None` where the text cannot be read, as of what was typed at a prompt.
    """
    plug = _undecorated(plug)
    try:
        if getattr(plug, "__module__", None) == "__main__":
            return definition_hash_of(plug)
        file = file_of(plug)
        return None if file is None else _hash(Path(file).read_bytes())
    except (OSError, SyntaxError):
        return None


def definition_hash_of(plug: object) -> str:
    """SHA-256, hexadecimal, of the text that defines a class or function, its indentation aside.

    Raises:
        OSError: If it cannot be read.
        SyntaxError: If what stands there now is no Python.
    """
    return _hash(textwrap.dedent(_definition(_undecorated(plug))).encode())


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _undecorated(plug: object) -> object:
    plug = plug.func if isinstance(plug, functools.partial) else plug
    return inspect.unwrap(cast(Any, plug))


def _definition(plug: object) -> str:
    """The text that defines a class or function.

    Raises:
        OSError: If it cannot be read.
    """
    try:
        return inspect.getsource(cast(Any, plug))
    except (OSError, TypeError) as error:  # of a class in a notebook: its module has no file to look in
        codes = [value.__code__ for value in vars(plug).values() if inspect.isfunction(value)]
        for code in codes if inspect.isclass(plug) else []:
            lines = linecache.getlines(code.co_filename)  # IPython keeps each cell there under a name of its own
            for node in ast.walk(ast.parse("".join(lines))):
                if isinstance(node, ast.ClassDef) and node.name == getattr(plug, "__name__", None):
                    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                    last = node.end_lineno or node.lineno
                    if first <= code.co_firstlineno <= last:
                        return "".join(lines[first - 1 : last])
        raise OSError("no source text") from error
