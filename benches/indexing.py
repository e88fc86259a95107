"""How fast a data set of CoVoST 2's size is joined, indexed, opened again and ready for its first batch.

Makes a Common Voice folder and its translations in a temporary folder, with many rows and real MP3s (of noise; a few
hundred files under as many names as there are rows), then measures, each in a process of its own:

- reading both tables, joining and indexing them. The peer is what the official script does, pandas' `read_csv` with
  its arguments and `merge`, and beyond that, where `datasets` is installed, writing the result to disk as Arrow, which
  the index has done;
- reading every recording once, with what is found noted. The peer reads the same files and hashes them (SHA-256), in
  as many threads;
- opening it again: `load_benchmark` and `load("train")`. The peer is `datasets.load_from_disk` of the saved table;
- the first batch: from `load_benchmark` to eight examples decoded at 16 kHz, the fingerprint included.

The seconds do not count the start of Python and the import of the packages, unless a line says so.

    OMP_NUM_THREADS=1 python benches/indexing.py [--rows 290000] [--seconds 5] [--rounds 3] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.util
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FILES, RATE, THREADS, BATCH = 200, 32_000, 8, 8
WORDS = ("the", "a", "house", "of", "green", "and", "tree", "under", "very", "long", "sentence", "to", "be", "read")
SPLITS = ("dev", "test", *("train", "train_covost") * 500)
Result = dict[str, float]


def make(folder: Path, rows: int, seconds: float) -> None:
    """Writes the tables and the clips."""
    import numpy as np
    import soundfile

    draw, noise = random.Random(0), np.random.default_rng(0)
    (folder / "clips").mkdir(parents=True)
    (folder / "sounds").mkdir()
    for number in range(FILES):
        samples = noise.standard_normal(int(RATE * seconds * draw.uniform(0.5, 1.5))) * 0.1
        soundfile.write(folder / "sounds" / f"{number}.mp3", samples, RATE)
    numbers = draw.sample(range(10 * rows), rows)
    with (
        (folder / "validated.tsv").open("w", encoding="utf-8") as validated,
        (folder / "covost_v2.en_de.tsv").open("w", encoding="utf-8") as released,
    ):
        validated.write("client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\n")
        released.write("path\ttranslation\tsplit\n")
        for row, number in enumerate(numbers):
            clip, text = f"common_voice_en_{number}.mp3", " ".join(draw.choices(WORDS, k=draw.randint(4, 16)))
            validated.write(f"{draw.getrandbits(512):0128x}\t{clip}\t{text}\t2\t0\ttwenties\tfemale\tus\n")
            released.write(f"{clip}\t{text} für sie\t{SPLITS[row % len(SPLITS)]}\n")
            os.link(folder / "sounds" / f"{row % FILES}.mp3", folder / "clips" / clip)
    time.sleep(2.5)  # what has just changed is read again, lest a change within the same tick go unseen


def official(root: Path) -> Any:
    """The official script's way to the joined table."""
    import pandas

    def read(name: str) -> Any:
        return pandas.read_csv(
            root / name, sep="\t", header=0, encoding="utf-8", escapechar="\\", quoting=csv.QUOTE_NONE, na_filter=False
        )

    left, right = read("validated.tsv"), read("covost_v2.en_de.tsv")
    return left[["path", "sentence", "client_id"]].merge(
        right[["path", "translation", "split"]], how="inner", on="path"
    )


def timed(work: Callable[[], Any]) -> Result:
    """Seconds of a piece of work, and the most memory that the process has had, in MB."""
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def index(root: Path) -> Result:
    """Ours: joined and indexed."""
    from speechbench.benchmarks import load_benchmark

    return timed(lambda: load_benchmark(f"covost2(en_de, root={root})").index())  # type: ignore[attr-defined]


def pandas_join(root: Path) -> Result:
    """The peer: joined."""
    import pandas  # noqa: F401

    return timed(lambda: official(root))


def datasets_save(root: Path) -> Result:
    """The peer: joined and saved."""
    import datasets
    import pandas  # noqa: F401

    datasets.disable_progress_bars()
    return timed(lambda: datasets.Dataset.from_pandas(official(root)).save_to_disk(root / "saved"))


def examine(root: Path) -> Result:
    """Ours: every recording read once, and the fingerprint, as `prepare` does."""
    from speechbench.benchmarks import load_benchmark
    from speechbench.benchmarks.fingerprint import fingerprint

    benchmark = load_benchmark(f"covost2(en_de, root={root})")
    benchmark.index()  # type: ignore[attr-defined]
    found = timed(lambda: [benchmark.load(split) for split in ("train", "validation", "test")])
    assert not benchmark.problems
    return {**found, "fingerprint": timed(lambda: fingerprint(benchmark.load("train")))["seconds"]}


