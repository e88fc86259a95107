import csv
from pathlib import Path

import pytest

from speechbench.benchmarks import load_benchmark
from speechbench.benchmarks.covost2 import Covost2, read_tsv
from speechbench.errors import MissingError, SpeechbenchError, UsageError

# As the official script lists them.
INTO_15 = "de tr fa sv-SE mn zh-CN cy ca sl et id ar ta lv ja"
FROM_21 = "fr de es ca it ru zh-CN pt fa et mn nl tr ar sv-SE lv sl ta ja id cy"

VALIDATED = """client_id\tpath\tsentence\tup_votes
ann\tc.mp3\tHe said "yes.\t2
bob\ta.mp3\tA tab\\\there, a backslash\\\\.\t2
cat\tb.mp3\tNA\t2
cat\tunused.mp3\tNot in CoVoST.\t2
dan\td.mp3\tSilence.\t2
eve\te.mp3\tNo clip.\t2
fay\tf.mp3\tNo translation.\t2
gus\tg.mp3\tTest.\t2
hal\th.mp3\tDev.\t2
"""
TRANSLATIONS = """path\ttranslation\tsplit
a.mp3\tEin Tab.\ttrain
b.mp3\tnull\ttrain_covost
c.mp3\tEr sagte "ja.\ttrain
d.mp3\tStille.\ttrain
e.mp3\tKein Clip.\ttrain
f.mp3\t\ttrain
lost.mp3\tVerloren.\ttrain
a.mp3\tNoch einmal.\ttrain
g.mp3\tTest.\ttest
h.mp3\tDev.\tdev
odd.mp3\tSeltsam.\tother
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "validated.tsv").write_text(VALIDATED)
    (tmp_path / "covost_v2.en_de.tsv").write_text(TRANSLATIONS)
    (tmp_path / "clips").mkdir()
    for name in "abcfgh":
        (tmp_path / "clips" / f"{name}.mp3").write_bytes(b"sound")
    (tmp_path / "clips" / "d.mp3").touch()
    return tmp_path


def test_the_dialect_is_read_as_by_the_official_script(root: Path) -> None:
    pandas = pytest.importorskip("pandas")
    for name in ("validated.tsv", "covost_v2.en_de.tsv"):
        official = pandas.read_csv(
            root / name, sep="\t", header=0, encoding="utf-8", escapechar="\\", quoting=csv.QUOTE_NONE, na_filter=False
        )
        columns = tuple(column for column in official.columns if column != "up_votes")
        expected = official[list(columns)].to_dict("records")
        assert [row for _, row in read_tsv(root / name, columns)] == expected


def test_examples(root: Path) -> None:
    train = Covost2(str(root)).load("train")
    assert [(e.id, e.source, e.references, e.speaker) for e in train] == [
        ("c", 'He said "yes.', ('Er sagte "ja.',), "ann"),
        ("a", "A tab\there, a backslash\\.", ("Ein Tab.",), "bob"),
        ("b", "NA", ("null",), "cat"),
    ]
    first = train[0]
    assert first.instruction == "<|audio|> listen to the speech and translate it into German."
    assert (first.source_language, first.target_language) == ("en", "de")
    assert first.audio is not None and first.audio.path == root / "clips" / "c.mp3"
    assert [e.id for e in Covost2(str(root)).load("validation")] == ["h"]
    assert [e.id for e in Covost2(str(root)).load("test")] == ["g"]
    assert [e.id for e in Covost2(str(root)).load("train", limit=2)] == ["c", "a"]


def test_every_row_that_gives_no_example_is_listed_once(root: Path) -> None:
    benchmark = Covost2(str(root))
    benchmark.load("train")
    benchmark.load("train")
    found = {problem.where.rpartition(":")[2]: problem.what for problem in benchmark.problems}
    assert len(found) == len(benchmark.problems) == 6
    benchmark.refuse_problems()  # downloads are known to be incomplete: told, and left out
    for line, says in {
        "5": "0 bytes",
        "6": "e.mp3 is missing",
        "7": "no translation",
        "8": "lost in the join",
        "9": "second time",
        "12": "unknown split 'other'",
    }.items():
        assert says in found[line]


def test_joined_files_give_the_same_examples(root: Path) -> None:
    expected = Covost2(str(root)).load("train")
    other = root / "joined"
    other.mkdir()
    rows = [(e.id + ".mp3", e.source or "", e.references[0], e.speaker or "") for e in expected]
    escaped = ["\t".join(cell.replace("\\", "\\\\").replace("\t", "\\\t") for cell in row) for row in rows]
    table = "\n".join(["path\tsentence\ttranslation\tclient_id", *escaped, escaped[0], "short.mp3\tx"])
    (other / "covost_v2.en_de.train.tsv").write_text(table + "\n")
    benchmark = Covost2(str(root), translations=str(other))
    assert benchmark.load("train") == expected
    assert [problem.what.split("; ")[0] for problem in benchmark.problems] == [
        "c.mp3 stands a second time",
        "the row has too few cells, it lacks 'translation'",
    ]
    with pytest.raises(MissingError, match=r"covost_v2\.en_de.tsv"):
        benchmark.load("test")


def test_what_is_missing_is_named_with_how_to_get_it(root: Path, tmp_path: Path) -> None:
    for name in ("validated.tsv", "covost_v2.en_de.tsv"):
        (root / name).rename(root / "away")
        with pytest.raises(MissingError, match=rf"{name}.*Common Voice corpus 4.*covost_v2"):
            Covost2(str(root)).load("train")
        (root / "away").rename(root / name)
    (root / "clips" / "g.mp3").unlink()
    with pytest.raises(MissingError, match="none of the 1 rows of the test split"):
        Covost2(str(root)).load("test")
    (root / "covost_v2.en_de.tsv").write_text("path\ttranslation\tsplit\na.mp3\tA.\ttrain\n")
    with pytest.raises(MissingError, match=r"en_de: the test split is empty: .*download"):
        Covost2(str(root)).load("test")
    (root / "covost_v2.en_de.tsv").write_text("path\tsplit\n")
    with pytest.raises(SpeechbenchError, match="no column 'translation'"):
        Covost2(str(root)).load("test")
    with pytest.raises(MissingError, match="nowhere"):
        Covost2(str(tmp_path / "nowhere")).load("test")


def test_directions(tmp_path: Path) -> None:
    benchmark = load_benchmark(f"covost2(root={tmp_path}, direction=sv-SE_en)")
    assert (benchmark.source_language, benchmark.target_language) == ("sv-SE", "en")
    assert benchmark.name == f"covost2(direction=sv-SE_en, root={tmp_path})"
    assert benchmark.expected_counts() == {}
    assert Covost2(str(tmp_path)).expected_counts()["train"] == 289_430
    officially = [f"en_{code}" for code in INTO_15.split()] + [f"{code}_en" for code in FROM_21.split()]
    assert {Covost2(str(tmp_path), direction).direction for direction in officially} == set(officially)
    with pytest.raises(UsageError, match="did you mean 'en_de'"):
        Covost2(str(tmp_path), direction="en-de")
    with pytest.raises(UsageError, match="no direction 'en_fr'"):
        Covost2(str(tmp_path), direction="en_fr")
    with pytest.raises(UsageError, match="'dev'"):
        Covost2(str(tmp_path)).load("dev")
    with pytest.raises(UsageError, match="covost2"):
        load_benchmark("covost3(root=x)")
