"""Docstrings in Google's style, taken apart."""

from __future__ import annotations

import inspect
import re

_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Examples?|Notes?|References):\Z")


def paragraphs(plug: object) -> list[str]:
    """The paragraphs of a class's or function's docstring up to the first section, at least one.

    Each is on one line, but for the items of a list ("- "), which have one each.
    """
    found: list[str] = []
    for paragraph in _docstring(plug).split("\n\n"):
        if _SECTION.match(paragraph.strip().partition("\n")[0]):
            break
        items = re.split(r"\n(?=- )", paragraph.strip())
        found.append("\n".join(" ".join(item.split()) for item in items))
    return found or [""]


def arguments(plug: object) -> dict[str, str]:
    """What the section Args of the docstring says of each parameter, on one line each."""
    texts: dict[str, list[str]] = {}
    inside, name, indent = False, "", 0
    for line in _docstring(plug).splitlines():
        if _SECTION.match(line):
            inside = line == "Args:"
        elif inside and line.strip():
            depth = len(line) - len(line.lstrip())
            indent = indent or depth
            entry = re.match(r"\*{0,2}(\w+)(?: \([^)]*\))?: *(.*)", line.strip()) if depth == indent else None
            if entry:
                name = entry[1]
            texts.setdefault(name, []).append(entry[2] if entry else line.strip())
    return {name: " ".join(lines).strip() for name, lines in texts.items()}


def _docstring(plug: object) -> str:
    """Its own one: a class without does not speak for the class that it extends."""
    return inspect.cleandoc(getattr(plug, "__doc__", None) or "")
