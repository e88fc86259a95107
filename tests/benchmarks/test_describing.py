"""`speechbench benchmarks list` and `show`: what the benchmarks are, as their code says it, and some examples."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechbench.benchmarks import Benchmark, load_benchmark
from speechbench.benchmarks.describing import SHOWN, listing, show
from speechbench.benchmarks.mini import writer
from speechbench.errors import MissingError, UsageError
from speechbench.registry import BENCHMARKS
from speechbench.rewards.loading import load_reward

BUILT_IN = sorted(BENCHMARKS._lazy)

OWN = '''
from pathlib import Path
from speechbench.benchmarks import Audio, Benchmark, Example

class Digits(Benchmark):
    """Digits,
    read aloud.

    By nobody.

    Args:
        root: Folder of
            the WAVs.
        least: Unused.
    """

    task = "translation"
    source_language, target_language = "de", "fr"
    licence, licence_note, citation = "CC0", "Two files say CC BY.", "Nobody, 1999"
    casing = "upper case"
    hours = {"test": 0.5}
    seen_by = ("Model A, says its card.", "Model B.")
    metrics = ("bleu", "comet", "chrf(word_order=2)")

    def __init__(self, root, least=0):
        super().__init__()
        self.root = Path(root)

    def load(self, split, limit=None):
        from speechbench.errors import MissingError
        found = sorted((self.root / split).glob("*.wav"))[:limit]
        if not found:
            raise MissingError(f"there is nothing in {self.root / split}: record something")
        return [Example(p.stem, Audio(p), "<|audio|> ?", ("un", "une"), "EINS", "de", "fr", "ann") for p in found]

    def expected_counts(self):
        return {"test": 7}

    def provenance(self):
        return {"revision": "abc"}

def not_one():
    return 1
'''


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEECHBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    return tmp_path / "own.py"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    (tmp_path / "wavs" / "validation").mkdir(parents=True)
    for number in range(SHOWN + 2):
        noise = np.random.default_rng(number).standard_normal(4000 * (number + 1)) * 0.1
        soundfile.write(tmp_path / "wavs" / "validation" / f"{number}.wav", noise, 16000)
    return tmp_path / "wavs"


def first_line(docstring: str | None) -> str:
    return " ".join(inspect.cleandoc(docstring or "").split("\n\n")[0].split())


def test_all_built_in_benchmarks_are_listed_as_their_code_says() -> None:
    found = listing()
    assert sorted(found) == sorted(BENCHMARKS.names())
    for name in BUILT_IN:
        plug = BENCHMARKS.get(name)
        assert found[name].summary == first_line(plug.__doc__)
        assert found[name].task == plug.task
        assert found[name].where.startswith("speechbench.benchmarks.")
        assert not found[name].broken
    assert found["covost2-mini"].languages == "en → de"
    assert found["librisqa-mini"].languages == "en → en"
    assert found["manifest"].languages == ""  # the file's own


def test_one_that_cannot_be_imported_says_why_and_hinders_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS._lazy, "gone", "speechbench.no_such_module:Gone")
    found = listing()
    assert "no_such_module" in found["gone"].broken
    assert found["covost2"].summary


def test_packages_are_not_imported_to_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = importlib.metadata.EntryPoint("theirs", "no_such_package:Benchmark", "speechbench.benchmarks")
    monkeypatch.setattr(BENCHMARKS, "_installed", {"theirs": [entry]})
    theirs = listing()["theirs"]
    assert (theirs.summary, theirs.broken) == ("", "")
    assert "no_such_package" in theirs.where


def test_ones_own_is_listed_with_its_place(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS._loaded, "digits", BENCHMARKS.get("own.py:Digits"))
    mine = listing()["digits"]
    assert (mine.task, mine.languages, mine.summary) == ("translation", "de → fr", "Digits, read aloud.")
    assert str(own) in mine.where


def test_listing_loads_nothing_heavy() -> None:
    script = (
        "import sys; from click.testing import CliRunner; from speechbench.cli import main\n"
        "done = CliRunner().invoke(main, ['benchmarks', 'list', '--json']); assert done.exit_code == 0, done\n"
        "heavy = ('torch', 'transformers', 'datasets', 'pyarrow', 'pandas', 'soundfile', 'sacrebleu')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_card_says_what_the_code_declares(recorded: Path) -> None:
    found = show("own.py:Digits(wavs)")
    plug = BENCHMARKS.get("own.py:Digits")
    assert found.spec == "own.py:Digits(root=wavs)"
    assert (found.summary, found.details) == ("Digits, read aloud.", ("By nobody.",))
    for name in ("task", "licence", "licence_note", "citation", "casing", "hours", "seen_by", "strict"):
        assert getattr(found, name) == getattr(plug, name), name
    assert found.languages == "de → fr"
    assert found.counts == {"test": 7}
    assert found.provenance == {"revision": "abc"}
    root, least = found.parameters
    assert (root.name, root.default, root.value, root.text) == ("root", None, "wavs", "Folder of the WAVs.")
    assert (least.name, least.default, least.value, least.text) == ("least", "0", None, "Unused.")


def test_the_examples_are_those_of_the_first_split_that_can_be_had(recorded: Path) -> None:
    found = show("own.py:Digits(root=wavs)")
    examples = load_benchmark("own.py:Digits(root=wavs)").load("validation", SHOWN)
    assert [shown.id for shown in found.examples] == [example.id for example in examples] == ["0", "1", "2"]
    for number, (shown, example) in enumerate(zip(found.examples, examples, strict=True), 1):
        assert shown.split == "validation"
        for name in ("instruction", "source", "references", "speaker"):
            assert getattr(shown, name) == getattr(example, name)
        assert shown.seconds == pytest.approx(number * 4000 / 16000)
    assert found.no_examples == ""


def test_data_that_is_not_there_hinders_no_card() -> None:
    found = show("own.py:Digits(root=nowhere)")
    assert found.examples == ()
    assert found.no_examples == "there is nothing in nowhere/test: record something"
    assert found.metrics[0].signature is not None


def test_a_name_alone_is_shown_even_if_it_needs_parameters() -> None:
    found = show("own.py:Digits")
    assert found.parameters[0].default is None
    assert "root" in found.no_examples
    assert [(metric.spec, metric.signature) for metric in found.metrics] == [
        ("bleu", None),
        ("comet", None),
        ("chrf(word_order=2)", None),
    ]
    assert (found.licence, found.counts) == ("CC0", {})


def test_metrics_have_the_signature_that_they_will_have_or_say_why_not() -> None:
    found = {metric.spec: metric for metric in show("own.py:Digits(root=nowhere)").metrics}
    loaded = load_benchmark("own.py:Digits(root=nowhere)")
    for name in ("bleu", "chrf(word_order=2)"):
        assert found[name].signature == load_reward(name, loaded).signature()
    assert found["comet"].signature is None
    assert "Unbabel/wmt22-comet-da" in found["comet"].no_signature


def test_the_tokenizer_is_that_of_the_target_language() -> None:
    pytest.importorskip("MeCab")
    for direction, tokenizer in (("en_de", "13a"), ("en_ja", "ja-mecab"), ("en_zh-CN", "zh")):
        (bleu,) = [metric for metric in show(f"covost2({direction})").metrics if metric.spec == "bleu"]
        assert bleu.signature is not None
        assert f"tok:{tokenizer}" in bleu.signature["metric"]


@pytest.mark.parametrize("name", ["covost2", "librisqa", "manifest"])
def test_the_real_ones_are_shown_without_any_data(name: str) -> None:
    found = show(name)
    plug = BENCHMARKS.get(name)
    assert found.citation == plug.citation
    assert found.no_examples
    assert {parameter.name for parameter in found.parameters} == set(inspect.signature(plug).parameters)
    assert all(parameter.text for parameter in found.parameters)


def test_how_it_asks_is_told_by_task(few_manifest: Path) -> None:
    found = show(f"manifest(path={few_manifest}, prompts=paraphrases)")
    loaded = load_benchmark(f"manifest(path={few_manifest}, prompts=paraphrases)")
    assert [(asking.task, asking.templates) for asking in found.prompts] == [
        (task, tuple(template.text for template in prompts.templates))
        for task, prompts in loaded.prompts.items()  # type: ignore[attr-defined]
    ]
    assert len(found.prompts[0].templates) > 1
    assert len(show(f"manifest(path={few_manifest}, prompt=1)").prompts[0].templates) == 1


def test_nothing_is_made_to_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def speak(*_: object, **__: object) -> None:
        raise AssertionError("the corpus was made")

    monkeypatch.setattr(writer, "speak_all", speak)
    for name in ("covost2-mini", "librisqa-mini"):
        found = show(name)
        assert found.examples == ()
        assert f"speechbench benchmarks prepare {name}" in found.no_examples


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("covost3", "did you mean 'covost2'"),
        ("covost2(rot=x)", "rot"),
        ("covost2(en_xx)", "no direction"),
        ("own.py:not_one", "should extend"),
    ],
)
def test_what_does_not_exist_is_an_error(spec: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        show(spec)


def test_the_base_class_declares_nothing_that_is_untrue() -> None:
    """What is not declared is not shown as if it were known."""

    class Bare(Benchmark):
        """Bare."""

        def load(self, split: str, limit: int | None = None) -> list[object]:  # type: ignore[override]
            raise MissingError("nothing")

    BENCHMARKS._loaded["bare"] = Bare
    try:
        found = show("bare")
    finally:
        del BENCHMARKS._loaded["bare"]
    assert (found.licence, found.casing, found.seen_by, dict(found.hours)) == ("unknown", "", (), {})
