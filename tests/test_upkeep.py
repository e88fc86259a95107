"""Room on disk: what runs take up, and that nothing goes which was not named or is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from speechbench.cli import main
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.locks import held
from speechbench.printing.upkeep import room
from speechbench.run_schema import Health, Result, RunInfo
from speechbench.runs import write_result, write_run
from speechbench.upkeep import find, removal, remove, sizes, superfluous


def made(out: Path, id_: str, label: str, is_finished: bool, *checkpoints: str, start: str | None = None) -> Path:
    """A run; of checkpoints those with an exclamation mark are not whole. Each holds 1,000 bytes."""
    info = RunInfo(
        id=id_, label=label, trainer=None if label == "base" else "grpo", reward=None, seed=None, model="tiny",
        model_fingerprint="w", benchmark="b", data_fingerprint="d", config={"max_steps": 9}, metrics=(), provenance={},
        start=start,
    )  # fmt: skip
    folder = out / "ablation" / id_
    write_run(folder, info)
    for name in checkpoints:
        place = folder / "checkpoints" / name.rstrip("!")
        place.mkdir(parents=True)
        (place / "weights").write_bytes(bytes(1000))
        if not name.endswith("!") and name.startswith("checkpoint"):
            (place / "complete.json").write_text("{}")
    if is_finished:
        write_result(folder, Result({}, Health(0, 0, 0, 0, 1.0, 0.0), {"total": 3.0}, 1, 9))
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    made(tmp_path, "a", "base", True)
    made(tmp_path, "b", "sft", True, "checkpoint-9", "checkpoint-10", "checkpoint-11!", "best-4", "final", ".final.tmp")
    made(tmp_path, "c", "sft+grpo", False, "checkpoint-4", "checkpoint-8", "checkpoint-9!", "best-4", start="b")
    return tmp_path


def gone(out: Path, keep: list[str]) -> list[str]:
    return sorted(str(each.path.relative_to(out / "ablation")) for each in superfluous(out, keep))


def test_runs_are_listed_with_their_room_the_largest_first(out: Path) -> None:
    found = sizes(out)
    assert [its.run.name for its in found] == ["sft", "sft+grpo", "base"]
    assert found[0].bytes > 6000 and [path.name for path, _ in found[1].checkpoints] == [
        "best-4", "checkpoint-4", "checkpoint-8", "checkpoint-9",
    ]  # fmt: skip
    assert dict(found[0].checkpoints)[out / "ablation/b/checkpoints/checkpoint-10"] == 1002
    shown = CliRunner().invoke(main, ["runs", "list", str(out)])
    assert shown.exit_code == 0 and "3 runs, " in shown.output and "sft+grpo" in shown.output
    told = json.loads(CliRunner().invoke(main, ["runs", "list", str(out), "--json"]).output)
    assert [run["bytes"] for run in told] == [its.bytes for its in found]


def test_what_is_kept_is_what_the_policy_says_and_what_a_run_goes_on_from(out: Path) -> None:
    always = [".final.tmp", "best-4", "checkpoint-11", "checkpoint-9"]
    broken = ["c/checkpoints/checkpoint-9"]
    assert gone(out, ["best", "last"]) == [*(f"b/checkpoints/{name}" for name in always), *broken]
    without_last = sorted([*always, "checkpoint-10"])
    assert gone(out, ["best"]) == [*(f"b/checkpoints/{name}" for name in without_last), *broken]
    assert gone(out, []) == [*(f"b/checkpoints/{name}" for name in sorted([*without_last, "final"])), *broken]
    with pytest.raises(UsageError, match=r"keep='bets' is none of best, last: did you mean 'best'"):
        superfluous(out, ["bets"])


def test_nothing_goes_before_it_was_named_and_agreed_to(out: Path) -> None:
    before = sorted(out.rglob("*"))
    words = ["runs", "gc", str(out)]
    for more, answer in ((["--dry-run"], None), ([], "n\n"), ([], "")):
        result = CliRunner().invoke(main, [*words, *more], input=answer)
        assert "checkpoint-11 (sft: a checkpoint that is not whole)" in result.output, result.output
        assert "to be removed: 5, 5 kB" in result.output and sorted(out.rglob("*")) == before
    done = CliRunner().invoke(main, [*words, "--yes"])
    assert done.exit_code == 0 and "removed: 5 kB" in done.output
    left = sorted(path.name for path in out.glob("ablation/*/checkpoints/*"))
    assert left == ["best-4", "checkpoint-10", "checkpoint-4", "checkpoint-8", "final"]
    assert "to be removed: nothing" in CliRunner().invoke(main, words).output


def test_a_run_is_removed_by_folder_id_or_name_with_a_word_on_what_builds_on_it(out: Path) -> None:
    for which in (str(out / "ablation" / "b"), "b", "sft"):
        assert find(which, out).id == "b"
    named = removal("sft", out)
    assert named.why == "sft, finished; sft+grpo start from it, and would have it done again"
    result = CliRunner().invoke(main, ["runs", "rm", "sft", "b", "--in", str(out), "--yes"])
    assert result.exit_code == 0 and "to be removed: 1," in result.output
    assert sorted(path.name for path in (out / "ablation").iterdir()) == ["a", "c"]
    with pytest.raises(UsageError, match=r"'sft-grpo' is no run of .*: did you mean 'sft\+grpo'"):
        find("sft-grpo", out)


def test_what_someone_is_at_work_on_stays(out: Path) -> None:
    named = removal("c", out)
    with held(out / "ablation" / "c"):
        with pytest.raises(SpeechbenchError, match=r"is being done by process \d+ on .*: stop that first"):
            remove([named])
        with pytest.raises(SpeechbenchError, match=r"sft\+grpo is being done by process"):
            removal("c", out)
        assert not any(path.startswith("c/") for path in gone(out, []))
    assert remove([named, named]) == [named] and not named.path.exists()


def test_links_are_removed_and_not_what_they_lead_to(out: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(bytes(5000))
    before = removal("base", out).bytes
    (out / "ablation" / "a" / "link").symlink_to(tmp_path / "precious")
    assert removal("base", out).bytes == before
    remove([removal("base", out)])
    assert (tmp_path / "precious" / "file").exists() and not (out / "ablation" / "a").exists()


def test_show_tells_what_a_run_holds(out: Path) -> None:
    shown = CliRunner().invoke(main, ["runs", "show", "sft", "--in", str(out)])
    assert shown.exit_code == 0 and "checkpoint-10 1 kB" in shown.output and "9 of 9" in shown.output
    told = json.loads(CliRunner().invoke(main, ["runs", "show", "c", "--in", str(out), "--json"]).output)
    assert told["state"] == "planned" and len(told["checkpoints"]) == 4


@pytest.mark.parametrize(
    ("bytes_", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1004, "1 kB"), (31_940_000, "31.9 MB"), (999_600, "1 MB"),
     (2.5e9, "2.5 GB"), (1.25e12, "1.25 TB")],
)  # fmt: skip
def test_room_is_told_in_the_unit_worth_showing(bytes_: float, text: str) -> None:
    assert room(bytes_) == text
