"""Whether an ablation that is killed again and again ends as one that never was, to the last bit.

One ablation runs undisturbed. Others of the same command, each in folders of its own, are killed with SIGKILL,
most of them within a phase that is chosen in turn (a random entry into it, a random moment of it), the rest at
random times, and started again until they are done. What they leave on disk is then compared with what the
first one left: corpus, samples, logs, checkpoints, weights, results, the board, and no file more.

    python benches/kills.py [--kills 50] [--seed 0] [--steps 5] [--limit 10]

Progress goes to standard error, a report as JSON to standard output; the exit status is 1 if anything differs.
Torch computes on one thread unless OMP_NUM_THREADS says otherwise. Needs Linux.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from attempts import PHASES, POINTS, Attempt, Failure, Kill, alive, attempt

SETTINGS = """\
sft: {save_steps: 2, per_device_train_batch_size: 4}
grpo: {save_steps: 2, per_device_train_batch_size: 4, num_generations: 4, max_completion_length: 24}
mixed-grpo: {save_steps: 2, per_device_train_batch_size: 4, num_generations: 4, max_completion_length: 24}
"""
KILLS_EACH = 7  # of one ablation; then it may end
ANY_TIME_SHARE = 0.35
GROUP_SHARE = 0.3  # of the kills that hit the process's children too; the others must see for themselves
EXACT_SHARE = 0.2
SHORT = 0.01  # seconds: shorter work is killed at its entry, since a signal would come too late
LONGEST_FACTOR = 20.0  # an attempt that takes so many times as long as the undisturbed one hangs


def contents(folder: Path) -> dict[str, str]:
    """What an ablation left, by path; without what depends on the clock, the machine's memory and the place."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.startswith(("cache/indexes/", "cache/recordings.sqlite3", "cache/boards")):
            continue  # what was read of the data, and boards by the times of what they are of: places and times
        if path.is_dir():
            found[name] = "folder"
        elif name != "log.txt":
            found[name] = _content(path, folder)
    return found


def _content(path: Path, folder: Path) -> str:
    if path.name in ("training_args.bin", "complete.json"):  # the place, and seconds
        return "file"
    if path.suffix == ".columns":
        return repr(msgspec.msgpack.decode(path.read_bytes())).replace(str(folder), "")
    if path.suffix not in (".json", ".jsonl"):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    text = path.read_text(encoding="utf-8").replace(str(folder), "")
    if path.name == "train.jsonl":
        return "\n".join(json.dumps(_timeless(json.loads(line))) for line in text.splitlines())
    return text if path.suffix == ".jsonl" else json.dumps(_timeless(json.loads(text)))


def _timeless(content: Any) -> Any:
    if isinstance(content, list):
        return [_timeless(item) for item in content]
    if not isinstance(content, dict):
        return content
    left_out = {"seconds", "peak_memory_bytes", "provenance", "sha256"}  # the hashes are over seconds too
    left_out |= {"sampling", "scoring", "learning", "evaluation", "memory"}  # the board's columns of costs
    return {key: _timeless(value) for key, value in content.items() if key not in left_out}


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """What two `contents` differ in; a folder that only one has stands for all within it."""
    told = [(name, "left over") for name in found.keys() - expected.keys()]
    told += [(name, "missing") for name in expected.keys() - found.keys()]
    told += [(name, "differs") for name in expected.keys() & found.keys() if expected[name] != found[name]]
    whole = {name for name, what in told if what != "differs"}
    return [f"{what}: {name}" for name, what in sorted(told) if str(Path(name).parent) not in whole]


