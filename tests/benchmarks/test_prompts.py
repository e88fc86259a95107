"""Which template an example gets, and what templates may be."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechbench.benchmarks.prompts import LONGEST_TEMPLATE, Prompts, Template, prompts_for
from speechbench.benchmarks.templates import WORDINGS
from speechbench.errors import SpeechbenchError, UsageError

IDS = st.text(max_size=12)
WORDS = st.text(st.characters(exclude_characters="{}\0", exclude_categories=["Cs", "Zl", "Zp", "Cc"]), max_size=8)
SETS_OF_TEXTS = st.lists(WORDS.map("{} <|audio|>?".format), min_size=1, max_size=6, unique=True)

Written = Callable[..., str]


def made(*texts: str, task: str = "translation") -> Prompts:
    return Prompts(task, tuple(Template.read(text, task, "test") for text in texts), "test")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a file of prompts and returns its path."""

    def write(*lines: str | bytes) -> str:
        path = tmp_path / "prompts.txt"
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
        return str(path)

    return write


@given(SETS_OF_TEXTS, IDS)
def test_the_choice_is_the_highest_hash(texts: list[str], example_id: str) -> None:
    hashes = {sha256(f"{text}\n{example_id}".encode()).hexdigest(): text for text in texts}
    assert made(*texts).instruction(example_id) == hashes[max(hashes)]


@given(SETS_OF_TEXTS, st.randoms(use_true_random=False), st.lists(IDS, max_size=20))
def test_the_order_of_templates_changes_nothing(texts: list[str], random: Random, ids: list[str]) -> None:
    shuffled = list(texts)
    random.shuffle(shuffled)
    one, other = made(*texts), made(*shuffled)
    assert [one.instruction(i) for i in ids] == [other.instruction(i) for i in ids]
    assert one.identity() == other.identity()


@given(SETS_OF_TEXTS, WORDS, st.lists(IDS, max_size=20))
def test_one_more_template_takes_examples_over_and_moves_no_other(texts: list[str], word: str, ids: list[str]) -> None:
    new = f"new {word} <|audio|>!"  # none of the others ends so
    before, after = made(*texts), made(*texts, new)
    assert all(after.instruction(i) in (before.instruction(i), new) for i in ids)
    assert before.identity() != after.identity()


def test_templates_get_even_shares() -> None:
    prompts, ids = prompts_for("translation", "paraphrases"), [f"common_voice_en_{n}" for n in range(8000)]
    shares = Counter(prompts.instruction(i, language="German") for i in ids)
    expected = len(ids) / len(prompts.templates)
    assert len(shares) == len(prompts.templates) == 8
    assert sum((n - expected) ** 2 / expected for n in shares.values()) < 24.3  # chi-square, 7 degrees: 1 in 1000
    again = {i: prompts.instruction(i, language="German") for i in reversed(ids[:10])}
    assert all(prompts_for("translation", "paraphrases").instruction(i, language="German") == again[i] for i in again)


def test_an_id_may_be_any_text() -> None:
    prompts = prompts_for("transcription", "paraphrases")
    assert prompts.instruction("broken \udcff name") == pickle.loads(pickle.dumps(prompts)).instruction(
        "broken \udcff name"
    )


@given(st.text(max_size=30).filter(lambda text: "<|audio|>" not in text))
def test_a_value_is_put_in_as_it_is(question: str) -> None:
    prompts = made("{{{question}}} <|audio|> {question}", task="question-answering")
    assert prompts.instruction("x", question=question) == "{" + question + "} <|audio|> " + question


@pytest.mark.parametrize("value", ["{question}", "{language}", "{0.__class__}", "{{", "}", "%s", "<|audio|", "\\1"])
def test_a_value_is_not_read_again(value: str) -> None:
    assert made("<|audio|> {question}", task="question-answering").instruction("x", question=value) == (
        f"<|audio|> {value}"
    )


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("<|audio|> {question}", "What is <|audio|>?"),
        ("{question} <|audio|>", "<|audio|>"),
        ("<|audio|> <|aud{question}", "io|>"),
    ],
)
def test_a_value_brings_no_audio_along(template: str, value: str) -> None:
    with pytest.raises(SpeechbenchError, match=r"^example '7#1': what fills \{question\} brings along <\|audio\|>"):
        made(template, task="question-answering").instruction("7#1", question=value)


def test_values_that_a_template_lacks_are_not_used_and_those_it_has_must_be_there(written: Written) -> None:
    prompts = prompts_for("translation", written("<|audio|> {source_language} in {language}"))
    assert prompts.instruction("a", language="German", source_language="English") == "<|audio|> English in German"
    assert made("<|audio|> ins Deutsche").instruction("a", language="French") == "<|audio|> ins Deutsche"
    with pytest.raises(UsageError, match=r"has the field \{source_language\}, which is not known of example 'a'"):
        prompts.instruction("a", language="German")


def test_a_file_holds_a_template_a_line(written: Written) -> None:
    path = written(
        b"\xef\xbb\xbf# ours\r", "", "  <|audio|> Ins {language}e, bitte. \r", "\t# no", "Übersetze: <|audio|>"
    )
    prompts = prompts_for("translation", path)
    assert [t.text for t in prompts.templates] == ["<|audio|> Ins {language}e, bitte.", "Übersetze: <|audio|>"]
    assert prompts == made("<|audio|> Ins {language}e, bitte.", "Übersetze: <|audio|>")
    assert {prompts_for("translation", path, 2).instruction(str(n)) for n in range(9)} == {"Übersetze: <|audio|>"}


