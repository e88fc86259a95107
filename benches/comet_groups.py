"""What a group of hypotheses that share source and reference costs under COMET: our scorer and unbabel-comet's.

Both score the same texts with the same random checkpoints on the CPU, in turn, with as many threads and as large
batches; unbabel-comet by `predict`. It encodes three texts per hypothesis where a group of G has G + 2 distinct ones,
so that with G = 8 encoding can be at most 24/10 = 2.4 times as fast. Scores must agree to 1e-5.

    python benches/comet_groups.py [--groups 8] [--group 8] [--batch-size 16] [--rounds 5] [--shapes small,base]
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import statistics
import string
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from speechbench.benchmarks.base import Example
from speechbench.rewards.base import Batch
from speechbench.rewards.comet import Comet

SHAPES = {  # of the encoder, and the hidden layers of the estimator
    "small": ({"num_hidden_layers": 6, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}, [512]),
    "base": (
        {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
        [2304, 768],
    ),
}
PIECES = 32_000
POSITIONS = 514


def words(count: int, rng: random.Random) -> list[str]:
    """Made-up words, as many."""
    found: set[str] = set()
    while len(found) < count:
        found.add("".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 9))))
    return sorted(found)


def write_checkpoint(folder: Path, shape: str, vocabulary: Sequence[str]) -> None:
    """A random regression checkpoint in Unbabel's layout, with XLM-R's kind of encoder and tokenizer."""
    import yaml
    from comet.models import RegressionMetric
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import XLMRobertaConfig, XLMRobertaTokenizerFast

    sizes, hidden = SHAPES[shape]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    letters = ["▁", *string.ascii_lowercase]
    pieces = [(name, 0.0) for name in special] + [(letter, -12.0) for letter in letters]
    pieces += [(f"▁{word}", -8.0) for word in vocabulary] + [("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, 3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    encoder = folder / "encoder"
    encoder.mkdir(parents=True)
    tokenizer.save(str(encoder / "tokenizer.json"))
    XLMRobertaTokenizerFast(tokenizer_file=str(encoder / "tokenizer.json")).save_pretrained(encoder)
    XLMRobertaConfig(**sizes, vocab_size=len(pieces), max_position_embeddings=POSITIONS).save_pretrained(encoder)
    torch.manual_seed(0)
    settings = {"encoder_model": "XLM-RoBERTa", "hidden_sizes": hidden, "layer_norm": False}
    model = RegressionMetric(
        pretrained_model=str(encoder), load_pretrained_weights=False, local_files_only=True, **settings
    )
    (folder / "checkpoints").mkdir()
    hparams = {**settings, "class_identifier": "regression_metric", "pretrained_model": "encoder"}
    torch.save(
        {"state_dict": model.state_dict(), "hyper_parameters": hparams, "pytorch-lightning_version": "2.0.0"},
        folder / "checkpoints" / "model.ckpt",
    )
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams))


def peer_of(folder: Path) -> Any:
    """unbabel-comet's model of the same checkpoint."""
    from comet.models import RegressionMetric

    return RegressionMetric.load_from_checkpoint(
        folder / "checkpoints" / "model.ckpt",
        map_location="cpu",
        pretrained_model=str(folder / "encoder"),
        load_pretrained_weights=False,
        local_files_only=True,
        strict=True,
    ).float()


def groups_of(groups: int, size: int, vocabulary: Sequence[str], rng: random.Random) -> Batch:
    """Sentences of 8 to 40 words; each hypothesis is its group's reference with words lost, added or exchanged."""
    hypotheses, examples = [], []
    for number in range(groups):
        length = rng.randint(8, 40)
        source = rng.choices(vocabulary, k=length)
        reference = rng.choices(vocabulary, k=max(4, length + rng.randint(-3, 3)))
        example = Example(str(number), None, "", (" ".join(reference),), " ".join(source), "en", "de")
        variants: set[str] = set()
        while len(variants) < size:  # else a group would cost less than it seems
            changed = list(reference)
            for _ in range(rng.randint(1, 5)):
                place = rng.randrange(len(changed))
                changed[place : place + rng.randint(0, 2)] = rng.choices(vocabulary, k=rng.randint(0, 2))
            variants |= {" ".join(changed)} - {"", " ".join(reference)}
        hypotheses += sorted(variants)
        examples += [example] * size
    return Batch.of(hypotheses, examples)


@contextmanager
def counted(encoder: nn.Module) -> Any:
    """Counts the texts that go through an encoder, and the tokens with padding."""
    seen = {"texts": 0, "tokens": 0}

    def count(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs["input_ids"]
        seen["texts"] += len(ids)
        seen["tokens"] += ids.numel()

    hook = encoder.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(shape: str, folder: Path, options: argparse.Namespace) -> str:
    """One row of the table."""
    rng = random.Random(0)
    vocabulary = words(PIECES, rng)
    write_checkpoint(folder, shape, vocabulary)
    batch = groups_of(options.groups, options.group, vocabulary, rng)
    rows = [
        {"src": example.source, "mt": hypothesis, "ref": example.references[0]}
        for hypothesis, example in zip(batch.hypotheses, batch.examples, strict=True)
    ]
    theirs, ours = peer_of(folder), Comet(str(folder), options.batch_size)

    def peer() -> list[float]:
        return list(theirs.predict(rows, batch_size=options.batch_size, gpus=0, progress_bar=False)["scores"])

    def mine() -> list[float | None]:
        return ours.score(batch)

    mine()  # the model is built; peer's is already
    with counted(theirs.encoder.model) as of_peer:
        wanted = peer()
    with counted(ours._scorer.model.encoder["model"]) as of_mine:
        found = mine()
    worst = max(abs(a - b) for a, b in zip(wanted, found, strict=True) if b is not None)
    if worst > 1e-5 or None in found:
        raise SystemExit(f"{shape}: the scores differ by {worst:.1e}")
    pairs = [(seconds(peer), seconds(mine)) for _ in range(options.rounds)]
    ratios = sorted(a / b for a, b in pairs)
    of_times = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return (
        f"{shape:6} {of_times[0]:12.3f} {of_times[1]:9.3f} {statistics.median(ratios):7.2f} "
        f"{ratios[0]:6.2f}–{ratios[-1]:<6.2f} {of_peer['texts']:6} {of_mine['texts']:5} "
        f"{of_peer['tokens']:8} {of_mine['tokens']:7} {worst:9.1e}"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("groups", 8), ("group", 8), ("batch-size", 16), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import comet.models  # noqa: F401  (before the loggers, which it sets up)

    for library in ("comet", "pytorch_lightning"):
        logging.getLogger(library).setLevel(logging.ERROR)
    logging.getLogger().setLevel(logging.ERROR)
    print(
        f"{options.groups} groups of {options.group}, batches of {options.batch_size}, "
        f"{torch.get_num_threads()} threads, median of {options.rounds} rounds"
    )
    print("shape  unbabel, s    ours, s   ratio   (range)   texts encoded  tokens with padding  difference")
    for shape in options.shapes.split(","):
        folder = Path(tempfile.mkdtemp(prefix="comet-groups-"))
        try:
            print(compare(shape, folder, options), flush=True)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
