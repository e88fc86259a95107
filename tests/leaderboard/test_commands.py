"""The commands `leaderboard …` as they are called, and as docs/leaderboard.md has them."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from speechbench.cli import main

MakeRun = Callable[..., Path]
PAGE = (Path(__file__).parents[2] / "docs" / "leaderboard.md").read_text(encoding="utf-8")
(COMMANDS,) = (block.splitlines() for block in re.findall(r"```\n(speechbench .*?)```", PAGE, re.DOTALL))


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["leaderboard", *map(str, words)])


@pytest.fixture
def runs(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Base, SFT and GRPO in the folder `runs`, where the commands look by themselves."""
    for label, quality in (("base", 0.5), ("sft", 0.7), ("grpo(bleu)", 0.8)):
        make_run(label, quality, None if label == "base" else 0)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_show_is_what_is_meant_where_no_command_is_named(runs: Path) -> None:
    shown = call("show", runs)
    assert shown.exit_code == 0 and "grpo(bleu) − base" in shown.output
    assert call(runs).output == call().output == call("runs", "--quiet").output == shown.output
    (board,) = json.loads(call("--json").output)
    assert [row["label"] for row in board["rows"]] == ["base", "sft", "grpo(bleu)"]
    assert call("--markdown").output.startswith("**covost2-mini")


def test_a_test_and_a_number_of_resamples_can_be_chosen(runs: Path) -> None:
    (board,) = json.loads(call("--json", "--test", "randomisation", "--resamples", "300").output)
    assert (board["test"], board["resamples"], board["most_resamples"]) == ("randomisation", 300, 300)


def test_several_folders_are_several_boards_or_one(make_run: MakeRun, runs: Path) -> None:
    make_run("mixed-grpo(bleu)", 0.7, ablation="second")
    make_run("base", 0.5, None, ablation="second")
    folders = [runs / "default", runs / "second"]
    assert len(json.loads(call(*folders, "--json").output)) == 2
    (board,) = json.loads(call(*folders, "--json", "--together").output)
    assert [row["label"] for row in board["rows"]] == ["base", "sft", "grpo(bleu)", "mixed-grpo(bleu)"]


def test_every_form_is_written(runs: Path, tmp_path: Path) -> None:
    for name, start in (("a.md", "**cov"), ("a.tex", "%"), ("a.csv", "benchmark,"), ("a.html", "<!doctype html>")):
        done = call("export", "--out", name)
        assert done.exit_code == 0 and name in done.output
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert [row["row"] for row in csv.DictReader(file)] == ["base", "sft", "grpo(bleu)"]
    assert call("html", "--audio", "none").exit_code == 0
    assert (tmp_path / "leaderboard.html").stat().st_size > 100_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "--out", "board.docx"], "the suffix says the form"),
        (["export", "--out", "board.tex", "--plot", "curves"], "name another file"),
        (["export", "--out", "a.png", "--plot", "curve"], "curves"),
        (["compare", "grpo(bleau)", "sft"], "did you mean 'grpo(bleu)"),
        (["compare", "sft", "base", "--metric", "blue"], "did you mean 'bleu'"),
        (["show", "--test", "bootstap"], "bootstrap"),
        (["show", "--resamples", "0"], "--resamples"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_status_2(runs: Path, words: list[str], said: str) -> None:
    done = call(*words)
    assert done.exit_code == 2 and said in done.output and "Traceback" not in done.output


def test_a_folder_without_runs_and_one_that_is_not_there(tmp_path: Path) -> None:
    for folder, said in ((tmp_path, "holds no runs"), (tmp_path / "nowhere", "there is no folder")):
        done = call(folder)
        assert done.exit_code == 1 and said in done.output


def test_one_broken_folder_does_not_stop_the_rest(runs: Path) -> None:
    (runs / "default" / "sft-0" / "result.json").write_text('{"schema": 4')
    done = call(runs)
    assert done.exit_code == 0 and "grpo(bleu)" in done.output
    assert "not read:" in done.output and "result.json is broken" in " ".join(done.output.split())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_without_some_characters_gets_their_codes(runs: Path, encoding: str) -> None:
    command = [sys.executable, "-m", "speechbench", "leaderboard", str(runs)]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding})
    text = done.stdout.decode(encoding)
    assert done.returncode == 0 and not done.stderr and "grpo(bleu)" in text and "\\u25b2" in text


def test_compare_says_both_and_where_they_differ(runs: Path) -> None:
    done = call("compare", "grpo(bleu)", runs / "default" / "sft-0", "--examples", "3")
    assert done.exit_code == 0 and "grpo(bleu) seed 0 against sft seed 0" in done.output
    assert "the 3 largest wins" in done.output and "the 3 largest losses" in done.output
    found = json.loads(call("compare", "grpo(bleu)", "sft", "--json").output)
    assert len(found["wins"]) == 20 and found["metrics"][0]["bootstrap"]["against"] == "sft seed 0"


@pytest.mark.slow
def test_serve_tells_its_address_and_ends_at_an_interrupt(runs: Path) -> None:
    command = [sys.executable, "-m", "speechbench", "leaderboard", "serve", str(runs), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}, preexec_fn=_listen
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[0]
    with urllib.request.urlopen(f"{address}version", timeout=20) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0


def _listen() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell start deaf to it


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_page(command: str, runs: Path, make_run: MakeRun, tmp_path: Path) -> None:
    if "serve" in command:
        pytest.skip("served in a test of its own")
    if "--plot" in command:
        pytest.importorskip("matplotlib")
        (runs / "default" / "sft-0" / "train.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
        make_run("sft", 0.7)  # sealed again, with its log
    if "--together" in command:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "runs").symlink_to(runs)
    _, *words = shlex.split(command, comments=True)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output


def test_the_pages_python(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, found := dict[str, object]())
    assert "\\toprule" in capsys.readouterr().out and found["found"] is not None
