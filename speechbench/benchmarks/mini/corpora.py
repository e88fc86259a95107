"""The embedded corpora: our own sentences, spoken by espeak-ng, on disk as the official data sets are.

They are made on first use and read by the adapters that read the real data.
"""

from __future__ import annotations

import csv
import hashlib
import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from speechbench.benchmarks.base import SPLITS, Benchmark, Example, Progress
from speechbench.benchmarks.common_voice import CommonVoiceFolder
from speechbench.benchmarks.covost2 import Covost2
from speechbench.benchmarks.librispeech import LibriSpeech
from speechbench.benchmarks.librisqa import LibriSQA
from speechbench.benchmarks.librisqa_files import LibriSQAFolder
from speechbench.benchmarks.mini import writer
from speechbench.benchmarks.mini.grammar import QUESTIONS, SPLIT_SIZES, Meaning, split
from speechbench.benchmarks.mini.voices import SPEAKERS
from speechbench.benchmarks.mini.writer import Utterance
from speechbench.benchmarks.speaker_split import stable_order
from speechbench.cache import cache_folder
from speechbench.registry import register_benchmark

_FORMAT = 1  # goes up when the files of the same sentences and voices are laid out otherwise
_MP3_RATE, _FLAC_RATE = 32_000, 16_000
_COMMON_VOICE_COLUMNS = [
    "client_id",
    "path",
    "sentence",
    "up_votes",
    "down_votes",
    "age",
    "gender",
    "accents",
    "variant",
    "locale",
    "segment",
]
_FIRST_CLIP = {"train": 10_000_000, "validation": 20_000_000, "test": 30_000_000}
_OFFICIAL_SPLIT = {"train": "train", "validation": "dev", "test": "test"}

# Of LibriSQA's train file the adapter takes speakers into validation until this share of rows is reached:
# with 2 of 22 equal speakers, 2/22 = 0.0909..., it stops after exactly two.
_VALIDATION_SHARE, _SPLIT_SEED = 0.09, 0
_TRAIN_IDS = tuple(str(9001 + index) for index in range(len(SPEAKERS["train"]) + len(SPEAKERS["validation"])))
_TEST_IDS = tuple(str(9101 + index) for index in range(len(SPEAKERS["test"])))


