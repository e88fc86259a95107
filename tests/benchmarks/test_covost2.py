"""The benchmark covost2: its directions, roots and parameters. How Common Voice is read: test_common_voice."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import examination, index_building, load_benchmark
from speechbench.benchmarks.base import SPLITS
from speechbench.benchmarks.covost2 import DIRECTIONS, Covost2
from speechbench.benchmarks.covost2_official import OFFICIAL
from speechbench.benchmarks.fingerprint import fingerprint
from speechbench.benchmarks.templates import LANGUAGES, WORDINGS
from speechbench.errors import MissingError, SpeechbenchError, UsageError
from speechbench.rewards import load_reward

# As the official script lists them.
INTO_15 = "de tr fa sv-SE mn zh-CN cy ca sl et id ar ta lv ja"
FROM_21 = "fr de es ca it ru zh-CN pt fa et mn nl tr ar sv-SE lv sl ta ja id cy"
OFFICIALLY = [f"en_{code}" for code in INTO_15.split()] + [f"{code}_en" for code in FROM_21.split()]


def tone(seconds: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(np.arange(int(32_000 * seconds)) / 20), 32_000, format="MP3")
    return file.getvalue()


def common_voice(folder: Path, direction: str = "en_de") -> Path:
    """Four rows of train, of 0.2, 0.4, 0.6 and 0.8 s, and one each of the other splits."""
    (folder / "clips").mkdir(parents=True)
    rows = [("a", "train"), ("b", "train_covost"), ("c", "train"), ("d", "train"), ("e", "dev"), ("f", "test")]
    for number, (name, _) in enumerate(rows, 1):
        (folder / "clips" / f"{name}.mp3").write_bytes(tone(0.2 * number))
    validated = "".join(f"speaker {name}\t{name}.mp3\tWord {name}.\n" for name, _ in rows)
    (folder / "validated.tsv").write_text("client_id\tpath\tsentence\n" + validated)
    released = "".join(f"{name}.mp3\tWort {name}.\t{split}\n" for name, split in rows)
    (folder / f"covost_v2.{direction}.tsv").write_text("path\ttranslation\tsplit\n" + released)
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    for module in (examination, index_building):
        monkeypatch.setattr(module, "SETTLES", 0)  # as if all files had been written long ago
    return common_voice(tmp_path / "cv")


def ids(benchmark: Covost2, split: str = "train", limit: int | None = None) -> list[str]:
    return [example.id for example in benchmark.load(split, limit)]


def test_examples(root: Path) -> None:
    benchmark = Covost2("en_de", str(root))
    first = benchmark.load("train")[0]
    assert (first.id, first.source, first.references, first.speaker) == ("a", "Word a.", ("Wort a.",), "speaker a")
    assert first.instruction == "<|audio|> listen to the speech and translate it into German."
    assert (first.source_language, first.target_language) == ("en", "de")
    assert first.audio is not None and first.audio.path == root / "clips" / "a.mp3"
    assert len(first.audio.samples(16_000)) == pytest.approx(3200, abs=1200)
    assert [ids(benchmark, split) for split in SPLITS] == [["a", "b", "c", "d"], ["e"], ["f"]]
    assert ids(benchmark, "train", 2) == ["a", "b"]
    assert not benchmark.problems
    with pytest.raises(UsageError, match="'dev'"):
        benchmark.load("dev")


def test_every_direction_by_its_code(root: Path) -> None:
    assert set(DIRECTIONS) == set(OFFICIALLY) and len(DIRECTIONS) == 36
    for direction in DIRECTIONS:
        benchmark = load_benchmark(f"covost2({direction}, root={root})")
        source, target = direction.split("_")
        assert (benchmark.source_language, benchmark.target_language) == (source, target)
        assert benchmark.expected_counts() == OFFICIAL[direction]
        assert load_benchmark(str(benchmark.name)).name == benchmark.name
        assert load_benchmark(f"covost2(root={root}, direction={direction})").name == benchmark.name


def test_another_direction_is_read_from_its_own_file(tmp_path: Path, root: Path) -> None:
    folder = common_voice(tmp_path / "all" / "zh-CN", "zh-CN_en")
    (folder / "covost_v2.zh-CN_ta.tsv").write_text("path\ttranslation\tsplit\na.mp3\tno direction\ttrain\n")
    benchmark = load_benchmark(f"covost2(zh-CN_en, {tmp_path / 'all'})")
    first = benchmark.load("train")[0]
    assert (first.source_language, first.target_language) == ("zh-CN", "en")
    assert first.instruction == "<|audio|> listen to the speech and translate it into English."
    with pytest.raises(MissingError, match=r"covost_v2\.en_de\.tsv"):
        load_benchmark(f"covost2(en_de, {folder})").load("train")
    ours = common_voice(tmp_path / "sv", "en_sv-SE")
    asked = Covost2("en_sv-SE", str(ours)).load("test")[0].instruction
    assert asked == WORDINGS["translation"].templates[0].format(language=LANGUAGES["sv-SE"])


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("covost2(en-de)", "did you mean 'en_de'"),
        ("covost2(en_fr)", "no direction 'en_fr': did you mean"),
        ("covost2(klingon)", "no direction 'klingon': there are: en_ar"),
        ("covost2(5)", "no direction 5"),
        ("covost3(en_de)", "did you mean 'covost2'"),
        ("covost2(en_de, root={root}, revision=main)", "revision='main' is of .* hub, and .* is a folder"),
        ("covost2(en_de, root=owner/name, translations={root})", "translations=.*owner/name holds its own: leave it"),
        ("covost2(en_de, root={root}, min_seconds=0)", "min_seconds=0 should be a number of seconds above 0"),
        ("covost2(en_de, root={root}, min_seconds=2, max_seconds=1)", "nothing is left"),
        ("covost2(en_de, root={root}, prompts=nothing)", "nothing"),
        ("covost2(en_de, root={root}, prompt=2)", "prompt=2"),
        ("covost2(en_de, root={root}, voice=x)", "voice"),
    ],
)
def test_a_wrong_call_is_one_sentence(root: Path, spec: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_benchmark(spec.format(root=root))


def test_what_is_missing_is_named_with_how_to_get_it(root: Path, tmp_path: Path) -> None:
    for name in ("validated.tsv", "covost_v2.en_de.tsv", "clips"):
        (root / name).rename(root / "away")
        with pytest.raises(MissingError, match=rf"there is no .*{name}; .*Common Voice corpus 4.*covost_v2"):
            Covost2("en_de", str(root)).load("train")
        (root / "away").rename(root / name)
    nowhere = "nowhere is no folder, and no data set on the hub, which is called owner/name; download.*fixie-ai/covost2"
    with pytest.raises(MissingError, match=nowhere):
        Covost2("en_de", str(tmp_path / "nowhere")).load("test")
    (root / "covost_v2.en_de.tsv").write_text("path\ttranslation\tsplit\na.mp3\tA.\ttrain\nx.mp3\tX.\ttest\n")
    with pytest.raises(MissingError, match=r"the test split is empty \(1 problem, .*x\.mp3.* is lost in the join"):
        Covost2("en_de", str(root)).load("test")
    (root / "covost_v2.en_de.tsv").write_text("path\tsplit\n")
    with pytest.raises(SpeechbenchError, match="no column 'translation'"):
        Covost2("en_de", str(root)).load("test")


def test_a_root_that_is_no_folder_is_looked_for_on_the_hub(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from speechbench.benchmarks import hub_covost2

    def made(*arguments: object) -> object:
        asked.append(arguments)
        return None

    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(hub_covost2, "HubCovost2", made)
    Covost2()
    Covost2("ja_en", "owner/name", revision="abc", clips="~/clips")
    Covost2("en_de", str(root))
    monkeypatch.chdir(root.parent)
    (root.parent / "owner").mkdir()
    common_voice(root.parent / "owner" / "name")
    assert ids(Covost2("en_de", "owner/name")) == ["a", "b", "c", "d"]  # a folder is meant where there is one
    assert asked == [
        ("fixie-ai/covost2", "en_de", None, None),
        ("owner/name", "ja_en", "abc", Path.home() / "clips"),
    ]


def test_translations_and_clips_from_elsewhere(root: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (root / "covost_v2.en_de.tsv").rename(tmp_path / "texts" / "covost_v2.en_de.tsv")
    (root / "clips").rename(tmp_path / "disk")
    benchmark = Covost2("en_de", str(root), translations=str(tmp_path / "texts"), clips=str(tmp_path / "disk"))
    assert ids(benchmark) == ["a", "b", "c", "d"]
    audio = benchmark.load("train")[0].audio
    assert audio is not None and audio.path == tmp_path / "disk" / "a.mp3"


def test_too_short_and_too_long_recordings_are_counted(root: Path) -> None:
    benchmark = Covost2("en_de", str(root), min_seconds=0.3, max_seconds=0.7)
    assert ids(benchmark) == ids(benchmark) == ["b", "c"]
    assert benchmark.excluded == {"train: shorter than 0.3 s": 1, "train: longer than 0.7 s": 1}
    assert ids(benchmark, limit=1) == ["b"]
    assert benchmark.excluded == {"train: shorter than 0.3 s": 1}  # it did not come to the long one
    assert not benchmark.problems
    none = Covost2("en_de", str(root), min_seconds=3)
    with pytest.raises(MissingError, match=r"none of the 4 rows of train can be used \(4 are left out, .*shorter"):
        none.load("train")


def test_prompts_change_what_is_asked_and_nothing_else(root: Path, tmp_path: Path) -> None:
    paper = Covost2("en_de", str(root)).load("train")
    (tmp_path / "mine.txt").write_text("<|audio|> {source_language} to {language}\n")
    mine = Covost2("en_de", str(root), prompts=str(tmp_path / "mine.txt")).load("train")
    second = Covost2("en_de", str(root), prompts="paraphrases", prompt=2).load("train")
    assert {e.instruction for e in mine} == {"<|audio|> English to German"}
    assert {e.instruction for e in second} == {WORDINGS["translation"].templates[1].format(language="German")}
    assert [e.references for e in mine] == [e.references for e in paper]
    prints = [fingerprint(examples) for examples in (paper, mine, second)]
    assert len(set(prints)) == 3
    assert [fingerprint(examples) for examples in (paper, mine, second)] == prints


@pytest.mark.parametrize(("direction", "tokenizers"), [
    ("en_de", ["13a"]), ("en_zh-CN", ["zh", "char"]), ("en_ja", ["ja-mecab", "char"]),
    ("en_ar", ["13a"]), ("ja_en", ["13a"]),
])  # fmt: skip
def test_default_metrics_follow_the_target_language(direction: str, tokenizers: list[str], tmp_path: Path) -> None:
    pytest.importorskip("MeCab")
    benchmark = load_benchmark(f"covost2({direction}, root={tmp_path})")
    signatures = [
        str(load_reward(spec, benchmark).signature()) for spec in benchmark.metrics if spec.startswith("bleu")
    ]
    assert len(signatures) == len(tokenizers)
    for signature, tokenizer in zip(signatures, tokenizers, strict=True):
        assert "case:mixed" in signature and f"tok:{tokenizer}" in signature
