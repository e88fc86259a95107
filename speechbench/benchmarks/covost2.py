"""CoVoST 2: Common Voice's read speech, and what it means in another language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from speechbench.benchmarks.audio import Audio
from speechbench.benchmarks.base import Example
from speechbench.benchmarks.common_voice import CommonVoiceFolder
from speechbench.benchmarks.covost2_official import OFFICIAL
from speechbench.benchmarks.index import Row
from speechbench.benchmarks.indexed import IndexedBenchmark
from speechbench.benchmarks.prompts import prompts_for
from speechbench.benchmarks.row_source import RowSource
from speechbench.benchmarks.templates import language_name
from speechbench.errors import MissingError, UsageError, did_you_mean
from speechbench.hub import check_revision, is_hub_name
from speechbench.languages import primary
from speechbench.registry import register_benchmark

DIRECTIONS = tuple(OFFICIAL)
"""All 36, by their codes."""
_HUB = "fixie-ai/covost2"
_BY_CHARACTER = frozenset({"ja", "zh"})  # whose BLEU much of the field computes on characters


@register_benchmark("covost2")
class Covost2(IndexedBenchmark):
    """CoVoST 2 (Wang et al. 2021), 36 directions, from the official downloads or the hub.

    The references are the translations, the source is the sentence as written, the speaker Common Voice's client id.

    Args:
        direction: Source and target language, "en_de".
        root: Common Voice's folder of the source language, `validated.tsv` and `clips/`, or of several, by their
            codes; or a data set on the hub, "owner/name", or a folder of one that `datasets` saved.
        translations: Folder of `covost_v2.<direction>.tsv`, or of the joined files; Common Voice's if not given.
        revision: Of the data set on the hub.
        clips: Folder of the recordings, where it is not `clips/` in Common Voice's, or the data set holds none, as
            facebook/covost2.
        min_seconds: Recordings that are shorter are left out, and counted.
        max_seconds: Recordings that are longer are left out, and counted.
        prompts: How is asked, as `prompts_for` takes it: "paper", "paraphrases" or a file.
        prompt: Which template of these all get, from 1.

    Raises:
        UsageError: If CoVoST 2 has no such direction, or a parameter does not go with such a root.
    """

    name: str = "covost2"
    task: ClassVar[str] = "translation"
    licence: ClassVar[str] = "CC0-1.0 (CoVoST 2's translations and Common Voice)"
    licence_note: ClassVar[str] = (
        "sources contradict each other: the makers' repository and paper (arXiv 2007.10310) put the translations under "
        "CC0, the hub's card of facebook/covost2 says CC BY-NC 4.0, which is the licence of the repository's code; the "
        "card of fixie-ai/covost2 says nothing"
    )
    citation: ClassVar[str] = (
        "Wang, Wu, Gu, Pino: CoVoST 2 and Massively Multilingual Speech Translation, Interspeech 2021"
    )
    casing: str = "transcripts and translations are cased and punctuated, and taken as they are"
    seen_by: tuple[str, ...] = (
        "Granite Speech 3.3 was trained on Common Voice 17 (English, German, Spanish, French, Portuguese) and machine "
        "translations of it, not on CoVoST 2's (github.com/ibm-granite/granite-speech-models)",
        "Qwen2-Audio's makers say that evaluation sets were kept out of training, and that its results on Common Voice "
        "are not zero-shot (arXiv 2407.10759)",
        "Voxtral (arXiv 2507.13264), Qwen2.5-Omni (arXiv 2503.20215) and Phi-4-multimodal (arXiv 2503.01743): their "
        "makers do not name the training data",
    )
    metrics: tuple[str, ...] = ("bleu", "chrf", "comet", "binary")  # BLEU's tokenizer is the target language's

    def __init__(
        self,
        direction: str = "en_de",
        root: str = _HUB,
        translations: str | None = None,
        revision: str | None = None,
        clips: str | None = None,
        min_seconds: float | None = None,
        max_seconds: float | None = None,
        prompts: str = "paper",
        prompt: int | None = None,
    ) -> None:
        super().__init__(min_seconds, max_seconds, [prompts_for(self.task, prompts, prompt)])
        if direction not in DIRECTIONS:
            hint = did_you_mean(str(direction), DIRECTIONS)
            raise UsageError(f"CoVoST 2 has no direction {direction!r}: {hint}")
        self.direction = direction
        self.source_language, self.target_language = direction.split("_")
        if primary(self.target_language) in _BY_CHARACTER:
            self.metrics = (self.metrics[0], "bleu(tokenize=char)", *self.metrics[1:])
        self.files: RowSource = _source(str(root), direction, _folder(translations), revision, _folder(clips))

    def expected_counts(self) -> Mapping[str, int]:
        """The official sizes."""
        return OFFICIAL[self.direction]

    def provenance(self) -> Mapping[str, str]:
        """Of the files, once they are read."""
        return {} if self._opened is None else self.files.provenance()

    def read(self) -> Iterable[Row]:
        """The rows; what gives none is noted: lost in the join, given twice, without translation or clip.

        Raises:
            MissingError: If files are not there; the message says how to get them.
            SpeechbenchError: If they cannot be read.
        """
        if isinstance(self.files, CommonVoiceFolder) and not self.files.root.is_dir():
            raise MissingError(
                f"{self.name}: {self.files.root} is no folder, and no data set on the hub, which is called owner/name; "
                f"{self.how_to_get()}"
            )
        return self.files.read(self.note)

    def sources(self) -> Sequence[Path]:
        """Of the files."""
        return self.files.sources()

    def identity(self) -> Mapping[str, Any]:
        """Of the files."""
        return self.files.identity()

    def audio(self, name: str, sha256: str | None = None) -> Audio:
        """A clip."""
        return self.files.audio(name, sha256)

    def how_to_get(self) -> str:
        """Where the downloads are."""
        either = f", or use root={_HUB} from the hub" if isinstance(self.files, CommonVoiceFolder) else ""
        return f"{self.files.how_to_get()}{either}"

    def example(self, row: Row, audio: Audio | None) -> Example:
        """A sentence to translate."""
        return Example(
            id=row.id,
            audio=audio,
            instruction=self.prompts[self.task].instruction(
                row.id,
                language=language_name(self.target_language),
                source_language=language_name(self.source_language),
            ),
            references=(row.reference,),
            source=row.source,
            source_language=self.source_language,
            target_language=self.target_language,
            speaker=row.speaker,
        )


def _folder(named: str | None) -> Path | None:
    return None if named is None else Path(str(named)).expanduser()


def _source(
    root: str, direction: str, translations: Path | None, revision: str | None, clips: Path | None
) -> RowSource:
    """What reads a root, by what it is; Common Voice's where that cannot be told, as it is not there.

    Raises:
        UsageError: If a parameter does not go with it.
    """
    folder = Path(root).expanduser()
    if folder.is_dir():
        check_revision(revision, f"a data set on the hub, and {root} is a folder")
    if _is_common_voice(folder, direction):
        return CommonVoiceFolder(folder, direction, translations, clips)
    from speechbench.benchmarks.hub_covost2 import HubCovost2, is_saved_dataset  # only where it is asked for

    if is_saved_dataset(folder) if folder.is_dir() else is_hub_name(root):
        if translations is not None:
            raise UsageError(f"translations={translations}: the data set {root} holds its own: leave it out")
        return HubCovost2(root, direction, revision, clips)
    return CommonVoiceFolder(folder, direction, translations, clips)


def _is_common_voice(folder: Path, direction: str) -> bool:
    """Whether one of the tables is there: that is soon known, however many clips are."""
    return any(
        (place / "validated.tsv").is_file() or any(place.glob(f"covost_v2.{direction}.*"))
        for place in (folder, folder / direction.split("_")[0])
    )