def test_a_file_is_found_from_home_and_by_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine.txt", "2"):
        (tmp_path / name).write_text("<|audio|>?")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert prompts_for("translation", "~/mine.txt") == prompts_for("translation", 2) == made("<|audio|>?")  # type: ignore[arg-type]


def test_each_parameter_changes_what_is_asked(written: Written) -> None:
    path = written("<|audio|> a?", "<|audio|> b?")
    calls = [("paper", None), ("paraphrases", None), ("paraphrases", 2), (path, None), (path, 1), (path, 2)]
    sets = [prompts_for("transcription", *call) for call in calls]
    asked = [tuple(prompts.instruction(str(n)) for n in range(20)) for prompts in sets]
    assert len(set(asked)) == len(sets)
    assert len({json.dumps(prompts.identity()) for prompts in sets}) == len(sets)
    assert len({prompts.shown for prompts in sets}) == len(sets)
    assert prompts_for("transcription", "paraphrases", 1).identity() == sets[0].identity()  # as what they ask


@pytest.mark.parametrize("task", WORDINGS)
def test_cards_name_what_is_the_papers(task: str) -> None:
    first = WORDINGS[task].templates[0]
    own = f"speechbench's own (the paper has none for {task}): {first}"
    assert prompts_for(task).shown == (f"paper: {first}" if WORDINGS[task].is_papers else own)
    assert prompts_for(task, "paraphrases").shown == (
        f"paraphrases: one of {len(WORDINGS[task].templates)} by the id of the example, such as {first}"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("listen and translate", r"lacks <\|audio\|>: write it once"),
        ("<|audio|> or <|audio|>", r"has more than one <\|audio\|>"),
        ("<|audio|> {langauge}", r"\{langauge\} is no field: .* may have \{language\} or \{source_language\}"),
        ("{<|audio|>}", r"\{<\|audio\|>\} is no field"),
        ("<|audio|> {question}", r"\{question\} is no field"),
        ("<|audio|> {}", r"\{\} is no field"),
        ("<|audio|> {0}", r"\{0\} is no field"),
        ("<|audio|> { language }", r"\{ language \} is no field"),
        ("<|audio|> {language.__class__}", r"\{language\.__class__\} is no field"),
        ("<|audio|> {language[0]}", r"\{language\[0\]\} is no field"),
        ("<|audio|> {language!r}", r"\{language!r\} is no field"),
        ("<|audio|> {language:>9}", r"\{language:>9\} is no field"),
        ("<|audio|> {language:{source_language}}", r"\{language:\{source_language\}\} is no field"),
        ("<|audio|> {language", "braces do not pair up: .* stands twice, {{ or }}"),
        ("<|audio|> language}", "braces do not pair up"),
        ("<|audio|> {{language}", "braces do not pair up"),
        ("<|audio|> {language!}", "braces do not pair up"),
        ("fine <|audio|>", "stands already in line 2"),
        ("<|audio|> " + "x" * LONGEST_TEMPLATE, f"has {LONGEST_TEMPLATE + 10} characters: write at most"),
        ("<|audio|> a\0b", "NUL byte"),
    ],
)
def test_a_line_that_is_no_template_is_told_by_its_number(written: Written, line: str, said: str) -> None:
    path = written("# comment", "fine <|audio|>", "", line)
    with pytest.raises(UsageError, match=rf"prompts\.txt:4: .*{said}") as error:
        prompts_for("translation", path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("task", ["question-answering", "multiple-choice"])
def test_a_question_must_be_asked(written: Written, task: str) -> None:
    with pytest.raises(UsageError, match=r"prompts\.txt:1: the template lacks \{question\}, without which"):
        prompts_for(task, written("<|audio|> Why {{question}}?"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"prompts\.txt holds no template: write one a line, such as <\|audio\|> listen"),
        (b"# all\n\n  \n", "holds no template"),
        (b"<|audio|>\n<|audio|> \xfc\n", r"prompts\.txt, line 2: the byte 0xfc is no UTF-8"),
        ("<|audio|>".encode("utf-16"), "is no UTF-8"),
        (b"<|audio|>\n" * 110_000, "has 1100000 bytes, more than"),
    ],
)
def test_a_file_that_holds_no_templates_is_told(written: Written, content: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prompts_for("translation", written(content))


def test_what_is_neither_set_nor_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no set and no file: .*did you mean 'paraphrases'\?"):
        prompts_for("translation", "parahprases")
    with pytest.raises(UsageError, match=r"no set and no file: .*there are paper, paraphrases"):
        prompts_for("translation", str(tmp_path / "nowhere.txt"))
    with pytest.raises(UsageError, match="is a folder: name a text file"):
        prompts_for("translation", str(tmp_path))
    with pytest.raises(UsageError, match=r"the task 'translating': did you mean 'translation'\?"):
        prompts_for("translating")


@pytest.mark.parametrize("number", [0, -1, 9, True, "1", 1.0])
def test_a_number_is_one_of_the_templates(number: object) -> None:
    with pytest.raises(UsageError, match=r"has 8 templates for translation: give a number from 1 to 8$"):
        prompts_for("translation", "paraphrases", number)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"prompts=paper has 1 template .*; prompts=paraphrases has more"):
        prompts_for("translation", prompt=2)
