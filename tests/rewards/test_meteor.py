"""METEOR: nltk's own scores, with a WordNet made here, in WordNet's own format."""

from __future__ import annotations

import math
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nltk
import nltk.corpus
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.corpus.reader import CorpusReader, WordNetCorpusReader
from nltk.corpus.util import LazyCorpusLoader
from nltk.stem import PorterStemmer, SnowballStemmer
from nltk.translate import meteor_score as reference

from speechbench.benchmarks.base import Benchmark, Example
from speechbench.errors import MissingError, UsageError
from speechbench.rewards import Batch, load_reward
from speechbench.rewards.meteor import Meteor

SYNSETS = {
    "noun": [["car", "auto", "motor_car"], ["dog", "hound"], ["house"]],
    "verb": [["run", "dash"], ["buy", "purchase"]],
    "adj": [["big", "vast", "large"], ["quick", "fast"]],
    "adv": [["quickly", "fast"]],
}
ENGLISH = ["The", "the", "dogs", "dog", "hound", "ran", "run", "running", "dash", "fast", "quickly", "quick", "car"]
ENGLISH += ["auto", "cars", "big", "vast", "large", "Big", "house.", "houses,", "didn't", "U.S.", "!", '"so"']
TEXTS = st.lists(st.sampled_from(ENGLISH), max_size=14).map(" ".join) | st.text(max_size=15)
GERMAN = ["Der", "Hund", "Hunde", "läuft", "laufen", "Häuser", "Haus", "haus,", "große", "großen", "Äpfel.", "für"]


def write_wordnet(folder: Path, synsets: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """WordNet's files (wndb(5WN)): a synset stands where the index says, counted in bytes."""
    folder.mkdir(parents=True)
    (folder / "lexnames").write_text("00\tall\t1\n")
    (folder / "index.sense").write_text("")
    for part, groups in synsets.items():
        kind = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}[part]
        data = "  1 WordNet 9.9 Copyright 2026 by nobody.\n"
        places: dict[str, list[str]] = {}
        for words in groups:
            offset = f"{len(data):08}"
            lemmas = " ".join(f"{word} 0" for word in words)
            data += f"{offset} 00 {kind} {len(words):02x} {lemmas} 000 | of this test  \n"
            for word in words:
                places.setdefault(word, []).append(offset)
        index = [f"{word} {kind} {len(at)} 0 {len(at)} 0 {' '.join(at)}  \n" for word, at in sorted(places.items())]
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text("".join(index))
        (folder / f"{part}.exc").write_text("ran run\n" if part == "verb" else "")


