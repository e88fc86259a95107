"""Wrong input through the command: one sentence that names the thing, the place and the fix, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from speechbench.cli import main
from speechbench.errors import naming, sentence_of
from speechbench.models.tiny import FOLDER as TINY

GRPO = ["--trainers", "grpo", "--steps", "1"]
MOST_SECONDS = 60.0  # of a call that should fail within seconds of its start, on a machine that is busy


SHORT = """
from speechbench.benchmarks.covost2 import Covost2
from speechbench.benchmarks.manifest import Manifest

class Lines(Manifest):
    max_completion_length = 6
    metrics = ("bleu",)

class Clips(Covost2):
    max_completion_length = 6
    metrics = ("bleu",)
"""
"""The real benchmarks with short answers, so that the tests are fast."""


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short.py").write_text(SHORT)


def lines_of(manifest: Path) -> list[str]:
    return ["--benchmark", f"./short.py:Lines(path={manifest})", "--quiet"]


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def ablate(manifest: Path, *words: str, rewards: str = "bleu") -> Result:
    return call("ablate", "--rewards", rewards, *lines_of(manifest), *GRPO, *words)


def refused(result: Result | subprocess.CompletedProcess[str], status: int, *says: str) -> str:
    """The one sentence that a failed call says; its parts are regular expressions, in this order."""
    if isinstance(result, Result):
        assert isinstance(result.exception, SystemExit), result.exception
        code, output = result.exit_code, result.stderr
    else:
        code, output = result.returncode, result.stderr
    assert code == status, output
    lines = [line for line in output.splitlines() if line.strip()]
    if lines[0].startswith("Usage: "):  # click's own form, for what it finds wrong itself
        assert lines[-1].startswith("Error: ")
    else:
        assert len(lines) == 1 and lines[0].startswith("speechbench: "), output
    sentence = lines[-1].partition(": ")[2]
    assert re.search(".*".join(f"(?:{part})" for part in says), sentence), sentence
    assert not re.search(r"\w\. [A-Z]", sentence), "more than one sentence"
    return sentence


def results(folder: Path | str = "runs") -> dict[str, bytes]:
    """What is finished: the bytes of each result, by label."""
    found = {}
    for path in Path(folder).glob("*/*/result.json"):
        found[json.loads((path.parent / "run.json").read_text())["label"]] = path.read_bytes()
    return found


def edit_lines(manifest: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    change(lines)
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return [1 / 0 for _ in completions]", "failed on example 'train.*ZeroDivisionError.*mend the reward"),
        ("return [float('nan') for _ in completions]", "returned nan.*example 'train.*return one finite number"),
        pytest.param(
            "return [float('inf') for _ in completions]",
            "returned inf.*example 'train.*return one finite number",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "return [1.0]",
            "returned 1 scores for .*example 'train.*return one finite number per hypothesis",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "return [None for _ in completions]",
            "gave no score to any.*example 'train.*choose another reward",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "return 1.0",
            "returned a float, not a list.*example 'train.*return one finite number per hypothesis",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_reward_that_goes_wrong_is_named_with_the_example(few_manifest: Path, body: str, says: str) -> None:
    file = Path("mine.py")
    file.write_text(f"def mine(completions, **columns):\n    {body}\n")
    refused(ablate(few_manifest, rewards="./mine.py:mine"), 1, r"reward \S*mine", says)
    before = results()
    assert list(before) == ["base"]
    file.write_text("def mine(completions, **columns):\n    return [len(text) / 100 for text in completions]\n")
    mended = ablate(few_manifest, rewards="./mine.py:mine")
    assert mended.exit_code == 0, mended.output
    after = results()
    assert set(after) == {"base", "grpo(mine)"} and after["base"] == before["base"]


def _remove(path: Path) -> None:
    path.unlink()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("no audio, whatever the name says\n" * 100)


def _one_sample(path: Path) -> None:
    soundfile.write(path, np.ones(1), 16000)


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


BROKEN = [
    (_remove, "is missing"),
    (_empty, r"is empty \(0 bytes\)"),
    (_text, "cannot be decoded"),
    (_one_sample, "is too short: it holds 1 sample"),
    (_cut, "is cut off"),
]


@pytest.mark.parametrize(("spoil", "says"), BROKEN)
def test_an_audio_file_that_cannot_be_used_ends_every_command_before_any_work(
    few_manifest: Path, spoil: Callable[[Path], None], says: str
) -> None:
    spoil(few_manifest.parent / "train2.wav")
    spoil(few_manifest.parent / "train3.wav")
    where = "(manifest.jsonl:3: |example 'train2-3': )audio file .*train2.wav "
    sentence = refused(ablate(few_manifest), 1, where, says, "put a whole recording there, or take its example out")
    assert "the first of 2 " in sentence
    train = call("train", "--trainer", "sft", "--steps", "1", *lines_of(few_manifest))
    refused(train, 1, where, says, "put a whole recording there, or take its example out")
    measured = call("eval", "--split", "train", *lines_of(few_manifest))
    refused(measured, 1, where, says, "put a whole recording there, or take its example out")
    assert not Path("runs").exists()

    listed = call("benchmarks", "check", lines_of(few_manifest)[1], "--json")
    assert listed.exit_code == 0, listed.output
    report = json.loads(listed.stdout)
    assert report["found"] == {"train": 2, "validation": 4, "test": 4}
    assert len(report["problems"]) == 2
    assert all(f"train{n}.wav" in p["what"] for n, p in zip((2, 3), report["problems"], strict=True))

    edit_lines(few_manifest, lambda lines: lines.__delitem__(slice(2, 4)))
    mended = ablate(few_manifest, "--dry-run")
    assert mended.exit_code == 0, mended.output


def test_an_audio_file_that_may_not_be_read_is_named(few_manifest: Path) -> None:
    path = few_manifest.parent / "test1.wav"
    path.unlink()
    path.mkdir()  # unreadable for root too
    refused(ablate(few_manifest), 1, "audio file .*test1.wav cannot be read", "put a whole recording there")


@pytest.mark.slow
def test_a_sample_that_is_no_number_is_named_where_it_is_decoded(few_manifest: Path) -> None:
    """Only decoding finds it: the base run's test examples come first, and are kept when train's turn comes."""
    path = few_manifest.parent / "train2.wav"
    whole = path.read_bytes()
    soundfile.write(path, np.full(8000, np.nan), 16000, subtype="FLOAT")
    says = ("example 'train2-3': audio file .*train2.wav holds samples that are no finite numbers", "; put a whole")
    refused(ablate(few_manifest), 1, *says)
    assert list(results()) == ["base"]
    path.write_bytes(whole)
    assert ablate(few_manifest).exit_code == 0


def test_incomplete_downloads_are_told_and_done_without(tmp_path: Path) -> None:
    """Missing, empty and broken clips of CoVoST 2 are counted, told and left out."""
    (tmp_path / "clips").mkdir()
    rows = [(f"{split}{n}.mp3", split) for split in ("train", "test") for n in range(3)]
    for name, _ in rows:
        soundfile.write(tmp_path / "clips" / name, np.random.default_rng(0).standard_normal(32000) * 0.1, 32000)
    validated = "".join(f"ann\t{name}\tHello.\n" for name, _ in rows)
    (tmp_path / "validated.tsv").write_text("client_id\tpath\tsentence\n" + validated)
    translations = "".join(f"{name}\tHallo.\t{split}\n" for name, split in rows)
    (tmp_path / "covost_v2.en_de.tsv").write_text("path\ttranslation\tsplit\n" + translations)
    _remove(tmp_path / "clips" / "test1.mp3")
    _empty(tmp_path / "clips" / "test2.mp3")
    _cut(tmp_path / "clips" / "train1.mp3")
    clips = ["--benchmark", f"./short.py:Clips(root={tmp_path})"]
    measured = call("eval", *clips, "--json")
    assert measured.exit_code == 0 and json.loads(measured.stdout)["examples"] == 1
    planned = call("ablate", "--rewards", "bleu", *GRPO, *clips, "--dry-run")
    assert planned.exit_code == 0
    told = "".join(planned.stderr.split())  # as wide as the terminal is
    assert f"covost_v2.en_de.tsv:6:thereisno{tmp_path}/clips/test1.mp3;leftout" in told
    assert "covost_v2.en_de.tsv:7:" in told and "test2.mp3isempty(0bytes);leftout" in told
    assert "covost_v2.en_de.tsv:3:" in told and "train1.mp3iscutoff" in told


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        (lambda lines: lines[1].pop("audio"), 1, r"manifest\.jsonl:2: the field 'audio' is lacking; add it"),
        (lambda lines: lines[1].pop("references"), 1, r"manifest\.jsonl:2: the field 'references' is lacking; add"),
        (lambda lines: [line.pop("split") for line in lines], 2, r"manifest\.jsonl: no line has the field 'split'"),
        (lambda lines: lines.__delitem__(slice(8, 12)), 2, "no line is of the split 'test'; mark some so"),
        (lambda lines: lines.clear(), 2, r"manifest\.jsonl is empty: write one line per"),
    ],
)
def test_a_manifest_that_lacks_something_is_named_with_the_line(
    few_manifest: Path, change: Callable[[list[dict[str, object]]], object], status: int, says: str
) -> None:
    edit_lines(few_manifest, change)
    refused(ablate(few_manifest), status, says)
    assert not Path("runs").exists()


def test_an_empty_split_of_a_download_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "validated.tsv").write_text("client_id\tpath\tsentence\nann\ta.mp3\tHello.\n")
    (tmp_path / "covost_v2.en_de.tsv").write_text("path\ttranslation\tsplit\na.mp3\tHallo.\ttrain\n")
    words = ["eval", "--metrics", "bleu", "--quiet", "--benchmark"]
    clips = call(*words, f"covost2(root={tmp_path})")
    refused(clips, 1, r"covost2\(.*\): the test split is empty", r"there is no .*a\.mp3", "; download Common Voice")
    (tmp_path / "LibriSQA-PartI").mkdir()
    (tmp_path / "LibriSQA-PartI" / "LibriSQA-PartI-test.json").write_text("[]")
    questions = call(*words, f"librisqa(root={tmp_path})")
    says = (
        r"librisqa\(.*\): the test split is empty",
        r"LibriSQA-PartI-test\.json has no row",
        "hf download ZihanZhao/LibriSQA",
    )
    refused(questions, 1, *says)


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _with_cut_weights(folder: Path) -> None:
    _cut(folder / "model.safetensors")


def _without_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["projector.linear.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _of_another_architecture(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')


def _without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _without_anything(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _unfinished_run(folder: Path) -> None:
    (folder / "run.json").touch()


@pytest.mark.parametrize(
    ("spoil", "status", "says"),
    [
        (_without_anything, 1, r"holds no model: it has no config\.json; name a folder"),
        (_without_config, 1, r"holds no model: it has no config\.json; name a folder"),
        (_of_another_architecture, 1, r"config\.json is of a llama model.*name another checkpoint"),
        (_without_weights, 1, r"lacks its weights.*; copy, download or train it again"),
        (_with_cut_weights, 1, r"model\.safetensors is cut off or broken.*; copy, download or train it again"),
        (
            _without_a_tensor,
            1,
            r"lacks weights .* (model\.)?projector\.linear\.weight; copy, download or train it again",
        ),
        (_without_tokenizer, 1, r"lacks its tokenizer.*; copy, download or train it again"),
        (_unfinished_run, 2, "is unfinished: finish it by its command, or name a finished run"),
    ],
)
def test_a_checkpoint_that_is_no_whole_speech_model_is_named(
    few_manifest: Path, tmp_path: Path, spoil: Callable[[Path], None], status: int, says: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    spoil(folder)
    refused(ablate(few_manifest, "--model", str(folder)), status, str(folder), says)
    assert not Path("runs").exists()


@pytest.mark.slow
def test_a_hub_name_without_a_hub_is_said_within_seconds(few_manifest: Path) -> None:
    """A closed port of this machine stands for the hub: no answer, whether or not there is a network."""
    result = subprocess.run(
        [sys.executable, "-m", "speechbench", "eval", "--model", "nobody/no-such-model", *lines_of(few_manifest)],
        env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
    )
    says = ("^nobody/no-such-model is not on this machine and asking the hub", "name a folder", "hf download nobody")
    refused(result, 1, *says)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("granite-speech(checkpoint=nowhere)", "checkpoint 'nowhere': there is no such folder.*name a folder"),
        ("./gone", r"model \./gone: there is no such folder; name a folder that is there"),
        ("tinny", "unknown model 'tinny': did you mean 'tiny'"),
    ],
)
def test_a_model_that_is_nowhere_is_a_wrong_call(few_manifest: Path, model: str, says: str) -> None:
    refused(ablate(few_manifest, "--model", model), 2, says)


@pytest.mark.parametrize(
    ("words", "config", "says"),
    [
        (["--steps", "0"], "", "'--steps'.*0 is not in the range"),
        (["--limit", "0"], "", "'--limit'.*0 is not in the range"),
        (["--seeds", "one"], "", "'--seeds'.*'one' is no list of whole numbers like 0,1,2"),
        (["--seeds", "0,1.5"], "", "'--seeds'.*'0,1.5' is no list of whole numbers like 0,1,2"),
        (["--seeds", "-1"], "", "seed=-1.*whole number"),
        ([], "grpo: {num_generations: 1}", "grpo: num_generations=1: .*at least 2"),
        ([], "grpo: {max_steps: 0}", "grpo: max_steps=0: .*at least one step"),
        ([], "grpo: {learning_rate: fast}", "grpo: learning_rate='fast'.* a number"),
        ([], "grpo: {learningrate: 1}", "grpo: there is no 'learningrate'; did you mean 'learning_rate'"),
        ([], "grpo: [", "settings.yaml is no YAML"),
        ([], "", "settings.yaml: write one section per trainer"),
        (["--config", "gone.yaml"], "", "'--config'.*gone.yaml.* does not exist"),
    ],
)
def test_a_wrong_call_is_refused_before_any_work(few_manifest: Path, words: list[str], config: str, says: str) -> None:
    if not words:
        Path("settings.yaml").write_text(config)
        words = ["--config", "settings.yaml"]
    trainer = ["--trainers", "grpo", *([] if "max_steps" in config else ["--steps", "1"])]
    refused(call("ablate", "--rewards", "bleu", *lines_of(few_manifest), *trainer, *words), 2, says)
    assert not Path("runs").exists()


def _change_run(folder: Path) -> str:
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, "label": "grpo(comet)"}))
    return "run.json"


def _change_result(folder: Path) -> str:
    content = json.loads((folder / "result.json").read_text())
    content["metrics"]["bleu"]["corpus"] += 10
    (folder / "result.json").write_text(json.dumps(content))
    return "result.json"


def _change_samples(folder: Path) -> str:
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    lines[0]["hypothesis"] = "better"
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "samples.jsonl"


def _cut_samples(folder: Path) -> str:
    _cut(folder / "samples.jsonl")
    return "samples.jsonl"


def _remove_samples(folder: Path) -> str:
    (folder / "samples.jsonl").unlink()
    return "samples.jsonl"


def _empty_result(folder: Path) -> str:
    _empty(folder / "result.json")
    return "result.json"


def _newer_schema(folder: Path) -> str:
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, "schema": 99}))
    return "run.json has schema 99, newer than"


EDITS = (_change_run, _change_result, _change_samples, _cut_samples, _remove_samples, _empty_result, _newer_schema)


@pytest.mark.slow
def test_an_edited_run_folder_is_found_by_the_board_and_by_the_ablation(few_manifest: Path) -> None:
    assert ablate(few_manifest).exit_code == 0
    shutil.copytree("runs", "kept")
    whole = results()
    for label in ("base", "grpo(bleu)"):
        for edit in EDITS:
            shutil.rmtree("runs")
            shutil.copytree("kept", "runs")
            infos = {path.parent: json.loads(path.read_text()) for path in Path("runs").glob("*/*/run.json")}
            (folder,) = (folder for folder, info in infos.items() if info["label"] == label)
            named = edit(folder)
            fix = "upgrade" if edit is _newer_schema else "remove the run's folder and run the same command again"
            (board,) = json.loads(call("leaderboard", "--json").output)  # tells it, and shows the rest
            (broken,) = board["broken"]
            assert broken["folder"] == str(folder) and named in broken["reason"] and fix in broken["reason"]
            assert any(row["cells"]["bleu"]["value"] is not None for row in board["rows"])
            if label != "base":
                refused(ablate(few_manifest), 1, str(folder), named, fix)
            kept = {path.parent for path in Path("runs").glob("*/*/result.json")}
            assert kept == set(infos)  # nothing was done anew or taken away
    shutil.rmtree(folder)  # as the sentence says
    assert ablate(few_manifest).exit_code == 0
    metrics = {label: json.loads(content)["metrics"] for label, content in results().items()}
    assert metrics == {label: json.loads(content)["metrics"] for label, content in whole.items()}


def test_out_under_a_file_is_refused(few_manifest: Path) -> None:
    Path("file").touch()
    for out in ("file", "file/runs"):
        refused(ablate(few_manifest, "--out", out), 1, "^file/", "Not a directory|File exists", "--out")
    measured = call("eval", *lines_of(few_manifest), "--samples", "file/samples.jsonl")
    refused(measured, 1, "^file", "Not a directory|File exists", "name another")


def in_a_mount(script: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Runs a shell script that may mount file systems on ./disk, which nobody else sees."""
    if shutil.which("unshare") is None or subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"mkdir -p {tmp_path}/probe && mount -t tmpfs none {tmp_path}/probe"],
        capture_output=True,
    ).returncode:  # fmt: skip
        pytest.skip("mounting is not permitted here")
    (tmp_path / "disk").mkdir()
    return subprocess.run(
        ["unshare", "-rm", "sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHON": sys.executable},
    )  # fmt: skip


