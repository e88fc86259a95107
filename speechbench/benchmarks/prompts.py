"""How examples are asked: a set of templates, built in or the user's, and which of them each example gets.

What a model's chat template puts around an instruction is the model's business.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from speechbench.benchmarks.base import AUDIO_PLACEHOLDER
from speechbench.benchmarks.templates import WORDINGS
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.tables import counted
from speechbench.text_files import read_lines

SETS = ("paper", "paraphrases")
LONGEST_TEMPLATE = 4000
"""Characters: several times what the paper allows a whole prompt, 256 tokens."""
_LARGEST_FILE = 1 << 20  # bytes; what is larger holds something else
_CHOICE = "the highest SHA-256 of template, line feed and example id"


@dataclass(frozen=True)
class Template:
    """An instruction with fields.

    Attributes:
        text: As it was written: fields in braces, braces that are text doubled.
        parts: Its literal texts, each with the field that follows; `None` where none does.
    """

    text: str
    parts: tuple[tuple[str, str | None], ...] = field(repr=False, compare=False)

    @staticmethod
    def read(text: str, task: str, where: str) -> Template:
        """Reads a template.

        Args:
            text: With `AUDIO_PLACEHOLDER` once.
            task: One of `WORDINGS`, which says what fields there are.
            where: What errors begin with.

        Raises:
            UsageError: If it lacks the audio or has it twice, its braces do not pair up, it lacks a field that the
                task needs, or has one that is none, such as an attribute, an index or a format.
        """
        wording = WORDINGS[task]
        known = _listed(wording.fields)
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError:
            raise UsageError(
                f"{where}: the braces do not pair up: a field is a name in braces (here {known}), and a brace that is "
                "text stands twice, {{ or }}"
            ) from None
        for _, name, form, conversion in parts:
            if name is not None and (name not in wording.fields or form or conversion):
                wrong = f"{{{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}}}"
                raise UsageError(f"{where}: {wrong} is no field: a template for {task} may have {known}")
        if text.count(AUDIO_PLACEHOLDER) != 1:
            times = "lacks" if AUDIO_PLACEHOLDER not in text else "has more than one"
            raise UsageError(
                f"{where}: the template {times} {AUDIO_PLACEHOLDER}: write it once, where the model is to hear the "
                "recording"
            )
        lacking = [name for name in wording.needed if all(name != other for _, other, _, _ in parts)]
        if lacking:
            raise UsageError(f"{where}: the template lacks {_listed(lacking)}, without which {task} asks nothing")
        return Template(text, tuple((literal, name) for literal, name, _, _ in parts))

    def filled(self, fields: Mapping[str, str]) -> str:
        """The text with the fields' values in place, which are not read again.

        Raises:
            KeyError: If a field has no value.
        """
        return "".join(literal if name is None else literal + fields[name] for literal, name in self.parts)


@dataclass(frozen=True)
class Prompts:
    """Templates of one task, of which each example gets one by its id.

    Which one depends on the templates' texts and the id alone: not on the order or number of the examples, the split,
    the seed or the order of the templates. One more template takes over its share of the examples, and every other
    example keeps the one that it had (rendezvous hashing: Thaler and Ravishankar 1998).

    Attributes:
        task: One of `templates.WORDINGS`.
        templates: At least one, all different.
        origin: Where they come from, in words; two sets from different places may be equal.
    """

    task: str
    templates: tuple[Template, ...]
    origin: str = field(compare=False)

    def instruction(self, example_id: str, **fields: str) -> str:
        """What the model is told about one example.

        Args:
            example_id: Chooses the template.
            **fields: Values by field, put in as they are; those that the template lacks are not used.

        Returns:
            The instruction, with `AUDIO_PLACEHOLDER` once.

        Raises:
            UsageError: If the template has a field without a value.
            SpeechbenchError: If the values bring along an `AUDIO_PLACEHOLDER` of their own.
        """
        template = self._of(example_id)
        try:
            instruction = template.filled(fields)
        except KeyError as error:
            raise UsageError(
                f"the template {template.text!r} has the field {{{error.args[0]}}}, which is not known of example "
                f"{example_id!r}: take it out of the template"
            ) from None
        if instruction.count(AUDIO_PLACEHOLDER) != 1:
            raise SpeechbenchError(
                f"example {example_id!r}: what fills {_listed(fields)} brings along {AUDIO_PLACEHOLDER}, which "
                "may stand for the recording alone: take it out of the data"
            )
        return instruction

    def _of(self, example_id: str) -> Template:
        if len(self.templates) == 1:
            return self.templates[0]
        own = b"\n" + example_id.encode("utf-8", "surrogatepass")
        return max(self.templates, key=lambda template: hashlib.sha256(template.text.encode() + own).digest())

    def identity(self) -> dict[str, str | list[str]]:
        """What tells two sets apart, as JSON holds it: equal where every example gets the same instruction."""
        choice = _CHOICE if len(self.templates) > 1 else "the only one"
        return {"task": self.task, "templates": sorted(template.text for template in self.templates), "choice": choice}

    @property
    def shown(self) -> str:
        """The set in one line, for cards."""
        first, count = self.templates[0].text, len(self.templates)
        return f"{self.origin}: {first if count == 1 else f'one of {count} by the id of the example, such as {first}'}"


def prompts_for(task: str, prompts: str = "paper", prompt: int | None = None) -> Prompts:
    """The templates that a benchmark's parameters `prompts` and `prompt` ask for.

    Args:
        task: One of `templates.WORDINGS`.
        prompts: "paper" for the first of the task's built-in templates, the paper's where it has one; "paraphrases"
            for all of them; or a text file's path. The file holds a template a line, in UTF-8; empty lines and those
            that begin with "#" are no templates.
        prompt: Which of them every example gets, from 1; `None` to choose by the example's id.

    Raises:
        UsageError: If there is no such task, set, file or number, or a line of the file is no template of the task;
            the message names file and line.
        OSError: If the file cannot be read.
    """
    if task not in WORDINGS:
        raise UsageError(f"there are no prompts for the task {task!r}: {_hint(task, WORDINGS)}")
    prompts = str(prompts)  # in a spec, a file called 2 is a number
    if prompts in SETS:
        texts = WORDINGS[task].templates
        read = [Template.read(text, task, f"prompts={prompts}") for text in texts[: 1 if prompts == SETS[0] else None]]
        ours = prompts == SETS[0] and not WORDINGS[task].is_papers
        origin = f"speechbench's own (the paper has none for {task})" if ours else prompts
    else:
        read, origin = _from_file(prompts, task), prompts
    if prompt is not None:
        if isinstance(prompt, bool) or not isinstance(prompt, int) or not 1 <= prompt <= len(read):
            more = "; prompts=paraphrases has more" if prompts == SETS[0] else ""
            raise UsageError(
                f"prompt={prompt!r}: prompts={prompts} has {counted(len(read), 'template')} for {task}: give a number "
                f"from 1 to {len(read)}{more}"
            )
        origin, read = f"{origin}, number {prompt}" if len(read) > 1 else origin, read[prompt - 1 : prompt]
    return Prompts(task, tuple(read), origin)


def _listed(fields: Iterable[str]) -> str:
    """Fields as they stand in templates, "{language} or {source_language}"."""
    return " or ".join(f"{{{name}}}" for name in fields)


def _from_file(name: str, task: str) -> list[Template]:
    path = Path(os.path.expanduser(name))
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no set and no file"
        raise UsageError(
            f"prompts={name} is {what}: name a text file with one template a line, or a set: {_hint(name, SETS)}"
        )
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise UsageError(f"{path} has {size} bytes, more than {_LARGEST_FILE}: name a file with one template a line")
    found: dict[str, tuple[Template, int]] = {}
    for number, line in enumerate(read_lines(path) if size else [], 1):
        text, where = line.strip(), f"{path}:{number}"
        if not text or text.startswith("#"):
            continue
        if "\0" in text:
            raise UsageError(f"{where}: the line holds a NUL byte: save the file as UTF-8 text")
        if len(text) > LONGEST_TEMPLATE:
            raise UsageError(f"{where}: the template has {len(text)} characters: write at most {LONGEST_TEMPLATE}")
        if text in found:
            raise UsageError(f"{where}: the template stands already in line {found[text][1]}: take one of them out")
        found[text] = Template.read(text, task, where), number
    if not found:
        raise UsageError(f"{path} holds no template: write one a line, such as {WORDINGS[task].templates[0]}")
    return [template for template, _ in found.values()]


def _hint(word: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(known)}"
