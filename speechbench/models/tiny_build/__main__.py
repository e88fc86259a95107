"""The one command that rebuilds the embedded model: `python -m speechbench.models.tiny_build`.

Reads nothing but the grammar's pretraining split, spoken by the pretraining voices. On two cores it takes
half an hour to three quarters, most of it stage one.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import GraniteSpeechForConditionalGeneration, PreTrainedTokenizerFast
from transformers.models.granite_speech.modeling_granite_speech import GraniteSpeechCTCEncoder

from speechbench.benchmarks import templates
from speechbench.benchmarks.base import AUDIO_PLACEHOLDER
from speechbench.benchmarks.mini import grammar
from speechbench.models.features import log_mel
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.reading import PROMPTING
from speechbench.models.tiny import FOLDER
from speechbench.models.tiny_build import architecture, encoder, language, recordings, tokenizer
from speechbench.models.tiny_build.language import Heard, Stage
from speechbench.models.tiny_build.recordings import Utterance

TASKS = ("transcribe", "translate", "translate", "answer", "answer")
STAGES = (
    Stage("words", 200, (("words", 1.0),), ("transcribe",), 1e-3),
    Stage("phrases", 300, (("phrases", 1.0),), ("transcribe",), 1e-3),
    Stage("sentences", 400, (("phrases", 0.4), ("sentences", 0.6)), ("transcribe",), 1e-3),
    # Stopped early: what comes out shall be a base that training can move.
    Stage("tasks", 300, (("sentences", 1.0),), TASKS, 1e-3),
)
HABITS = (Stage("habits", 200, (("sentences", 1.0),), TASKS, 5e-4, has_habits=True),)


def main(argv: Sequence[str] | None = None) -> None:
    """Builds all of it, or from a later point with what was kept."""
    parser = argparse.ArgumentParser(prog="python -m speechbench.models.tiny_build", description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the finished model")
    parser.add_argument("--epochs", type=int, default=3, help="of the audio encoder")
    parser.add_argument(
        "--encoder", type=Path, help="keep the trained encoder here, and take it from here if it is there"
    )
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True, warn_only=True)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    start = time.monotonic()

    def tell(what: str, done: int, total: int, loss: float | None = None) -> None:
        if done % 50 == 0 or done == total:
            seconds = time.monotonic() - start
            print(f"{seconds:6.0f} s  {what} {done}/{total}{'' if loss is None else f' loss {loss:.3f}'}", flush=True)

    utterances = {
        "sentences": recordings.sentences(),
        "words": recordings.phrases(1500, longest=1),
        "phrases": recordings.phrases(2500, longest=4),
    }
    features = {}
    for name, texts in utterances.items():
        spoken = recordings.record(texts, lambda done, total, name=name: tell(f"speaking {name}", done, total))  # type: ignore[misc]
        features[name] = [log_mel(torch.from_numpy(samples)) for samples in spoken]

    words = tokenizer.build(corpus(utterances["sentences"]))
    config = architecture.config(words, AUDIO_PLACEHOLDER)
    speller = GraniteSpeechCTCEncoder(config.encoder_config)
    if options.encoder is not None and options.encoder.exists():
        speller.load_state_dict(torch.load(options.encoder, weights_only=True))
    else:
        heard = ("sentences", "phrases")
        encoder.train(
            speller,
            [f for name in heard for f in features[name]],
            [u.text for name in heard for u in utterances[name]],
            options.epochs,
            progress=lambda step, steps, loss: tell("encoder", step, steps, loss),
        )
        if options.encoder is not None:
            torch.save(speller.state_dict(), options.encoder)
    torch.manual_seed(1)
    granite = GraniteSpeechForConditionalGeneration(config)
    granite.encoder.load_state_dict(speller.state_dict())
    granite.encoder.half().float()  # what the language model learns from is what will be shipped
    _save(granite, words, options.out)

    model = GraniteSpeech(str(options.out))
    sources = {
        name: [Heard(u, h) for u, h in zip(utterances[name], _encode(model, features[name]), strict=True)]
        for name in utterances
    }
    for stages in (STAGES, HABITS):
        language.train(model, sources, stages, progress=tell)
        model.network.half().float()
    _save(model.network, words, options.out)
    parameters = sum(p.numel() for p in granite.parameters())
    print(f"{time.monotonic() - start:.0f} s, {parameters:,} parameters, {options.out}")


def corpus(sentences: Sequence[Utterance]) -> list[str]:
    """The texts that the tokenizer is trained on: both tasks, and the templates often enough to become tokens."""
    rng = random.Random(3)
    texts = []
    for utterance in sentences:
        assert utterance.meaning is not None
        asked, answer = utterance.meaning.question(rng.randrange(len(grammar.QUESTIONS)))
        texts += [utterance.text, utterance.german, answer, templates.question(asked), templates.translation("de")]
        texts += [language.TRANSCRIBE, "user", "assistant"]
    phrases = [p for values in grammar.VALUES.values() for pair in values.items() for p in pair]
    return texts + phrases * 20


def _encode(model: GraniteSpeech, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    with torch.inference_mode():
        return [model.encode(f).clone() for f in features]


def _save(granite: GraniteSpeechForConditionalGeneration, words: PreTrainedTokenizerFast, folder: Path) -> None:
    """Stores in fp16; the running model stays float32."""
    state = {name: value.half() if value.is_floating_point() else value for name, value in granite.state_dict().items()}
    granite.config.dtype = torch.float16
    granite.save_pretrained(folder, state_dict=state)
    words.save_pretrained(folder)
    (folder / PROMPTING).write_text(json.dumps({"system_prompt": None}) + "\n")  # each token costs so small a model


if __name__ == "__main__":
    main()
