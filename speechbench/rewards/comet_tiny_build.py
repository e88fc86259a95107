"""Builds comet[tiny]: `python -m speechbench.rewards.comet_tiny_build`, some five minutes on one thread.

A small model of COMET's architecture learns, from texts of the pretraining split alone, what degraded
translations and answers are worth (`comet_tiny_data.worth`). The result is a checkpoint in Unbabel's layout.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import string
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from speechbench.benchmarks.mini.grammar import QUESTIONS
from speechbench.benchmarks.mini.slots import agreement
from speechbench.rewards.comet import TINY_FOLDER, Comet
from speechbench.rewards.comet_checkpoint import DEFAULTS
from speechbench.rewards.comet_model import CometRegression, Scorer, padded_batches
from speechbench.rewards.comet_tiny_data import DEGRADATIONS, Item, degrade, draw_item, meanings, worth

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WIDTH, LAYERS, HEADS, POSITIONS = 128, 2, 4, 132
STEPS, ITEMS, HYPOTHESES = 750, 48, 6  # per step so many items, and hypotheses of each

HPARAMS: Mapping[str, Any] = {
    **DEFAULTS,
    "encoder_model": "BERT",
    "pretrained_model": "encoder",
    "layer_norm": False,
    "hidden_sizes": [256, 64],
    "final_activation": "Sigmoid",
    "dropout": 0.0,
    "loss": "mse",
    "optimizer": "AdamW",
    "learning_rate": 1.5e-3,
    "encoder_learning_rate": 1.5e-3,
    "layerwise_decay": 1.0,
    "warmup_steps": 50,
    "nr_frozen_epochs": 0,
    "keep_embeddings_frozen": False,
    "batch_size": ITEMS * HYPOTHESES,
    "train_data": [],
    "validation_data": [],
}


def write_encoder(folder: Path) -> None:
    """Writes the configuration and the tokenizer: whole words of the training texts, single characters for all else."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    splitter = pre_tokenizers.BertPreTokenizer()
    texts = [text for item in _all_items(meanings("train")) for text in (item.source, item.reference)]
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    characters = sorted({*string.ascii_lowercase, *string.digits, *string.punctuation, *"äöüß", *"".join(words)})
    pieces = [*SPECIAL, *characters, *(f"##{c}" for c in characters), *sorted(words - set(characters))]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": False}
    _write_json(folder / "tokenizer_config.json", {**settings, "model_max_length": POSITIONS, **roles})
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": len(pieces),
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 4 * WIDTH,
        "max_position_embeddings": POSITIONS,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 0,
    }
    _write_json(folder / "config.json", config)


