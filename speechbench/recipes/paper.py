"""The set-ups of arXiv 2509.16990, as far as it states them, and what we chose where it does not.

It searched learning rates of 1e-6–5e-5, 1–10 epochs, batches of 12–48, warm-ups of 0–0.15, β of 0–0.04 and groups of
4–12, and does not say what was found: ours lie within these ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from speechbench.benchmarks.templates import WORDINGS
from speechbench.recipes.base import OURS, PAPER, Plug, Recipe, Value

_CITATION = (
    "Elmakies, Aronowitz, Shabtay, Schwartz, Hoory, Dekel: Advancing Speech Understanding in Speech-Aware Language "
    "Models with GRPO, arXiv 2509.16990"
)
_BATCH = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 6}
_ASKED = {task: WORDINGS[task].templates[0] for task in ("question-answering", "translation")}
_EXAMPLES = 24  # in a step: the product


def _paper(value: Any, where: str) -> Value:
    return Value(value, PAPER, where)


def _ours(value: Any, why: str) -> Value:
    return Value(value, OURS, why)


_MODEL = Plug(
    name="granite-speech",
    of=PAPER,
    why="experiments: Granite Speech 3.3",
    parameters={
        "checkpoint": _paper("ibm-granite/granite-speech-3.3-2b", "experiments: 2B, which its reward ablation is on"),
        "train": _ours("projector+language_model", "what is frozen is not stated; each recording is then encoded once"),
        "adapter": _ours(
            "train",
            "LoRA or full is not stated: the checkpoint's own adapter, which fits it to speech, learns on",
        ),
        "dtype": _ours("float32", "not stated; in bfloat16 weights a step of this learning rate would be rounded away"),
    },
)
_PLAN = {
    "rewards": _paper(
        ("bleu",), "method: BLEU is the reward; the others of its reward ablation are given by --rewards"
    ),
    "trainers": _paper(
        ("sft", "grpo"), "experiments: SFT and GRPO are compared; mixed-grpo, which it tries too, is set up as well"
    ),
    "seeds": _ours((0,), "not stated; --seeds 0,1,2 shows how far rows differ by chance, at three times the cost"),
    "metrics": _paper(("bleu", "bertscore", "rouge1", "rouge2", "rougeL", "meteor"), "results: the tables' columns"),
    "sampled_passes": _ours(4, "the number is not stated; greedy scores, which rank, stand beside them"),
    "sampled_temperature": _paper(0.9, "evaluation"),
    "sampled_top_p": _paper(0.9, "evaluation"),
}
_GRPO = {
    "num_generations": _paper(8, "experiments: G"),
    "temperature": _paper(1.0, "experiments: of the samples that are trained on"),
    "loss_type": _paper("dapo", "method: the sum over tokens by all completion tokens"),
    "scale_rewards": _paper("group", "method: advantages are (r − mean) / std of the group"),
    "beta": _paper(0.02, "experiments: stable, where 0 diverged and more lowered the reward"),
    "kl_estimator": _paper("k3", "method: per token, without a factor of the ratio"),
    "epsilon_high": _paper(None, "method: the clip is symmetric"),
    "epsilon": _ours(0.2, "not stated; with one update per batch of samples it does nothing"),
    "num_iterations": _ours(1, "not stated; every step learns from fresh samples"),
}
_MIXED = {
    **_GRPO,
    "num_references": _paper(1, "mixed policy: G − 1 samples and the reference"),
    "references_in_baseline": _paper(True, "mixed policy: advantages over the mixed group"),
    "off_policy": _paper("none", "mixed policy: π / 1, without clipping"),
    "kl_on_references": _ours(False, "not stated; there k3 estimates no KL"),
}
_FIXED = {
    "optimizer": _paper("AdamW", "experiments"),
    "trained model": _paper("the best on validation", "experiments; the test split is measured once, on that model"),
    "evaluation": _paper("sampled", "evaluation; the greedy one beside it is ours"),
    "BLEU": _ours("sacrebleu", "library and smoothing are not stated; a signature stands with each score"),
    "prompt": _paper("at most 256 tokens", "experiments; nothing cuts or leaves out longer ones here"),
}


def _common(train: int, split: str) -> Mapping[str, Value]:
    """Settings of all trainers, for so many training examples."""
    return {
        "max_steps": _ours(
            train // _EXAMPLES, f"one epoch of {train:,} {split}, the least of its 1–10: the first to be lengthened"
        ),
        "learning_rate": _ours(
            1e-5, "near the middle, on a log scale, of its 1e-6–5e-5; --sweep finds each reward's own"
        ),
        **{name: _ours(value, f"{_EXAMPLES} examples a step, within its 12–48") for name, value in _BATCH.items()},
        "warmup_ratio": _ours(0.05, "within its 0–0.15"),
        "lr_scheduler_type": _ours("linear", "not stated; transformers' default"),
        "weight_decay": _ours(0.0, "not stated; transformers' default"),
        "max_grad_norm": _ours(1.0, "not stated; transformers' default"),
        "max_completion_length": _paper(200, "experiments"),
        "eval_steps": _ours(250, "how often is not stated"),
        "eval_limit": _ours(500, "on how many is not stated"),
        "metric_for_best_model": _ours("bleu", "by what is not stated; the first of its columns"),
        "bf16": _ours(True, "not stated; autocast alone, weights and optimizer are float32"),
    }


_TRAINERS = {"grpo": _GRPO, "mixed-grpo": _MIXED}

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "paper-sqa": Recipe(
            name="paper-sqa",
            summary="Granite Speech 3.3 2B on LibriSQA Part I: spoken question answering of arXiv 2509.16990",
            citation=_CITATION,
            benchmark=Plug(
                name="librisqa",
                of=PAPER,
                why="experiments: spoken question answering",
                parameters={
                    "part": _paper(1, "experiments: free-form answers"),
                    "validation_share": _paper(0.2, "experiments: 20% of train are held out"),
                    "split_by": _ours("random", "not by speakers: nothing is said of them"),
                },
                place=("audio", "root"),
                how_to_get="the recordings are nowhere named: unpack LibriSpeech's train-clean-360.tar.gz and "
                'test-clean.tar.gz (openslr.org/12) into one folder and add --benchmark "librisqa(audio=FOLDER)"; the '
                "questions come from the hub (ZihanZhao/LibriSQA), or from the folder that root=FOLDER names",
            ),
            model=_MODEL,
            plan=_PLAN,
            common=_common(83_211, "examples, 80% of train"),
            trainers=_TRAINERS,
            fixed={**_FIXED, "instruction": _paper(_ASKED["question-answering"].format(question="…"), "experiments")},
        ),
        "paper-ast": Recipe(
            name="paper-ast",
            summary="Granite Speech 3.3 2B on CoVoST 2 en→de: speech translation of arXiv 2509.16990",
            citation=_CITATION,
            benchmark=Plug(
                name="covost2",
                of=PAPER,
                why="experiments: speech translation",
                parameters={"direction": _paper("en_de", "experiments")},
                how_to_get='--benchmark "covost2(root=FOLDER)" names a folder of it',
            ),
            model=_MODEL,
            plan=_PLAN,
            common=_common(289_430, "training examples"),
            trainers=_TRAINERS,
            fixed={**_FIXED, "instruction": _paper(_ASKED["translation"].format(language="German"), "experiments")},
        ),
    }
)
"""By name."""
