"""One attempt at a command: a forked process that tells of each phase it enters, and the kill that ends it.

The points where it tells are wrapped in the forked process alone; the package knows nothing of them.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

PHASES = ("corpus making", "encoding", "sampling", "learning", "checkpointing", "evaluation", "writing of results")


class Failure(Exception):
    """Nothing can be said about the kills, since something else went wrong."""


@dataclasses.dataclass(frozen=True)
class Point:
    """A function whose call is part of a phase.

    Attributes:
        phase: One of `PHASES`.
        where: "module:attribute", as it is looked up when it is called.
        after: Whether the moment is when it has returned, instead of all the time that it takes.
        counts: Which calls are meant, by their arguments.
    """

    phase: str
    where: str
    after: bool = False
    counts: Callable[..., bool] = lambda *_, **__: True

    def owner(self) -> tuple[Any, str]:
        """The object that holds the function, and the function's name there.

        Raises:
            Failure: If there is none.
        """
        module, _, path = self.where.partition(":")
        *parents, name = path.split(".")
        try:
            owner = importlib.import_module(module)
            for parent in parents:
                owner = getattr(owner, parent)
            getattr(owner, name)
        except (ImportError, AttributeError) as error:
            raise Failure(f"{self.where}, where processes are to be killed, is not there: {error}") from error
        return owner, name


def _moves_to(*names: str) -> Callable[..., bool]:
    return lambda _, to, **__: Path(to).name.startswith(names)


POINTS = (
    Point("corpus making", "speechbench.benchmarks.mini.writer:speak_all"),
    Point("corpus making", "speechbench.benchmarks.mini.writer:speak_all", after=True),
    Point("corpus making", "os:rename", counts=_moves_to("librisqa-mini")),  # all is written
    # The encoder itself: it runs only for what the cache does not hold.
    Point("encoding", "transformers.models.granite_speech.modeling_granite_speech:GraniteSpeechCTCEncoder.forward"),
    Point(
        "sampling",
        "speechbench.models.base:SpeechModel.sample",
        counts=lambda _model, _prompts, _group_size, sampling: sampling.temperature > 0,  # else it is evaluation
    ),
    Point("learning", "transformers:Trainer.training_step"),
    Point("learning", "torch.optim:AdamW.step"),
    Point("checkpointing", "speechbench.trainers.base:SpeechTrainer._save_checkpoint"),
    Point("checkpointing", "transformers:Trainer._save_checkpoint", after=True),  # our marker is still to come
    Point("checkpointing", "os:replace", counts=_moves_to("complete.json")),  # the marker is written, not yet there
    Point("checkpointing", "os:unlink", counts=lambda *_, **how: "dir_fd" in how),  # rmtree, of an old checkpoint
    Point("checkpointing", "speechbench.models.pretrained:PretrainedSpeechModel.save"),
    Point("checkpointing", "os:rename", counts=_moves_to("final")),
    Point("evaluation", "speechbench.evaluation:answer"),
    Point("evaluation", "speechbench.evaluation:measure"),
    Point("writing of results", "speechbench.trainers.base:SpeechTrainer.log", after=True),
    Point("writing of results", "speechbench.engines.base:make_sure_of_run"),
    Point("writing of results", "speechbench.one_run:write_samples"),
    Point("writing of results", "speechbench.one_run:write_result"),
    # The whole text stands in a temporary file.
    Point("writing of results", "os:replace", counts=_moves_to("run.json", "samples.jsonl", "result.json")),
)


@dataclasses.dataclass(frozen=True)
class Kill:
    """When to kill.

    Attributes:
        point: Index in `POINTS`; `None` for a time of the whole attempt.
        entry: At which call, from 1.
        wait: Seconds after that call, or after the attempt's start; `None`: the call waits for its end.
        group: Whether the process's children are killed too.
    """

    point: int | None
    entry: int
    wait: float | None
    group: bool

    def __str__(self) -> str:
        what = "start of the command"
        if self.point is not None:
            what = f"{POINTS[self.point].where.rpartition(':')[2]}, call {self.entry}"
            what += ", when it has returned" if POINTS[self.point].after else ""
        when = "" if self.wait is None else f", {self.wait * 1000:.0f} ms later"
        return f"{what}{when}{', with its children' if self.group else ''}"


@dataclasses.dataclass
class Attempt:
    """One process's life.

    Attributes:
        events: Kind ("!" and ">" for entered, "<" for left), index in `POINTS`, and time, in order.
        status: Exit status; `None` if it was killed.
        process: Its id, which is its group's.
        seconds: Wall time.
    """

    events: list[tuple[str, int, float]] = dataclasses.field(default_factory=list)
    status: int | None = None
    process: int = 0
    seconds: float = 0.0

    def durations(self) -> dict[int, list[float]]:
        """Seconds of each call, by point."""
        found: dict[int, list[float]] = {}
        entered: list[float] = []
        for kind, point, moment in self.events:
            if kind != "<":
                entered.append(moment)
            else:
                found.setdefault(point, []).append(moment - entered.pop())
        return found

    def phase(self, wanted: str | None) -> str:
        """The phase it was in at the end: the wanted one if it was in that, otherwise the innermost."""
        within: list[str] = []
        for kind, point, _ in self.events:
            if kind != "<":
                within.append(POINTS[point].phase)
            else:
                within.pop()
        return wanted if wanted in within else within[-1] if within else "elsewhere"


# Enough for many kills in the middle; an ablation's cache of its own keeps it apart from the whole corpus.
CORPUS = {"train": 150, "validation": 15, "test": 25}


def live(folder: Path, words: list[str], pipe: int, kill: Kill | None) -> NoReturn:
    """The child: the command, in a folder of its own, telling the parent of each call of a point."""
    status = 70
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        os.environ["SPEECHBENCH_CACHE"] = str(folder / "cache")
        for name, stream in (("board.json", 1), ("log.txt", 2)):
            flags = os.O_CREAT | os.O_WRONLY | (os.O_TRUNC if stream == 1 else os.O_APPEND)
            os.dup2(os.open(name, flags, 0o644), stream)
        from speechbench.benchmarks.mini.corpora import LibriSQAMini
        from speechbench.cli import main

        LibriSQAMini.expected_counts = lambda _: CORPUS  # type: ignore[method-assign, assignment]
        calls: Counter[int] = Counter()
        for index, point in enumerate(POINTS):
            _watch(index, point, calls, pipe, kill)
        try:
            main(words)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _watch(index: int, point: Point, calls: Counter[int], pipe: int, kill: Kill | None) -> None:
    owner, name = point.owner()
    original = getattr(owner, name)

    def tell(kind: str) -> None:
        os.write(pipe, f"{kind} {index} {time.monotonic()}\n".encode())

    @contextmanager
    def within() -> Iterator[None]:
        calls[index] += 1
        hit = kill is not None and (kill.point, kill.entry) == (index, calls[index])
        tell("!" if hit else ">")
        while hit and kill is not None and kill.wait is None:
            signal.pause()
        try:
            yield
        finally:
            tell("<")

    def watched(*args: Any, **kwargs: Any) -> Any:
        if not point.counts(*args, **kwargs):
            return original(*args, **kwargs)
        if not point.after:
            with within():
                return original(*args, **kwargs)
        result = original(*args, **kwargs)
        with within():
            return result

    setattr(owner, name, watched)


def attempt(folder: Path, words: list[str], kill: Kill | None, longest: float) -> Attempt:
    """Starts the command, kills it as planned, and waits for its end.

    Args:
        folder: Where the command runs; its cache and the ablation are made there.
        words: The command's arguments.
        kill: When; `None` to let it end.
        longest: Seconds that it may take.

    Raises:
        Failure: If it takes longer.
    """
    read, write = os.pipe()
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        os.close(read)
        live(folder, words, write, kill)
    os.setpgid(process, process)  # here too: the group may be killed before the child has got that far
    os.close(write)
    made = Attempt(process=process)
    try:
        _follow(made, read, kill, start, longest)
    except BaseException:
        _strike(process, True)
        raise
    finally:
        os.close(read)
        status = os.waitpid(process, 0)[1]
    made.status = None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
    made.seconds = time.monotonic() - start
    return made


def _follow(made: Attempt, read: int, kill: Kill | None, start: float, longest: float) -> None:
    """Reads what the child tells until it has ended, and kills it when that is due."""
    hangs = start + longest
    strike = start + kill.wait if kill is not None and kill.point is None and kill.wait is not None else None
    rest = b""
    while True:
        now = time.monotonic()
        if strike is not None and now >= strike:
            _strike(made.process, kill is not None and kill.group)
            strike = None
        if now > hangs:
            raise Failure(f"an attempt did not end within {longest:.0f} s; it was last seen in {made.phase(None)}")
        if not select.select([read], [], [], max(0.0, (hangs if strike is None else strike) - now))[0]:
            continue
        if not (chunk := os.read(read, 1 << 16)):
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for kind, index, moment in (line.decode().split() for line in lines):
            made.events.append((kind, int(index), float(moment)))
            if kind == "!" and kill is not None:
                strike = float(moment) + (kill.wait or 0.0)


def _strike(process: int, group: bool) -> None:
    (os.killpg if group else os.kill)(process, signal.SIGKILL)


def alive(groups: set[int]) -> list[str]:
    """The command lines of processes of these groups that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group, *_ = stat.read_text().rpartition(")")[2].split()
            if int(group) in groups and state != "Z":
                found.append((stat.parent / "cmdline").read_text().replace("\0", " ").strip())
        except OSError:
            continue  # ended meanwhile
    return found
