"""Whether an engine holds out: hundreds of short runs, none lost or done twice, memory flat, little time between them.

One ablation of SFT under many seeds, two steps each on the embedded model, is done by several workers. Meanwhile the
resident memory of each worker and of the process that drives them is read once a second. Reported are

- the runs: how many were planned, and how many have a result and each of their steps once;
- memory: of each worker, the highest after its tenth run over the highest up to there;
- overhead: the share of the workers' time between the first run's beginning and the last one's end without a run.

    python benches/soak.py [--runs 200] [--jobs 2] [--steps 2] [--limit 4]

The report is JSON on standard output; the exit status is 1 if a run is missing or was done twice. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORKER = b"speechbench.engines.worker"
SETTLED = 10  # runs of a worker after which its memory should be flat


def resident(process: int) -> int:
    """Bytes that a process holds in memory; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def workers_of(driver: int) -> list[int]:
    """The processes that do runs for another."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent == driver and WORKER in status.with_name("cmdline").read_bytes():
                found.append(int(status.parent.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def watched(command: list[str], folder: Path) -> tuple[dict[int, list[tuple[int, int]]], list[int]]:
    """Runs the command; of each worker, how many runs were finished and its memory, and the driver's memory."""
    memory: dict[int, list[tuple[int, int]]] = {}
    driver: list[int] = []
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            time.sleep(1)
            finished = len(list(folder.glob("runs/*/*/result.json")))
            if finished:  # it has planned
                driver.append(resident(process.pid))
            for worker in workers_of(process.pid):
                memory.setdefault(worker, []).append((finished, resident(worker)))
    if process.returncode:
        raise SystemExit((folder / "log.txt").read_text()[-2000:])
    return memory, driver


def steps_of(run: Path) -> list[int]:
    """The steps that a run's log tells of."""
    return [json.loads(line)["step"] for line in (run / "train.jsonl").read_text().splitlines()]


def report(folder: Path, asked: argparse.Namespace, watch: tuple[dict[int, list[tuple[int, int]]], list[int]]) -> Any:
    """What was found."""
    memory, driver = watch
    results = sorted(folder.glob("runs/*/*/result.json"))
    trained = [path.parent for path in results if json.loads((path.parent / "run.json").read_text())["trainer"]]
    whole = [run for run in trained if steps_of(run) == list(range(1, asked.steps + 1))]
    spans = [((path.parent / "run.json").stat().st_mtime, path.stat().st_mtime) for path in results]
    # The base alone comes first, while the other workers are not started.
    spans = sorted(spans)[1 + asked.jobs :]
    wall = max(end for _, end in spans) - min(begin for begin, _ in spans)
    work = sum(end - begin for begin, end in spans)
    growth = {}
    for worker, readings in memory.items():
        early = [held for finished, held in readings if finished <= SETTLED * asked.jobs]
        late = [held for finished, held in readings if finished > SETTLED * asked.jobs]
        if early and late:
            growth[worker] = max(late) / max(early)
    tenth = max(1, len(driver) // 10)
    return {
        "planned": asked.runs,
        "finished with each step once": len(whole),
        "workers": len(memory),
        "memory of workers, the highest after their tenth run over that before": growth,
        "memory of the driver, last over first tenth": max(driver[-tenth:]) / max(driver[:tenth]),
        "highest memory of a worker": max(held for readings in memory.values() for _, held in readings),
        "seconds of a run": work / len(spans),
        "overhead": 1 - work / (wall * asked.jobs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--limit", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        command = [sys.executable, "-m", "speechbench", "ablate", "--trainers", "sft", "--out", "runs", "--quiet"]
        command += ["--seeds", ",".join(map(str, range(asked.runs))), "--jobs", str(asked.jobs)]
        command += ["--steps", str(asked.steps), "--limit", str(asked.limit)]
        start = time.perf_counter()
        found = report(folder, asked, watched(command, folder))
        found["seconds"] = time.perf_counter() - start
    print(json.dumps(found, indent=1))
    sys.exit(found["finished with each step once"] != asked.runs)


if __name__ == "__main__":
    main()