def use_data(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Lets nltk see this folder alone, and forget what it has read."""
    patch.setattr(nltk.data, "path", [str(folder)])
    several = LazyCorpusLoader("omw-1.4", CorpusReader, r".*/wn-data-.*\.tab")
    patch.setattr(nltk.corpus, "wordnet", LazyCorpusLoader("wordnet", WordNetCorpusReader, several))


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("nltk_data")
    write_wordnet(folder / "corpora" / "wordnet", SYNSETS)
    with pytest.MonkeyPatch.context() as patch:
        use_data(patch, folder)
        yield folder


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_data(monkeypatch, tmp_path)
    return tmp_path


class Anything(Benchmark):
    name = "anything"

    def __init__(self, language: str) -> None:
        super().__init__()
        self.target_language = language

    def load(self, split: str, limit: int | None = None) -> list[Example]:
        return [example("Ja.", language=self.target_language)]


def example(*references: str, language: str = "en") -> Example:
    return Example("id", None, "", references, None, "en", language)


def score(reward: Meteor, hypothesis: str, *references: str, language: str = "en") -> float:
    (found,) = reward.score(Batch.of([hypothesis], [example(*references, language=language)]))
    assert found is not None
    return found


def words(text: str) -> list[str]:
    return list(nltk.word_tokenize(text, preserve_line=True))


class Nothing:
    """For nltk: stems that are the words themselves, and no synonyms."""

    def stem(self, word: str) -> str:
        return word

    def synsets(self, word: str) -> list[Any]:
        return []


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_english_equals_nltk_with_all_its_defaults(hypothesis: str, references: list[str]) -> None:
    wordnet = nltk.corpus.wordnet
    expected = [reference.single_meteor_score(words(r), words(hypothesis), wordnet=wordnet) for r in references]
    assert score(Meteor(), hypothesis, *references) == max(expected)
    assert score(Meteor(synonyms=True), hypothesis, *references) == max(expected)


@pytest.mark.parametrize(
    ("language", "stemmer"),
    [
        ("de", SnowballStemmer("german")),
        ("deu", SnowballStemmer("german")),
        ("sv-SE", SnowballStemmer("swedish")),
        ("tr", Nothing()),
    ],
)
@given(
    hypothesis=st.lists(st.sampled_from(GERMAN), max_size=9).map(" ".join),
    gold=st.lists(st.sampled_from(GERMAN), max_size=9).map(" ".join),
)
def test_other_languages_have_their_stems_and_no_synonyms(
    language: str, stemmer: Any, hypothesis: str, gold: str
) -> None:
    expected = reference.single_meteor_score(words(gold), words(hypothesis), stemmer=stemmer, wordnet=Nothing())
    assert score(Meteor(), hypothesis, gold, language=language) == expected


@given(TEXTS, TEXTS)
def test_without_synonyms_it_is_nltks_exact_and_stem_match(hypothesis: str, gold: str) -> None:
    exact, left, right = reference.exact_match(words(hypothesis), words(gold))
    stems, _, _ = reference._enum_stem_match(left, right, PorterStemmer())
    matches = sorted(exact + stems)
    expected = 0.0
    if matches:
        precision, recall = len(matches) / len(words(hypothesis)), len(matches) / len(words(gold))
        fragments = reference._count_chunks(matches) / len(matches)
        expected = (1 - 0.5 * fragments**3) * precision * recall / (0.9 * precision + 0.1 * recall)
    assert score(Meteor(synonyms=False), hypothesis, gold) == pytest.approx(expected)


def test_synonyms_and_stems_match() -> None:
    assert score(Meteor(), "a vast auto", "a big car") == score(Meteor(), "a big car", "a big car")
    assert score(Meteor(synonyms=False), "a vast auto", "a big car") < 0.4
    assert score(Meteor(), "Häuser", "Haus", language="de") > 0 == score(Meteor(), "Häuser", "Haus", language="tr")


@given(st.lists(st.sampled_from([*ENGLISH[:16], "a"]), min_size=1, max_size=12))
def test_gold_falls_short_of_one_by_half_over_the_cube_of_its_length(gold: list[str]) -> None:
    assert score(Meteor(), " ".join(gold), " ".join(gold)) == pytest.approx(1 - 0.5 / len(gold) ** 3)
    assert Meteor().maximum is None


@pytest.mark.parametrize("parameters", [{"alpha": 0.5}, {"beta": 1}, {"gamma": 0.2}])
def test_weights_are_nltks(parameters: dict[str, float]) -> None:
    hypothesis, gold = "the dog dash , the hound ran to a house", "the big dog ran to the house"
    expected = reference.single_meteor_score(words(gold), words(hypothesis), wordnet=nltk.corpus.wordnet, **parameters)
    reward = Meteor(**parameters)  # type: ignore[arg-type]
    assert score(reward, hypothesis, gold) == expected != score(Meteor(), hypothesis, gold)
    assert reward.signature() != Meteor().signature() and reward.display != Meteor().display


def test_case_counts_where_it_is_asked_for() -> None:
    cased = Meteor(case=True)
    assert score(Meteor(), "the dogs", "The DOGS") > 0 == score(cased, "the dogs", "The DOGS")
    assert score(cased, "Dogs", "Dog") == score(Meteor(), "Dogs", "Dog") > 0 == score(cased, "Dogs", "dog")
    assert score(cased, "big", "vast") > 0 == score(cased, "Big", "vast")
    assert score(cased, "Häuser", "Haus", language="de") > 0 == score(cased, "häuser", "Haus", language="de")


def test_punctuation_does_not_count_where_it_is_not_wanted() -> None:
    plain = Meteor(punctuation=False)
    assert score(plain, "so, the house", "So the house!") == score(plain, "so the house", "so the house")
    assert score(Meteor(), "so, the house", "So the house!") < score(plain, "so, the house", "So the house!")


def test_parameters_are_refused_with_the_remedy() -> None:
    for parameters, message in [
        ({"synonyms": "yes"}, r"meteor\(synonyms=yes\): write true or false"),
        ({"alpha": 1.5}, r"meteor\(alpha=1.5\): alpha is a number from 0 to 1"),
        ({"beta": math.inf}, r"meteor\(beta=inf\): beta is a number of at least 0"),
        ({"gamma": math.nan}, "gamma=nan"),
        ({"gamma": True}, "gamma=True"),
        ({"case": "no"}, r"meteor\(case=no\): write true or false"),
    ]:
        with pytest.raises(UsageError, match=message):
            Meteor(**parameters)  # type: ignore[arg-type]


def test_missing_wordnet_is_told_before_training_with_the_command(no_data: Path) -> None:
    message = r"^meteor takes .* is not on this machine: run `python -m nltk.downloader wordnet`.*synonyms=false\)$"
    for attempt in (
        lambda: load_reward("meteor", Anything("en-GB")),
        lambda: score(Meteor(), "a dog", "a dog"),
    ):
        with pytest.raises(MissingError, match=message):
            attempt()
    load_reward("meteor", Anything("de"))
    load_reward("meteor", Anything("mul"))
    assert score(load_reward("meteor(synonyms=false)", Anything("en")), "a dog", "a dog") > 0.9
    assert score(Meteor(), "ein Hund", "ein Hund", language="de") > 0.9


def test_broken_wordnet_is_told(no_data: Path) -> None:
    write_wordnet(no_data / "corpora" / "wordnet", SYNSETS)
    (no_data / "corpora" / "wordnet" / "index.noun").write_text("half a li")
    with pytest.raises(MissingError, match=r"cannot be read \(.*\): remove it and run `python -m nltk"):
        Meteor().check(Anything("en"))


def test_wordnet_may_stay_in_its_archive(no_data: Path, data: Path) -> None:
    (no_data / "corpora").mkdir()
    with zipfile.ZipFile(no_data / "corpora" / "wordnet.zip", "w") as archive:
        for file in (data / "corpora" / "wordnet").iterdir():
            archive.write(file, f"wordnet/{file.name}")
    assert score(Meteor(), "vast", "big") == 0.5
    assert Meteor().signature()["wordnet"]["version"] == "9.9"


def test_synonyms_of_other_languages_are_refused() -> None:
    message = r"^meteor\(synonyms=true\): WordNet has English synonyms only, and the target language is de: .*false\)$"
    with pytest.raises(UsageError, match=message):
        Meteor(synonyms=True).check(Anything("de"))
    with pytest.raises(UsageError, match=message):
        score(Meteor(synonyms=True), "ein Hund", "ein Hund", language="de")


def test_stem_does_not_depend_on_words_before() -> None:
    # nltk's Arabic stemmer keeps a mark from one word to the next.
    class Fresh:
        def stem(self, word: str) -> str:
            return str(SnowballStemmer("arabic").stem(word))

    hypothesis, gold = ["مدرسكما", "درستم"], ["درس"]
    kept, fresh = (
        reference.single_meteor_score(gold, hypothesis, stemmer=stemmer, wordnet=Nothing())
        for stemmer in (SnowballStemmer("arabic"), Fresh())
    )
    assert score(Meteor(), " ".join(hypothesis), *gold, language="ar") == fresh != kept


def test_languages_without_spaces_are_compared_by_characters() -> None:
    expected = reference.single_meteor_score(
        list("我喜欢绿苹果"), list("我喜欢红苹果"), stemmer=Nothing(), wordnet=Nothing()
    )
    assert score(Meteor(), "我喜欢 红苹果", "我喜欢绿苹果", language="zh-CN") == expected > 0.5


def test_signature_tells_all_that_the_score_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def signature(language: str, **parameters: Any) -> Mapping[str, Any]:
        reward = Meteor(**parameters)
        reward.check(Anything(language))
        return reward.signature()

    english = signature("en")
    assert english["nltk"] == nltk.__version__ and english["stemmer"] == "porter"
    assert signature("de")["wordnet"] is None and signature("de")["stemmer"] == "german"
    assert signature("zh")["words"] == "characters"
    others = [signature("de"), signature("mul"), signature("tr"), signature("en", synonyms=False)]
    others += [signature("en", case=True), signature("en", punctuation=False)]
    assert signature("en", punctuation=False)["unicode"] == unicodedata.unidata_version
    for code, short in (("eng", "en"), ("ger", "de"), ("nob", "nb"), ("cmn", "zh"), ("jpn", "ja"), ("tha", "th")):
        assert signature(code) == signature(short)
    write_wordnet(tmp_path / "corpora" / "wordnet", {**SYNSETS, "noun": [["car", "dog"]]})
    use_data(monkeypatch, tmp_path)
    others.append(signature("en"))
    everything = [english, *others]
    assert all(one not in everything[:place] for place, one in enumerate(everything))


def test_signature_needs_no_wordnet(no_data: Path) -> None:
    assert load_reward("meteor").signature()["wordnet"] is None


def test_reference_of_a_group_is_tokenised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    tokenize = nltk.tokenize.word_tokenize

    def watched(text: str, **options: Any) -> list[str]:
        seen.append(text)
        return list(tokenize(text, **options))

    monkeypatch.setattr(nltk.tokenize, "word_tokenize", watched)
    group = example("a dog", "a hound")
    Meteor().score(Batch.of(["x", "y", "z"], [group] * 3))
    assert sorted(seen) == ["a dog", "a hound", "x", "y", "z"]


def test_example_without_reference_does_not_count() -> None:
    none, full = Meteor().score(Batch.of(["a dog"] * 2, [example(), example("a dog")]))
    assert none is None and full is not None
    assert Meteor().score(Batch.of([], [])) == []


@pytest.mark.parametrize("language", ["en", "de", "ar", "zh", ""])
@pytest.mark.parametrize("text", ["", " \n\t", "?!", "😀👩‍👩‍👧 e\u0301", "مرحبا بالعالم", "שלום"])
def test_any_text_gets_a_score(text: str, language: str) -> None:
    for gold in ("The dog ran to the house.", ""):
        assert 0.0 <= score(Meteor(), text, gold, language=language) <= 1.0
    if text.split():
        assert score(Meteor(), text, text, language=language) >= 0.5


@pytest.mark.parametrize("text", ["a " * 50_000, "y" * 100_000, "😀," * 50_000])
def test_long_text_gets_a_score(text: str) -> None:
    assert score(Meteor(), text, "The dog ran to the house.") < 0.01
    assert score(Meteor(), text, text) >= 0.5