def _all_items(of: Sequence[Any]) -> Iterator[Item]:
    for number, meaning in enumerate(of):
        yield Item(meaning, None)
        yield Item(meaning, number % len(QUESTIONS))


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def train(encoder: Path, steps: int, report: Callable[[str], None]) -> Scorer:
    """Trains from random weights; on one thread the same each time.

    Args:
        encoder: Folder that `write_encoder` wrote.
        steps: Of `ITEMS` times `HYPOTHESES` hypotheses each, all drawn anew.
        report: Told now and then how far it is.
    """
    from transformers import AutoConfig, AutoTokenizer

    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    scorer = Scorer(CometRegression(AutoConfig.from_pretrained(encoder), HPARAMS, 0), tokenizer, POSITIONS - 4)
    model = scorer.model.cpu().train()
    texts = meanings("train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=HPARAMS["learning_rate"], weight_decay=0.01)
    started, smooth = time.monotonic(), None
    for step in range(steps):
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / HPARAMS["warmup_steps"])
            group["lr"] = HPARAMS["learning_rate"] * warm * 0.5 * (1 + math.cos(math.pi * step / steps))
        items = [draw_item(rng.choice(texts), rng) for _ in range(ITEMS)]
        rows = [(item, degrade(item, rng)[1]) for item in items for _ in range(HYPOTHESES)]
        targets = torch.tensor([worth(hypothesis, item) for item, hypothesis in rows])
        vectors = _embed(model, tokenizer, [text for item, h in rows for text in (item.source, h, item.reference)])
        sources, hypotheses, references = vectors.view(len(rows), 3, -1).unbind(1)
        loss = (model.estimate(hypotheses, references, sources) - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
        if (step + 1) % 25 == 0 or step + 1 == steps:
            left = (time.monotonic() - started) / (step + 1) * (steps - step - 1)
            report(f"step {step + 1} of {steps}, error {smooth**0.5:.3f}, {left:.0f} s left")
    model.eval()
    return scorer


def _embed(model: CometRegression, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Sentence vectors, shape [text, dimension], each distinct text encoded once, with gradients."""
    distinct = list(dict.fromkeys(texts))
    tokens = tokenizer(distinct, truncation=True, max_length=POSITIONS - 4)["input_ids"]
    by_length = sorted(range(len(distinct)), key=lambda number: len(tokens[number]))
    batches = padded_batches([tokens[number] for number in by_length], 96, 0, torch.device("cpu"))
    vectors = torch.cat([model.embed(*batch) for batch in batches])
    place = {distinct[number]: row for row, number in enumerate(by_length)}
    return vectors[torch.tensor([place[text] for text in texts])]


def save(model: CometRegression, folder: Path) -> None:
    """Writes hparams.yaml and checkpoints/model.ckpt, the weights in half precision."""
    import yaml  # type: ignore[import-untyped, unused-ignore]

    hparams = {key: list(value) if isinstance(value, tuple) else value for key, value in HPARAMS.items()}
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams), encoding="utf-8")
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    state = {name: weight.half() for name, weight in model.state_dict().items()}
    # unbabel-comet reads the checkpoint through Lightning, which wants to know its version.
    content = {"state_dict": state, "hyper_parameters": hparams, "pytorch-lightning_version": "2.0.0"}
    torch.save(content, folder / "checkpoints" / "model.ckpt")


def measure(score: Callable[[list[str], list[str], list[str]], list[float]], count: int = 3000) -> dict[str, Any]:
    """Compares scores with the target and with slots on degraded texts of held-out meanings, beside sentence BLEU's.

    Args:
        score: From sources, hypotheses and references to scores.
        count: Number of hypotheses.

    Returns:
        For comet[tiny] and for BLEU the correlations with both, and the mean score and target of each degradation.
    """
    from sacrebleu.metrics.bleu import BLEU

    rng = random.Random(1)
    items = [draw_item(rng.choice(meanings("held out")), rng) for _ in range(count)]
    kinds, hypotheses = zip(*(degrade(item, rng) for item in items), strict=True)
    pairs = list(zip(hypotheses, items, strict=True))
    truth = {
        "target": [worth(hypothesis, item) for hypothesis, item in pairs],
        "slots": [agreement(hypothesis, item.reference, item.language) or 0.0 for hypothesis, item in pairs],
    }
    bleu = BLEU(effective_order=True)
    scores = {
        "comet[tiny]": score([i.source for i in items], list(hypotheses), [i.reference for i in items]),
        "bleu": [bleu.sentence_score(hypothesis, [item.reference]).score for hypothesis, item in pairs],
    }
    # What a model that has learnt to write sentences gets wrong is mostly what they say.
    of_slots = [row for row, kind in enumerate(kinds) if kind in ("intact", "wrong slots", "missing")]
    result: dict[str, Any] = {"hypotheses": count}
    for name, values in scores.items():
        for wanted, gold in truth.items():
            result[f"{name} and {wanted}"] = _correlations(values, gold)
        result[f"{name} and slots where only slots are wrong or missing"] = _correlations(
            [values[row] for row in of_slots], [truth["slots"][row] for row in of_slots]
        )
    result["root mean square error"] = round(
        float(np.sqrt(np.mean(np.square(np.subtract(scores["comet[tiny]"], truth["target"]))))), 4
    )
    rows: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for kind, found, wanted_score in zip(kinds, scores["comet[tiny]"], truth["target"], strict=True):
        rows[kind].append((found, wanted_score))
    result["mean score and target"] = {
        kind: [round(float(value), 3) for value in np.mean(rows[kind], axis=0)] for kind in DEGRADATIONS if rows[kind]
    }
    return result


def _correlations(values: Sequence[float], gold: Sequence[float]) -> dict[str, float]:
    return {
        "pearson": round(float(np.corrcoef(values, gold)[0, 1]), 4),
        "spearman": round(float(np.corrcoef(_ranks(values), _ranks(gold))[0, 1]), 4),
    }


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Ranks, equal values sharing the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return ranks


def main() -> None:
    """Builds the checkpoint and prints how good it is."""
    parser = argparse.ArgumentParser(description="builds the checkpoint comet[tiny]")
    parser.add_argument("--out", type=Path, default=TINY_FOLDER, help="folder to write (default: the package's own)")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    write_encoder(arguments.out / "encoder")
    save(train(arguments.out / "encoder", arguments.steps, lambda line: print(line, flush=True)).model, arguments.out)
    report = measure(Comet(str(arguments.out)).score_texts)
    _write_json(arguments.out / "report.json", report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