class _Mini(Benchmark):
    """What both corpora share: they make themselves."""

    licence: ClassVar[str] = "CC0-1.0 text by speechbench; synthetic speech"
    licence_note: ClassVar[str] = ""
    seen_by: tuple[str, ...] = (
        "the embedded base model learned from other sentences of the same grammar, in other voices",
    )
    citation: ClassVar[str] = "speechbench; speech by espeak-ng"
    metrics: tuple[str, ...] = ("bleu", "chrf", "comet", "binary", "slots")
    comet_checkpoint: str = "tiny"
    max_completion_length: int = 48  # three times a reference's, in the embedded model's tokens
    corpus: ClassVar[str]
    _folder: Path | None = None

    def expected_counts(self) -> Mapping[str, int]:
        """The grammar's sizes."""
        return {name: SPLIT_SIZES[self.corpus, name] for name in SPLITS}

    def prepare(self, progress: Progress | None = None) -> None:
        """Makes the corpus if it is not in the cache folder (`speechbench.cache.cache_folder`).

        Raises:
            MissingError: If espeak-ng or an MP3 encoder is missing.
        """
        super().prepare(progress)
        sentences = {name: [meaning.english() for meaning in split(self.corpus, name)] for name in SPLITS}
        recipe: dict[str, Any] = {
            "format": _FORMAT,
            "sentences": hashlib.sha256(json.dumps(sentences).encode()).hexdigest(),
            "voices": {name: [asdict(voice) for voice in voices] for name, voices in SPEAKERS.items()},
            "libraries": writer.libraries(),
        }

        def make(folder: Path) -> None:
            self.write(folder, self.expected_counts(), progress)
            (folder / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")

        self._folder = writer.made_once(self.corpus, recipe, make, progress)
        self._move_to(self._folder)

    def how_to_get(self) -> str:
        """Where files of it are gone."""
        return f"remove {self._folder}, and it is made anew"

    @classmethod
    @abstractmethod
    def write(cls, folder: Path, counts: Mapping[str, int], progress: Progress | None = None) -> None:
        """Writes the first so many sentences of each split, in the official format."""

    @abstractmethod
    def _move_to(self, root: Path) -> None:
        """Reads from this folder from now on."""


@register_benchmark("covost2-mini")
class Covost2Mini(_Mini, Covost2):
    """English speech, German text: a small CoVoST 2 of a closed grammar.

    2,000, 200 and 300 sentences. Each split has speakers of its own; the test split's accent and variants are heard in
    no other.
    """

    name: str = "covost2-mini"
    corpus: ClassVar[str] = "covost2-mini"

    def __init__(self) -> None:
        super().__init__(root=str(cache_folder()))

    def load(self, split: str, limit: int | None = None) -> Sequence[Example]:
        """As `Covost2.load`, after making the corpus if need be."""
        self.prepare()
        return super().load(split, limit)

    def _move_to(self, root: Path) -> None:
        self.files = CommonVoiceFolder(root, self.direction)

    @classmethod
    def write(cls, folder: Path, counts: Mapping[str, int], progress: Progress | None = None) -> None:
        """Writes `validated.tsv`, `covost_v2.en_de.tsv` and `clips/*.mp3`, speakers taking turns."""
        utterances: list[Utterance] = []
        validated: list[list[str]] = [_COMMON_VOICE_COLUMNS]
        translations: list[list[str]] = [["path", "translation", "split"]]
        for name in SPLITS:
            for index, meaning in enumerate(split(cls.corpus, name)[: counts[name]]):
                clip = f"common_voice_en_{_FIRST_CLIP[name] + index}.mp3"
                speaker = index % len(SPEAKERS[name])
                client = hashlib.sha512(f"{name} {speaker}".encode()).hexdigest()
                utterances.append(Utterance(f"clips/{clip}", meaning.english(), SPEAKERS[name][speaker], _MP3_RATE))
                validated.append([client, clip, meaning.english(), "2", "0", "", "", "", "", "en", ""])
                translations.append([clip, meaning.german(), _OFFICIAL_SPLIT[name]])
        _write_tsv(folder / "validated.tsv", validated)
        _write_tsv(folder / "covost_v2.en_de.tsv", translations)
        writer.speak_all(folder, utterances, cls.corpus, progress)


@register_benchmark("librisqa-mini")
class LibriSQAMini(_Mini, LibriSQA):
    """English speech and a question, a full-sentence answer: a small LibriSQA.

    2,000, 200 and 300 sentences of the closed grammar. One question about each, of twelve kinds. Each split has
    speakers of its own; the test split's accent and variants are heard in no other. As in LibriSpeech, transcripts are
    upper case without punctuation.
    """

    name: str = "librisqa-mini"
    hours: Mapping[str, float] = MappingProxyType({})
    casing: str = "upper case without punctuation, as in LibriSpeech"
    corpus: ClassVar[str] = "librisqa-mini"

    def __init__(self) -> None:
        super().__init__(root=str(cache_folder()), validation_share=_VALIDATION_SHARE, split_seed=_SPLIT_SEED)

    def load(self, split: str, limit: int | None = None) -> Sequence[Example]:
        """As `LibriSQA.load`, after making the corpus if need be."""
        self.prepare()
        return super().load(split, limit)

    def _move_to(self, root: Path) -> None:
        self.questions, self.recordings = LibriSQAFolder(root), LibriSpeech([root])

    @classmethod
    def write(cls, folder: Path, counts: Mapping[str, int], progress: Progress | None = None) -> None:
        """Writes `LibriSQA-PartI/*.json` and LibriSpeech's tree of FLAC and transcripts, speakers taking turns."""
        order = stable_order(_TRAIN_IDS, _SPLIT_SEED)  # whom the adapter takes into validation first
        held_out = len(SPEAKERS["validation"])
        ids = {"train": order[held_out:], "validation": order[:held_out], "test": list(_TEST_IDS)}
        utterances: list[Utterance] = []
        rows: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
        for name in SPLITS:
            subset = "test-clean" if name == "test" else "train-clean-360"
            for index, meaning in enumerate(split(cls.corpus, name)[: counts[name]]):
                take, turn = divmod(index, len(ids[name]))
                speaker = ids[name][turn]
                chapter = f"{speaker}0"
                file = f"LibriSpeech/{subset}/{speaker}/{chapter}/{speaker}-{chapter}-{take:04d}.flac"
                utterances.append(Utterance(file, meaning.english(), SPEAKERS[name][turn], _FLAC_RATE))
                rows["test" if name == "test" else "train"].append(_question_row(file, meaning))
        writer.speak_all(folder, utterances, cls.corpus, progress)
        _write_transcripts(folder, [row for of_file in rows.values() for row in of_file])
        for file_name, of_file in rows.items():
            path = folder / "LibriSQA-PartI" / f"LibriSQA-PartI-{file_name}.json"
            path.parent.mkdir(exist_ok=True)
            whole = [{**row, "duration": _seconds(folder / _flac(row["speech_path"]))} for row in of_file]
            path.write_text(json.dumps(whole, indent=4) + "\n", encoding="utf-8")


def _question_row(file: str, meaning: Meaning) -> dict[str, Any]:
    """One row of LibriSQA; which question is asked depends on the sentence alone."""
    question, answer = meaning.question(writer.stable_number(meaning.english()) % len(QUESTIONS))
    return {
        "speech_path": file.removesuffix(".flac") + ".wav",  # as LibriSQA has it
        "question": question,
        "answer": answer,
        "text": meaning.english().upper().rstrip("."),
    }


def _flac(speech_path: str) -> str:
    return speech_path.removesuffix(".wav") + ".flac"


def _seconds(path: Path) -> float:
    import soundfile

    return float(soundfile.info(path).duration)


def _write_transcripts(folder: Path, rows: list[dict[str, Any]]) -> None:
    """LibriSpeech's `<speaker>-<chapter>.trans.txt`, beside the audio."""
    chapters: dict[Path, list[str]] = defaultdict(list)
    for row in rows:
        path = Path(row["speech_path"])
        chapters[folder / path.parent / f"{path.stem.rpartition('-')[0]}.trans.txt"].append(
            f"{path.stem} {row['text']}"
        )
    for path, lines in chapters.items():
        path.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8")


def _write_tsv(path: Path, rows: list[list[str]]) -> None:
    """CoVoST's dialect: tabs, no quoting, backslash escapes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(
            file, delimiter="\t", quoting=csv.QUOTE_NONE, escapechar="\\", quotechar=None, lineterminator="\n"
        ).writerows(rows)
