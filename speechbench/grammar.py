"""The grammar of specs.

    spec       = name [ "(" [ argument { "," argument } ] ")" ]
    argument   = key "=" value | value | spec                      keys last
    expression = [ "-" ] term { ( "+" | "-" ) term }               of rewards
    term       = factor { "*" factor }
    factor     = number | spec | "(" expression ")"

A name may hold almost anything (`path/to/my file.py:name`) and is quoted where it holds brackets, commas, quotes, signs
or, between white space, a minus. In an expression the arguments are expressions too, so that `shuffled(bleu + chrf)`
reads as it should. Values are numbers, true, false, none, quoted strings, or bare words and paths.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from speechbench.errors import UsageError
from speechbench.specs import PRODUCT, SUM, Argument, Spec, Value, as_spec, product_of, read, sum_of

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?=\s|[()*+,]|\Z)")
_OPENING, _CLOSING = "([", ")]"
_DEEPEST = 50  # brackets inside each other


def parse(text: str) -> Spec:
    """Reads the spec of one plug: a benchmark, a model, a trainer, or a reward that is no sum or product.

    Raises:
        UsageError: If the text is no spec; the message points at the character.
    """
    return _Reader(text, signs=False).whole()


def parse_expression(text: str) -> Spec:
    """Reads the spec of a reward, sums and products included.

    Raises:
        UsageError: If the text is no spec; the message points at the character.
    """
    return _Reader(text, signs=True).whole()


def split_outside_brackets(text: str) -> list[str]:
    """Splits at commas that stand outside brackets and quotes, dropping empty parts.

    Raises:
        UsageError: If a bracket or a quote has no counterpart.
    """
    reader, parts = _Reader(text, signs=False), []
    while reader.at < len(text):
        parts.append(reader.raw(","))
        reader.at += 1
    return [part.strip() for part in parts if part.strip()]


class _Reader:
    """Reads a text from left to right.

    Attributes:
        text: The whole.
        signs: Whether +, - and * are signs.
        at: Position of the next character.
        depth: How many brackets are open.
    """

    def __init__(self, text: str, signs: bool) -> None:
        self.text, self.signs, self.at, self.depth = text, signs, 0, 0

    def whole(self) -> Spec:
        found = self._expression() if self.signs else self._spec()
        if self._next():
            self._refuse("this should be the end" if self._next() not in _CLOSING else "it closes no bracket")
        return found

    def raw(self, ends: str) -> str:
        """The text up to one of these characters outside brackets and quotes, or to the end."""
        start = self.at
        opened: list[int] = []
        while self.at < len(self.text):
            character = self.text[self.at]
            if not opened and character in ends:
                break
            if character in "'\"":
                self._quoted()
                continue
            if character in _OPENING:
                opened.append(self.at)
            elif character in _CLOSING and not opened:
                self._refuse("it is a bracket without its counterpart")
            elif character in _CLOSING:
                opened.pop()
            self.at += 1
        if opened:
            self._refuse("it is a bracket without its counterpart", opened[0])
        return self.text[start : self.at]

    def _expression(self) -> Spec:
        terms = [self._term(self._take("-"))]
        while self._next() in ("+", "-"):
            terms.append(self._term(not self._take("+") and self._take("-")))
        return sum_of(terms)

    def _term(self, negative: bool) -> Spec:
        start = self._skip()
        factors = [self._factor()]
        while self._take("*"):
            factors.append(self._factor())
        if not any(isinstance(factor, Spec) for factor in factors):
            self._refuse("a number weighs nothing by itself: a reward should stand here, as in 0.5*bleu", start)
        return product_of([*factors, *([-1.0] if negative else [])])

    def _factor(self) -> Spec | float:
        start = self._skip()
        number = _NUMBER.match(self.text, start)
        if number:
            self.at = number.end()
            return float(number.group())
        if not self._open():
            return self._spec()
        inside = self._expression()
        self._close(start)
        return inside

    def _spec(self) -> Spec:
        name = self._name()
        start = self._skip()
        if not self._open():
            return Spec(name)
        arguments: list[Argument] = []
        parameters: dict[str, Value] = {}
        while self._next() not in ("", ")"):
            self._argument(arguments, parameters)
            if self._next() not in ("", ")") and not self._take(","):
                self._refuse("a comma or a closing bracket should stand here")
        self._close(start)
        if self.signs and name == SUM and arguments:
            for argument in arguments:
                if not isinstance(argument, (str, Spec)):
                    self._refuse(f"{argument} is no reward: a term is one, perhaps with a weight in front", start)
            return sum_of(map(as_spec, arguments), parameters)
        if self.signs and name == PRODUCT and arguments and not parameters:
            return product_of(a if isinstance(a, Spec) else _factor_of(a) for a in arguments)
        return Spec(name, parameters, tuple(arguments))

    def _argument(self, arguments: list[Argument], parameters: dict[str, Value]) -> None:
        start = self._skip()
        key = re.compile(r"([^\W\d]\w*)\s*=").match(self.text, start)
        if key:
            self.at = key.end()
            value = self.raw(",)").strip()
            if not value:
                self._refuse(f"{key.group(1)!r} should be given a value, as key=value", start)
            if key.group(1) in parameters:
                self._refuse(f"{key.group(1)!r} stands twice", start)
            parameters[key.group(1)] = read(value)
            return
        piece = self.raw(",)").strip()
        if not piece:
            self._refuse("an argument should stand here", start)
        if "=" in re.sub(r"'[^']*'|\"[^\"]*\"|\(.*\)", "", piece):
            self._refuse(f"{piece!r} should be key=value", start)
        if parameters:
            self._refuse(f"{piece!r} should be key=value, as what stands before it", start)
        plain = read(piece)
        if not isinstance(plain, str) or plain != piece:  # a number or the like, or a quoted text
            arguments.append(plain)
            return
        if not self.signs and piece[0] not in "'\"" and not piece.endswith(")"):
            arguments.append(plain)
            return
        self.at = start
        arguments.append(self._expression() if self.signs else self._spec())

    def _name(self) -> str:
        start = self._skip()
        if self._next() in ("'", '"') and self._next():
            name = read(self._quoted())
        else:
            while self.at < len(self.text) and not self._ends_name():
                self.at += 1
            name = self.text[start : self.at].strip()
        if not name or (self.signs and str(name)[0] == "-" and self.text[start] == "-"):
            self._refuse("a name should stand here, as in name or name(key=value, ...)", start)
        return str(name)

    def _ends_name(self) -> bool:
        character = self.text[self.at]
        if character in "()," or (self.signs and character in "+*'\""):
            return True
        return self.signs and character == "-" and (self.at == 0 or self.text[self.at - 1].isspace())

    def _quoted(self) -> str:
        start, quote = self.at, self.text[self.at]
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] != quote:
            self.at += 2 if self.text[self.at] == "\\" else 1
        if self.at >= len(self.text):
            self._refuse("it is a quote without its counterpart", start)
        self.at += 1
        return self.text[start : self.at]

    def _skip(self) -> int:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        return self.at

    def _next(self) -> str:
        """The next character that is no white space; "" at the end."""
        return self.text[self._skip() : self.at + 1]

    def _take(self, character: str) -> bool:
        taken = self._next() == character
        self.at += taken
        return taken

    def _open(self) -> bool:
        if self.depth == _DEEPEST and self._next() == "(":
            self._refuse(f"more than {_DEEPEST} brackets are open")
        taken = self._take("(")
        self.depth += taken
        return taken

    def _close(self, opening: int) -> None:
        self.depth -= 1
        if self._next() == "":
            self._refuse("it is a bracket without its counterpart", opening)
        if not self._take(")"):
            self._refuse("a closing bracket should stand here")

    def _refuse(self, why: str, at: int | None = None) -> NoReturn:
        """Raises the error that points at a character, by default at the next one."""
        at = self._skip() if at is None else at
        line = "".join(" " if character.isspace() else character for character in self.text)
        hint = "; chrF++ is chrf(word_order=2)" if "chrf++" in self.text.lower() else ""
        raise UsageError(f"{self.text.strip()!r} is no spec: {why}{hint}\n    {line}\n    {' ' * at}^")


def _factor_of(value: Value) -> Spec | float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else as_spec(value)


def slug(spec: str) -> str:
    """A spec as part of a file's name: the plug's name, of a path its last part."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(parse(spec).name).name).strip("-.")
