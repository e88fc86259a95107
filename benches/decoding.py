"""How fast recordings become samples at 16 kHz, against `soundfile.read` and `soxr.resample` called directly.

First table, one thread each: a recording with its hash known beforehand, as benchmarks hand them out, so what is
measured includes reading, hashing and all checks. Printed is the ratio of processor times in this run (above 1: ours
is faster), median of several rounds in which both take turns; at least 0.9 is wanted. The samples must
agree to 1e-6: `soundfile.read` seeks first, which changes the last bits of some MP3s.

Second table: the same recordings decoded in the background by two threads and by one. Printed is the ratio of wall
times (2: twice as fast). What the machine gives at that moment is the same ratio for hashing in two threads and in
one, which is printed above it: below 2 where others use its processors.

The speech is LibriSpeech's where a folder of it is given or lies beside the repository, otherwise noise that comes and
goes; it is written as FLAC and MP3 at several rates first.

    OMP_NUM_THREADS=1 python benches/decoding.py [--speech FOLDER] [--clips 64] [--rounds 15]
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.decoding import Background

RATE = 16_000
FORMATS = {
    "FLAC 16 kHz": ("flac", 16_000),
    "FLAC 44.1 kHz": ("flac", 44_100),
    "MP3 32 kHz": ("mp3", 32_000),
    "MP3 48 kHz": ("mp3", 48_000),
}
SPEECH = Path(__file__).parents[2] / "shared" / "data" / "LibriSpeech"

Samples = npt.NDArray[np.float32]


def speech(folder: Path, count: int) -> list[Samples]:
    """Recordings at `RATE`: of the folder, or made."""
    found = sorted(folder.rglob("*.flac"))[:count]
    if found:
        return [soundfile.read(path, dtype="float32")[0] for path in found]
    rng = np.random.default_rng(0)
    lengths = rng.integers(3 * RATE, 15 * RATE, count)
    return [(rng.standard_normal(n) * 0.1 * np.abs(np.sin(np.arange(n) / 4000))).astype(np.float32) for n in lengths]


def write(folder: Path, recordings: Sequence[Samples], suffix: str, rate: int) -> list[Audio]:
    """The recordings in one format."""
    audios = []
    for number, samples in enumerate(recordings):
        path = folder / f"{number}-{rate}.{suffix}"
        soundfile.write(path, samples if rate == RATE else soxr.resample(samples, RATE, rate), rate)
        audios.append(Audio(path, Audio(path).examine().sha256))
    return audios


def directly(audio: Audio) -> Samples:
    """What anyone would write."""
    samples, rate = soundfile.read(audio.path, dtype="float32")
    return samples if rate == RATE else soxr.resample(samples, rate, RATE, quality="HQ")


def ours(audio: Audio) -> Samples:
    """What benchmarks do."""
    return audio.samples(RATE)


def processor_time(decode: Callable[[Audio], Samples], audios: Sequence[Audio]) -> float:
    """Seconds to decode them one after the other."""
    start = time.process_time()
    for audio in audios:
        decode(audio)
    return time.process_time() - start


def wall_time(threads: int, audios: Sequence[Audio]) -> float:
    """Seconds to decode them in the background."""
    background = Background(threads, 1 << 40)
    start = time.perf_counter()
    background.begin(audios, RATE)
    for thread in threading.enumerate():
        if thread.name == "decoding":
            thread.join()
    return time.perf_counter() - start


def hashing_time(threads: int) -> float:
    """Seconds for a work without any hold of the interpreter's lock, shared among threads."""
    work = bytes(1 << 22)
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: hashlib.sha256(work).digest(), range(32)))
    return time.perf_counter() - start


def told(name: str, ratios: Sequence[float]) -> str:
    """A row: the median, and all rounds."""
    rounds = " ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    return f"{name:16}{statistics.median(ratios):8.2f}   {rounds}"


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, default=SPEECH)
    for name, default in (("clips", 64), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    recordings = speech(options.speech, options.clips)
    seconds = sum(map(len, recordings)) / RATE
    print(f"{len(recordings)} recordings, {seconds / 60:.1f} minutes; {options.rounds} rounds, sorted")
    with tempfile.TemporaryDirectory() as folder:
        written = {name: write(Path(folder), recordings, *kind) for name, kind in FORMATS.items()}
        print("\none thread against soundfile and soxr directly, processor time")
        for name, audios in written.items():
            for audio in audios:
                np.testing.assert_allclose(ours(audio), directly(audio), atol=1e-6)
            rows = [(processor_time(directly, audios), processor_time(ours, audios)) for _ in range(options.rounds)]
            took = statistics.median(mine for _, mine in rows)
            print(told(name, [peer / mine for peer, mine in rows]) + f"   {seconds / took:.0f} times as fast as speech")
        print("\ntwo background threads against one, wall time")
        print(told("hashing", [hashing_time(1) / hashing_time(2) for _ in range(options.rounds)]))
        for name, audios in written.items():
            print(told(name, [wall_time(1, audios) / wall_time(2, audios) for _ in range(options.rounds)]))


if __name__ == "__main__":
    main()