class Killing:
    """The ablations, and what has come of them."""

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        self.work, self.kills = work, options.kills
        self.chance = random.Random(options.seed)
        (work / "settings.yaml").write_text(SETTINGS)
        self.words = [
            "ablate", "--benchmark", "librisqa-mini", "--rewards", "bleu", "--trainers", "sft,sft+grpo,mixed-grpo",
            "--steps", str(options.steps), "--limit", str(options.limit),
            "--config", str(work / "settings.yaml"), "--out", "runs", "--json",
        ]  # fmt: skip
        self.landed: Counter[str] = Counter()
        self.aimed: Counter[int] = Counter()
        self.attempts = self.ablations = 0
        self.differences: list[str] = []

    def run(self) -> None:
        """Does the undisturbed ablation, then kills others until there were enough, in every phase.

        Raises:
            Failure: If an attempt ends otherwise than by its kill or with a result, or a phase cannot be hit.
        """
        for point in POINTS:  # imported once, here: a fork takes milliseconds, importing torch seconds
            point.owner()
        folder = self._folder("undisturbed")
        self.undisturbed = self._attempt(folder, None, 1800.0)
        self.durations = self.undisturbed.durations()
        never = [point.where for index, point in enumerate(POINTS) if index not in self.durations]
        if never:
            raise Failure(f"never called, so that nothing can be killed there: {', '.join(never)}")
        self.expected = contents(folder)
        self.runs = len(list(folder.glob("runs/*/*/result.json")))
        while not self._is_enough():
            if self.ablations == self.kills:
                raise Failure(f"{self.ablations} ablations did not suffice, the kills were {dict(self.landed)}")
            self._kill_one(self._folder(f"ablation-{self.ablations + 1}"))

    def _is_enough(self) -> bool:
        return self.landed.total() >= self.kills and all(self.landed[phase] for phase in PHASES)

    def _folder(self, name: str) -> Path:
        folder = self.work / name
        folder.mkdir()
        return folder

    def _kill_one(self, folder: Path) -> None:
        """One ablation, killed up to `KILLS_EACH` times, then finished and compared."""
        groups = set()
        killed = 0
        while True:
            kill = self._next(folder, killed) if killed < KILLS_EACH and not self._is_enough() else None
            made = self._attempt(folder, kill, LONGEST_FACTOR * self.undisturbed.seconds)
            groups.add(made.process)
            if made.status is not None:
                break
            killed += 1
            wanted = None if kill is None or kill.point is None else POINTS[kill.point].phase
            phase = made.phase(wanted)
            self.landed[phase] += 1
            _say(f"kill {self.landed.total()} of {self.kills}: {phase} ({kill})")
        self.ablations += 1
        different = [f"{folder.name}: {what}" for what in differences(self.expected, contents(folder))]
        different += [f"{folder.name}: still running: {command}" for command in alive(groups)]
        _say(f"ablation {self.ablations}, killed {killed} times: {len(different) or 'no'} differences")
        self.differences += different
        if not different:
            shutil.rmtree(folder)

    def _attempt(self, folder: Path, kill: Kill | None, longest: float) -> Attempt:
        self.attempts += 1
        made = attempt(folder, self.words, kill, longest)
        if made.status:
            told = (folder / "log.txt").read_text().splitlines()[-12:]
            raise Failure("\n".join([f"{folder.name}: an attempt ended with status {made.status}:", *told]))
        return made

    def _next(self, folder: Path, killed: int) -> Kill:
        """First while the corpus is made, which happens once; then in the phase with the fewest kills, or any time."""
        group = self.chance.random() < GROUP_SHARE
        unfinished = 1 - len(list(folder.glob("runs/*/*/result.json"))) / self.runs
        if killed and all(self.landed[phase] for phase in PHASES[1:]) and self.chance.random() < ANY_TIME_SHARE:
            return Kill(None, 0, self.chance.random() * unfinished * self.undisturbed.seconds, group)
        made = any((folder / "cache").glob("librisqa-mini-*"))
        possible = PHASES[:1] if killed == 0 else PHASES[1:] if made else PHASES
        phase = min(possible, key=lambda phase: (self.landed[phase], self.chance.random()))
        points = [index for index, point in enumerate(POINTS) if point.phase == phase]
        point = min(points, key=lambda index: (self.aimed[index], self.chance.random()))
        self.aimed[point] += 1
        seconds = self.durations[point]
        typical = statistics.median(seconds)
        exact = typical < SHORT or self.chance.random() < EXACT_SHARE
        # Of one training's calls, since what is started again may have only one ahead.
        entry = self.chance.randint(1, max(1, len(seconds) // self.runs))
        return Kill(point, entry, None if exact else self.chance.random() * typical, group)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Prints the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("kills", 50), ("seed", 0), ("steps", 5), ("limit", 10)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    if options.kills < len(PHASES):
        parser.error(f"--kills {options.kills}: at least {len(PHASES)}, one for each phase")
    start = time.monotonic()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    work = Path(tempfile.mkdtemp(prefix="speechbench-kills-"))
    killing = Killing(work, options)
    try:
        killing.run()
    except Failure as failure:
        killing.differences.append(str(failure))
    report = {
        "kills": killing.landed.total(),
        "by_phase": {phase: killing.landed[phase] for phase in (*PHASES, "elsewhere")},
        "ablations": killing.ablations,
        "attempts": killing.attempts,
        "equal": not killing.differences,
        "differences": killing.differences,
        "seed": options.seed,
        "seconds": round(time.monotonic() - start),
    }
    print(json.dumps(report, indent=1))
    if killing.differences:
        _say(f"what differs is in {work}")
        sys.exit(1)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