def read_and_hash(root: Path) -> Result:
    """The peer: every recording read and hashed."""
    clips = [entry.path for entry in os.scandir(root / "clips")]
    with ThreadPoolExecutor(THREADS) as pool:
        return timed(lambda: list(pool.map(lambda clip: hashlib.sha256(Path(clip).read_bytes()).hexdigest(), clips)))


def open_again(root: Path) -> Result:
    """Ours: opened."""
    from speechbench.benchmarks import load_benchmark

    return timed(lambda: len(load_benchmark(f"covost2(en_de, root={root})").load("train")))


def datasets_open(root: Path) -> Result:
    """The peer: opened."""
    import datasets

    return timed(lambda: len(datasets.load_from_disk(str(root / "saved"))))


def first_batch(root: Path) -> Result:
    """Ours: from the spec to sound."""
    from speechbench.benchmarks import load_benchmark
    from speechbench.benchmarks.fingerprint import fingerprint

    def work() -> None:
        examples = load_benchmark(f"covost2(en_de, root={root})").load("train")
        fingerprint(examples)
        sounds = [example.audio.samples(16_000) for example in examples[:BATCH] if example.audio]
        assert len(sounds) == BATCH

    return timed(work)


WORKS = {
    work.__name__: work
    for work in (index, pandas_join, datasets_save, examine, read_and_hash, open_again, datasets_open, first_batch)
}


def measured(name: str, root: Path, cache: Path) -> Result:
    """A piece of work in a new process; the seconds of the whole process too."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--work", name, "--folder", str(root)]
    environment = {**os.environ, "SPEECHBENCH_CACHE": str(cache)}
    said = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {**json.loads(said.splitlines()[-1]), "process": time.perf_counter() - start}


def table(names: dict[str, str], rounds: list[dict[str, Result]]) -> None:
    """Prints seconds, memory and the first one's ratio to each peer, medians over rounds."""
    ours = next(iter(names))
    for name, what in names.items():
        results = [one[name] for one in rounds]
        seconds, process = (statistics.median(result[key] for result in results) for key in ("seconds", "process"))
        ratio = statistics.median(one[name]["seconds"] / one[ours]["seconds"] for one in rounds)
        against = "" if name == ours else f"{ratio:6.2f} times ours"
        memory = max(result["megabytes"] for result in results)
        print(f"  {what:46}{seconds:9.3f} s{memory:8.0f} MB{process:9.2f} s with Python's start {against}")


def main() -> None:
    """Prints the four comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=290_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a recording, on average")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the data is made; it is kept there")
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(WORKS[options.work](options.folder)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = (options.folder or Path(scratch) / "data").absolute()
        if not root.is_dir():
            make(root, options.rows, options.seconds)
        compare(root, options.rounds, Path(scratch))


def compare(root: Path, rounds: int, scratch: Path) -> None:
    """Measures and prints."""
    has_datasets = importlib.util.find_spec("datasets") is not None
    rows = sum(1 for _ in os.scandir(root / "clips"))
    joins = {"index": "joined and indexed", "pandas_join": "pandas, joined only"}
    joins |= {"datasets_save": "pandas and datasets, joined and saved"} if has_datasets else {}
    print(f"{rows} rows, {rounds} rounds", flush=True)
    found = [{name: measured(name, root, scratch / f"cache{n}") for name in joins} for n in range(rounds)]
    table(joins, found)
    reads = {"examine": "every recording read once and noted", "read_and_hash": f"read and hashed, {THREADS} threads"}
    cache = scratch / "cache0"
    once = {name: measured(name, root, cache) for name in reads}
    table(reads, [once])
    each = ", ".join(f"{name} {result['seconds'] / rows * 1e6:.0f}" for name, result in once.items())
    print(f"  microseconds a recording: {each}; the fingerprint then takes {once['examine']['fingerprint']:.2f} s")
    opens = {"open_again": "opened again"} | ({"datasets_open": "datasets, opened again"} if has_datasets else {})
    table(opens, [{name: measured(name, root, cache) for name in opens} for _ in range(rounds)])
    last = {"first_batch": f"the first {BATCH} examples decoded, fingerprinted"}
    table(last, [{name: measured(name, root, cache) for name in last} for _ in range(rounds)])


if __name__ == "__main__":
    main()
