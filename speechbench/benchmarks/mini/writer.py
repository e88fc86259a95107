"""How a mini corpus comes to lie on disk: spoken by worker processes, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from speechbench.benchmarks.base import Progress
from speechbench.benchmarks.mini.speech import NATIVE_RATE, Voice, engine, speak
from speechbench.cache import cache_folder
from speechbench.errors import MissingError, SpeechbenchError
from speechbench.hub import may_download
from speechbench.locks import forget_holder, waited

# Workers are plain subprocesses: multiprocessing would run the caller's own script again in each of them
# wherever that script has no `if __name__ == "__main__"`.
_WORKER = "from speechbench.benchmarks.mini.writer import work; work()"
_DONE = "done"
_MOST_WORKERS = 8
_MEND = "make room in {} or set SPEECHBENCH_CACHE to another folder, and run the same command again"
_SUBTYPES = {".mp3": ("MP3", "MPEG_LAYER_III"), ".flac": ("FLAC", "PCM_16")}


@dataclass(frozen=True)
class Utterance:
    """One file to be spoken.

    Attributes:
        file: Where it goes, relative to the corpus's folder; the suffix (.mp3 or .flac) says as what.
        text: What is said.
        voice: Who says it.
        rate: Sampling rate in Hz.
    """

    file: str
    text: str
    voice: Voice
    rate: int

    def seed(self) -> int:
        """Of the engine's noise: depends on the file's name alone."""
        return stable_number(self.file) % 2**31


def stable_number(text: str) -> int:
    """A number that depends on the text alone, the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def libraries() -> dict[str, str]:
    """What the bytes depend on besides texts and voices.

    Raises:
        MissingError: If espeak-ng or libsndfile's MP3 is missing.
    """
    import soundfile
    import soxr

    if "MP3" not in soundfile.available_formats():
        raise MissingError(
            f"the mini corpora need libsndfile 1.1 or newer with MP3, here is {soundfile.__libsndfile_version__}: "
            "run `pip install --force-reinstall --only-binary :all: soundfile`"
        )
    return {"speech": engine(), "libsndfile": soundfile.__libsndfile_version__, "soxr": soxr.__version__}


def made_once(
    corpus: str, recipe: Mapping[str, Any], make: Callable[[Path], None], progress: Progress | None = None
) -> Path:
    """The folder of a corpus, made if it is not there.

    It is written under another name and renamed when whole, by one process at a time; others wait for it. What a
    killed process left half-made is removed by the next one.

    Args:
        corpus: Its name, the front of the folder's.
        recipe: Everything that its bytes depend on.
        make: Writes the corpus into an empty folder.
        progress: Told if another process has to be waited for.

    Raises:
        MissingError: If it is not there and only looked for (`speechbench.hub.without_downloads`).
        SpeechbenchError: If the cache folder cannot be written, or its filesystem has no locks.
    """
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{corpus}-{key}"
    if folder.is_dir():
        forget_holder(folder)
        return folder
    if not may_download():
        raise MissingError(f"{corpus} is not made yet: run `speechbench benchmarks prepare {corpus}`")
    unfinished = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")

    def tell(holder: str) -> None:
        if progress is not None:
            progress(f"waiting for {holder}, which makes {corpus}", 0, 1)

    try:
        with waited(folder, tell):
            if not folder.is_dir():  # else another process has made it meanwhile
                _remove_unfinished(folder)
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
    except OSError as error:
        raise SpeechbenchError(
            f"{corpus} cannot be written to {cache_folder()}: {error.strerror or error}; {_MEND.format(cache_folder())}"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _remove_unfinished(folder: Path) -> None:
    """Removes what processes that were killed have left; only for who holds the lock."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


def speak_all(folder: Path, utterances: Sequence[Utterance], what: str, progress: Progress | None = None) -> None:
    """Speaks and encodes utterances with as many processes as there are processors, at most eight.

    Args:
        folder: Where to; folders within it are made.
        utterances: What to speak. The bytes do not depend on who speaks which.
        what: Shown with the progress.
        progress: Told after each utterance, in the caller's thread.

    Raises:
        SpeechbenchError: If a worker fails.
    """
    for parent in sorted({(folder / utterance.file).parent for utterance in utterances}):
        parent.mkdir(parents=True, exist_ok=True)
    count = max(1, min(_MOST_WORKERS, os.cpu_count() or 1, len(utterances)))
    # The workers find this package wherever this process found it.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env={**environment, "PYTHONIOENCODING": "utf-8"},
        )
        for _ in range(count)
    ]
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    try:
        for index, worker in enumerate(workers):
            assert worker.stdin is not None and worker.stdout is not None
            with suppress(BrokenPipeError), worker.stdin as stdin:  # a worker that died says why in its output
                json.dump([str(folder), [asdict(utterance) for utterance in utterances[index::count]]], stdin)
            threading.Thread(target=_pass_on, args=(worker.stdout, lines), daemon=True).start()
        _follow(lines, count, len(utterances), what, progress)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _pass_on(stream: IO[str], lines: queue.SimpleQueue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line.rstrip("\n"))
    lines.put(None)


def _follow(
    lines: queue.SimpleQueue[str | None], workers: int, total: int, what: str, progress: Progress | None
) -> None:
    """Counts finished utterances until every worker has closed its output; what else they say is the error."""
    done = 0
    said: list[str] = []
    while workers:
        line = lines.get()
        if line is None:
            workers -= 1
        elif line == _DONE:
            done += 1
            if progress is not None:
                progress(what, done, total)
        else:
            said.append(line)
    if done < total:
        raise SpeechbenchError(
            f"{what}: only {done} of {total} utterances could be spoken: "
            f"{said[-1].rstrip('.') if said else 'a worker was killed'}; {_MEND.format(cache_folder())}"
        )


def work() -> None:
    """A worker's life: reads what to speak from standard input, says `done` after each."""
    folder, utterances = json.load(sys.stdin)
    for fields in utterances:
        voice = Voice(**fields.pop("voice"))
        utterance = Utterance(voice=voice, **fields)
        write_utterance(Path(folder), utterance)
        print(_DONE, flush=True)


def write_utterance(folder: Path, utterance: Utterance) -> None:
    """Speaks one utterance into its file."""
    import numpy as np
    import soundfile
    import soxr

    spoken = speak(utterance.text, utterance.voice, utterance.seed()).astype(np.float32) / 2**15
    samples = soxr.resample(spoken, NATIVE_RATE, utterance.rate, quality="HQ")
    path = folder / utterance.file
    form, subtype = _SUBTYPES[path.suffix]
    soundfile.write(path, samples, utterance.rate, format=form, subtype=subtype)