def outcome(name: str) -> subprocess.CompletedProcess[str]:
    """What a command in a script left: its status and what it said."""
    return subprocess.CompletedProcess(
        [], int(Path(f"{name}.status").read_text()), Path(f"{name}.out").read_text(), Path(f"{name}.err").read_text()
    )


def quoted(manifest: Path) -> str:
    return shlex.join(lines_of(manifest))


COMMAND = """
run() { name=$1; shift; status=0
        "$PYTHON" -m speechbench "$@" >$name.out 2>$name.err || status=$?; echo $status >$name.status; }
"""


@pytest.mark.slow
def test_a_folder_that_is_not_writable_is_named_before_any_work(few_manifest: Path, tmp_path: Path) -> None:
    words = f"ablate --rewards bleu --trainers grpo --steps 1 {quoted(few_manifest)} --out disk"
    done = in_a_mount(
        COMMAND + f"""
        mount -t tmpfs none disk
        mount -o remount,ro disk; run readonly {words}
        mount -o remount,rw disk; run mended {words}
        """, tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused(outcome("readonly"), 1, "^disk/", "Read-only file system", "name another place .*--out")
    assert outcome("mended").returncode == 0


@pytest.mark.slow
def test_a_full_disk_loses_nothing(few_manifest: Path, tmp_path: Path) -> None:
    """The base run fits, the checkpoint does not; with more room the same command ends as one undisturbed."""
    words = f"ablate --rewards bleu --trainers grpo --steps 2 {quoted(few_manifest)} --out"
    done = in_a_mount(
        COMMAND + f"""
        mount -t tmpfs -o size=4m none disk
        run full {words} disk
        find disk -name result.json | wc -l >finished
        mount -o remount,size=200m disk
        run mended {words} disk
        cp -r disk after
        run undisturbed {words} undisturbed
        """, tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused(outcome("full"), 1, "^disk/.*cannot be written", "make room there", "the same command")
    assert Path("finished").read_text().strip() == "1"
    for name in ("mended", "undisturbed"):
        assert outcome(name).returncode == 0, outcome(name).stderr
    after, expected = results("after"), results("undisturbed")
    assert set(after) == {"base", "grpo(bleu)"}
    for label, content in after.items():
        assert json.loads(content)["metrics"] == json.loads(expected[label])["metrics"]


@pytest.mark.slow
def test_a_disk_too_small_for_a_run_folder_or_a_corpus_is_named(few_manifest: Path, tmp_path: Path) -> None:
    words = f"eval {quoted(few_manifest)} --samples disk/samples.jsonl"
    done = in_a_mount(
        COMMAND + f"""
        mount -t tmpfs -o size=4k none disk; head -c 4096 /dev/zero >disk/something
        run samples {words}
        mount -o remount,size=2m disk
        run again {words}
        export SPEECHBENCH_CACHE=disk
        run corpus benchmarks prepare librisqa-mini --quiet
        find disk -name '*librisqa*' -not -name '*.lock' | wc -l >left
        """, tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused(outcome("samples"), 1, r"^disk/samples\.jsonl cannot be .*written: No space left", "make room there")
    assert outcome("again").returncode == 0
    refused(outcome("corpus"), 1, "^librisqa-mini", "make room in disk or set SPEECHBENCH_CACHE")
    assert Path("left").read_text().strip() == "0"


def test_who_reads_no_further_is_told_nothing(tmp_path: Path) -> None:
    """`speechbench models list | head -0`: no traceback, no complaint."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "speechbench", "models", "list"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert done.stderr == ""


def test_what_the_system_refuses_becomes_a_sentence_and_mistakes_of_ours_do_not() -> None:
    assert sentence_of(OSError("no number")) is None
    assert sentence_of(OSError(errno.EBADF, "Bad file descriptor")) is None
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENOTDIR):
        with pytest.raises(OSError) as caught, naming("runs/a/result.json"):
            raise OSError(number, os.strerror(number))
        sentence = sentence_of(caught.value)
        assert sentence is not None
        assert sentence.startswith(f"runs/a/result.json cannot be read or written: {os.strerror(number)}; ")
    assert "make room there" in str(sentence_of(OSError(errno.ENOSPC, "No space left on device")))
