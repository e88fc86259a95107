"""Makes a benchmark of real human voices from a copy of the Free Spoken Digit Dataset (CC BY-SA 4.0, Jackson et al.).

Takes of one speaker are joined, with short silences, into strings of two to five digits. What is asked is
either their German, or a question about one of them. Speakers are disjoint: theo and george speak the test
split, lucas validation, all others train.

    python examples/fsdd_manifest.py free-spoken-digit-dataset digits --task translate
    speechbench ablate --benchmark "manifest(path=digits/manifest.jsonl)"
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GERMAN = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
ORDINALS = ("first", "second", "third", "fourth", "fifth")
HELD_OUT = {"theo": "test", "george": "test", "lucas": "validation"}
SHORTEST, LONGEST = 2, len(ORDINALS)  # digits in a string
SILENCE_SECONDS = (0.05, 0.2)  # shortest and longest, between two digits

Takes = dict[str, dict[int, list[Path]]]
"""Speaker, then digit, then that digit's recordings."""


def find_takes(folder: Path) -> Takes:
    """The recordings `{digit}_{speaker}_{take}.wav` of a folder, or of `recordings/` in it.

    Raises:
        FileNotFoundError: If there are none.
    """
    takes: Takes = defaultdict(lambda: defaultdict(list))
    for parent in (folder / "recordings", folder):
        for path in sorted(parent.glob("[0-9]_*_*.wav")):
            digit, speaker, _ = path.stem.split("_")
            takes[speaker][int(digit)].append(path)
        if takes:
            return takes
    raise FileNotFoundError(
        f"no recording {{digit}}_{{speaker}}_{{take}}.wav in {folder}: get the data with "
        "`git clone https://github.com/Jakobovski/free-spoken-digit-dataset`"
    )


def join(paths: list[Path], draw: random.Random) -> tuple[npt.NDArray[np.int16], int]:
    """The recordings one after the other with silences of drawn lengths; shape [sample], and the rate in Hz."""
    pieces: list[npt.NDArray[np.int16]] = []
    rate = 0
    for path in paths:
        samples, this_rate = soundfile.read(path, dtype="int16")
        if samples.ndim != 1 or (rate and this_rate != rate):
            raise ValueError(f"{path} is not mono at the other recordings' rate")
        rate = this_rate
        if pieces:
            pieces.append(np.zeros(round(draw.uniform(*SILENCE_SECONDS) * rate), dtype=np.int16))
        pieces.append(samples)
    return np.concatenate(pieces), rate


def ask(digits: list[int], task: str, draw: random.Random) -> dict[str, Any]:
    """Instruction, reference and languages for a string of digits."""
    if task == "translate":
        return {
            "instruction": "<|audio|> listen to the speech and translate it into German.",
            "references": [" ".join(GERMAN[digit] for digit in digits)],
            "target_language": "de",
        }
    place = draw.randrange(len(digits))
    question = f"What is the {ORDINALS[place]} digit?"
    return {
        "instruction": f"Listen to the audio <|audio|> and answer the following question: {question}",
        "references": [f"The {ORDINALS[place]} digit is {ENGLISH[digits[place]]}."],
        "target_language": "en",
    }


def make(folder: Path, out: Path, task: str = "translate", seed: int = 0, **counts: int) -> Path:
    """Writes the WAV files and `manifest.jsonl`.

    Args:
        folder: The Free Spoken Digit Dataset.
        out: Where to; made if need be.
        task: "translate" or "qa".
        seed: The same seed gives the same files.
        counts: How many strings of "train", "validation" and "test".

    Returns:
        The manifest's path.
    """
    takes = find_takes(folder)
    out.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    for split, count in counts.items():
        speakers = [speaker for speaker in sorted(takes) if HELD_OUT.get(speaker, "train") == split]
        if count and not speakers:
            raise ValueError(f"{folder} has no speaker for the {split} split, which needs {_wanted(split)}")
        draw = random.Random(f"{seed} {split}")
        (out / split).mkdir(exist_ok=True)
        for index in range(count):
            speaker = speakers[index % len(speakers)]
            digits = [draw.choice(sorted(takes[speaker])) for _ in range(draw.randint(SHORTEST, LONGEST))]
            samples, rate = join([draw.choice(takes[speaker][digit]) for digit in digits], draw)
            name = f"{split}/{speaker}-{index:04d}.wav"
            soundfile.write(out / name, samples, rate, subtype="PCM_16")
            line = {
                "id": Path(name).stem,
                "audio": name,
                **ask(digits, task, draw),
                "source": " ".join(ENGLISH[digit] for digit in digits),
                "source_language": "en",
                "speaker": speaker,
                "split": split,
            }
            lines.append(json.dumps(line, ensure_ascii=False))
    manifest = out / "manifest.jsonl"
    manifest.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return manifest


def _wanted(split: str) -> str:
    names = [speaker for speaker, of_split in HELD_OUT.items() if of_split == split]
    return " or ".join(names) if names else f"one who is none of {', '.join(HELD_OUT)}"


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("fsdd_folder", type=Path, help="copy of the Free Spoken Digit Dataset")
    parser.add_argument("out_folder", type=Path, help="where the WAV files and manifest.jsonl go")
    parser.add_argument("--task", choices=("translate", "qa"), default="translate")
    parser.add_argument("--seed", type=int, default=0)
    for split, count in (("train", 1600), ("validation", 200), ("test", 300)):
        parser.add_argument(f"--{split}", type=int, default=count, metavar="N", help=f"strings (default {count})")
    asked = parser.parse_args(arguments)
    counts = {"train": asked.train, "validation": asked.validation, "test": asked.test}
    try:
        manifest = make(asked.fsdd_folder, asked.out_folder, asked.task, asked.seed, **counts)
    except (OSError, ValueError) as error:
        print(f"fsdd_manifest: {error}", file=sys.stderr)
        return 1
    print(f"{manifest}: {', '.join(f'{count} {split}' for split, count in counts.items())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
