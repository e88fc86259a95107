"""Language codes: one spelling for all tables, whichever standard a data set follows."""

from __future__ import annotations

import pytest

from speechbench.languages import is_unspaced, primary


def test_codes_of_three_letters_become_those_of_two() -> None:
    known = pytest.importorskip("nltk.langnames").iso639short
    assert {code: primary(code) for code in known} == known
    assert {primary(code) for code in known.values()} == set(known.values())
    for language in pytest.importorskip("lingua").Language.all():
        assert primary(language.iso_code_639_3.name) == language.iso_code_639_1.name.lower()


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("zh-CN", "zh"),
        ("cmn_Hans_CN", "zh"),
        ("chi", "zh"),
        ("GER", "de"),
        ("fre-CA", "fr"),
        ("arb_Arab", "ar"),
        ("yue", "yue"),
        ("ast", "ast"),
        ("mul", "mul"),
        ("", ""),
    ],
)
def test_primary(code: str, language: str) -> None:
    assert primary(code) == primary(language) == language


@pytest.mark.parametrize("code", ["zh", "zho", "chi", "cmn", "yue", "ja", "jpn", "tha", "lao", "khm", "mya", "bur"])
def test_written_without_spaces(code: str) -> None:
    assert is_unspaced(code) and is_unspaced(f"{code}-XX")


@pytest.mark.parametrize("code", ["de", "ko", "kor", "vie", "mul", ""])
def test_written_with_spaces(code: str) -> None:
    assert not is_unspaced(code)
