"""Built-in templates and the names of languages."""

from __future__ import annotations

import subprocess
import sys

import pytest

from speechbench.benchmarks import templates
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER
from speechbench.benchmarks.prompts import prompts_for
from speechbench.benchmarks.templates import LANGUAGES, WORDINGS, language_name
from speechbench.languages import primary


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_papers_translation_prompt(code: str) -> None:
    asked = f"<|audio|> listen to the speech and translate it into {LANGUAGES[code]}."
    assert templates.translation(code) == asked
    assert prompts_for("translation").instruction("any", language=language_name(code)) == asked


@pytest.mark.parametrize("text", ["Who spoke?", "", "what is {question} or {0}?", "}{", "两\nlines "])
def test_the_papers_question_prompt(text: str) -> None:
    asked = "Listen to the audio <|audio|> and answer the following question: " + text
    assert templates.question(text) == asked
    assert prompts_for("question-answering").instruction("any", question=text) == asked


def test_the_first_transcription_prompt_is_that_of_manifests() -> None:
    assert prompts_for("transcription").instruction("any") == "<|audio|> write down what is said."


@pytest.mark.parametrize("task", WORDINGS)
def test_paraphrases_are_many_and_put_the_audio_in_different_places(task: str) -> None:
    texts = WORDINGS[task].templates
    assert len(set(texts)) == len(texts) >= 7
    assert {text.startswith(AUDIO_PLACEHOLDER) for text in texts} == {True, False}
    assert any(text.endswith(AUDIO_PLACEHOLDER) for text in texts)
    assert any(not text.startswith(AUDIO_PLACEHOLDER) and not text.endswith(AUDIO_PLACEHOLDER) for text in texts)
    for number, text in enumerate(texts, 1):  # each can be asked, and is what its number fixes
        fields = {name: f"the {name}" for name in WORDINGS[task].fields}
        asked = prompts_for(task, "paraphrases", number).instruction("any", **fields)
        assert asked == text.format(**fields) and asked.count(AUDIO_PLACEHOLDER) == 1
        assert all(f"the {name}" in asked for name in WORDINGS[task].needed)


def test_multiple_choice_asks_for_the_letter_and_the_reason() -> None:
    for text in WORDINGS["multiple-choice"].templates:
        assert "letter" in text
        assert any(word in text for word in ("reason", "why", "expla", "justify"))


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("de", "German"), ("deu", "German"), ("ger", "German"), ("DE", "German"), ("deu_Latn", "German"),
        ("de-AT", "German"), ("sv", "Swedish"), ("zh", "Chinese"), ("cmn", "Chinese"), ("zh-CN", "Chinese"),
        ("zh-TW", "Traditional Chinese"), ("zho_Hant", "Traditional Chinese"), ("zh-Hant-TW", "Traditional Chinese"),
        ("pt-BR", "Brazilian Portuguese"), ("pt", "Portuguese"), ("pt_PT", "Portuguese"), ("ko", "Korean"),
        ("yue", "Cantonese"), ("tlh", "tlh"), ("x-Made-up", "x-Made-up"), ("", ""),
    ],
)  # fmt: skip
def test_languages_by_any_code(code: str, name: str) -> None:
    assert language_name(code) == name


def test_names_are_those_of_a_language_detector() -> None:
    Language = pytest.importorskip("lingua").Language
    theirs = {language.iso_code_639_1.name.lower(): language.name for language in Language.all()}
    differently = {"nb": "NORWEGIAN", "sl": "SLOVENIAN"}  # lingua: Bokmal, Slovene
    both = templates._NAMES.keys() & theirs.keys()
    assert len(both) > 50
    for code in both:
        assert language_name(code).upper() == differently.get(code, theirs[code])
    assert all(primary(code) == code for code in templates._NAMES)  # else it would not be found


def test_templates_load_nothing_heavy() -> None:
    code = (
        "import sys, speechbench.benchmarks.prompts as p; p.prompts_for('translation', 'paraphrases');"
        "print([m for m in ('torch', 'transformers', 'numpy', 'soundfile', 'datasets') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
