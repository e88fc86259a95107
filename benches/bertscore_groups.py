"""How fast `bertscore` is on groups of hypotheses that share a reference, against bert-score 0.3.13 in one call.

Both score the same texts with the same encoder of BERT-base's shape (random weights: the time does not depend on them)
at layer 9, which is multilingual BERT's, on as many threads, in turn; its words have one to three pieces. What is
printed is the ratio of their times (above 1: ours is faster), median of several rounds: in a first table with new
references in each round, in a second one where the same references come back with new hypotheses, as they do in
training from the second epoch on. There ours need not encode the reference, one of G + 1 texts.

    python benches/bertscore_groups.py [--group 8] [--prompts 8] [--rounds 9] [--threads 2]
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product

import torch
from bert_score import BERTScorer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, BertTokenizerFast

from speechbench.benchmarks.base import Example
from speechbench.libraries import set_up
from speechbench.rewards.base import Batch
from speechbench.rewards.bertscore import BertScore

LAYER = 9
AGREE = 1e-5
LENGTH, SPREAD = 10, 4  # words of a sentence, about those of CoVoST2


SYLLABLES = ["".join(letters) for letters in product("bdfghklmnprstvwz", "aeiouäöü", "nrlst")]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write_encoder(folder: str) -> None:
    """BERT-base with random weights, and a tokenizer whose pieces are syllables."""
    pieces = [*SPECIAL, *SYLLABLES, *("##" + syllable for syllable in SYLLABLES)]
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", SPECIAL.index("[SEP]")), ("[CLS]", SPECIAL.index("[CLS]"))
    )
    BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=False, model_max_length=512).save_pretrained(folder)
    BertModel(BertConfig(vocab_size=len(pieces))).save_pretrained(folder)


def of_reference(reference: str) -> Example:
    """An example with nothing but a reference."""
    return Example("e", None, "", (reference,), None, "en", "de")


class Writer:
    """Draws sentences of words of one to three pieces."""

    def __init__(self) -> None:
        self.random = random.Random(0)

    def word(self) -> str:
        """One syllable, in two of five words two or three."""
        return "".join(self.random.choices(SYLLABLES, k=self.random.choice((1, 1, 1, 2, 3))))

    def reference(self) -> str:
        """A sentence of 3 to 25 words."""
        length = min(25, max(3, round(self.random.gauss(LENGTH, SPREAD))))
        return " ".join(self.word() for _ in range(length))

    def group(self, reference: str, size: int) -> list[str]:
        """Hypotheses that all differ: of the reference's words some are changed, left out or followed by another."""
        found: set[str] = set()
        while len(found) < size:
            words: list[str] = []
            for word in reference.split():
                words += self.random.choice(([word],) * 7 + ([self.word()], [], [word, self.word()]))
            found.add(" ".join(words) or self.word())
        return sorted(found)


def timed(score: Callable[[], Sequence[float]]) -> tuple[float, Sequence[float]]:
    """Seconds, and the scores."""
    start = time.perf_counter()
    scores = score()
    return time.perf_counter() - start, scores


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("group", 8), ("prompts", 8), ("rounds", 9), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    set_up()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    writer = Writer()
    with tempfile.TemporaryDirectory() as folder:
        write_encoder(folder)
        ours, theirs = BertScore(folder, LAYER), BERTScorer(folder, LAYER)
        ours.score(Batch.of(["a"], [of_reference("b")]))  # loads the encoder

    def compare(references: Sequence[str]) -> float:
        """bert-score's time over ours for one step, whichever of them goes first."""
        groups = [writer.group(reference, options.group) for reference in references]
        hypotheses = [hypothesis for group in groups for hypothesis in group]
        repeated = [reference for reference in references for _ in range(options.group)]
        examples = {reference: of_reference(reference) for reference in references}
        batch = Batch.of(hypotheses, [examples[reference] for reference in repeated])
        works: list[Callable[[], Sequence[float]]] = [
            lambda: [score or 0.0 for score in ours.score(batch)],
            lambda: theirs.score(hypotheses, repeated)[2].tolist(),
        ]
        order = writer.random.sample((0, 1), 2)
        results = {which: timed(works[which]) for which in order}
        (mine, found), (peer, expected) = results[0], results[1]
        apart = max(abs(one - other) for one, other in zip(found, expected, strict=True))
        if apart > AGREE:
            raise SystemExit(f"the scores are {apart:.1e} apart")
        return peer / mine

    same = [writer.reference() for _ in range(options.prompts)]
    compare(same)  # warm, and from here on these are known
    tables = {
        "new references": lambda: [writer.reference() for _ in range(options.prompts)],
        "references that come back": lambda: same,
    }
    ratios: dict[str, list[float]] = {name: [] for name in tables}
    for _ in range(options.rounds):
        for name, draw in tables.items():
            ratios[name].append(compare(draw()))
    print(
        f"{options.prompts} groups of {options.group} hypotheses, {options.threads} threads, {options.rounds} rounds;"
    )
    print(f"scores agree to {AGREE:g}; without any reference to encode {1 + 1 / options.group:.3f} would be expected")
    for name, found in ratios.items():
        rounds = ", ".join(f"{ratio:.2f}" for ratio in sorted(found))
        print(f"{name}: bert-score takes {statistics.median(found):.2f} times as long ({rounds})")


if __name__ == "__main__":
    main()
