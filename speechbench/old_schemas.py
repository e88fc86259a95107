"""Run folders of older schemas, read as if they were written today."""

from __future__ import annotations

from typing import Any

from speechbench.grammar import parse_expression
from speechbench.specs import Spec

# What families there were before run folders said so, by the names of the scorers; all others are "exact".
_FAMILIES = {
    "overlap": "bleu chrf rouge1 rouge2 rougeL meteor ter wer cer",
    "embedding": "bertscore",
    "learned": "comet metricx judge evaluate language",
    "control": "random confidence constant shuffled length",
}
_FAMILY = {name: family for family, names in _FAMILIES.items() for name in names.split()}


def upgraded_run(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a `run.json` of any schema as the newest has it.

    Schema 1 knew no stages and no controls, schema 2 no metrics that count errors, schema 3 did not say of which family
    a scorer is. What was not said was the only thing there was.

    Raises:
        KeyError: If a field is missing that each schema has.
        TypeError: If a field is of another kind.
        UsageError: If the reward or a metric is no spec.
    """
    if content["schema"] >= 4:
        return content
    reward = content["reward"]
    families = [] if reward is None else sorted({_family(term) for term in parse_expression(reward).terms})
    return {
        "start": None,
        "control": None,
        "split": "test",
        "has_control_reward": families == ["control"],
        **content,
        "reward_families": families,
        "metrics": [
            {"lower_is_better": False, **metric, "family": _family(parse_expression(metric["name"]))}
            for metric in content["metrics"]
        ],
    }


def _family(spec: Spec) -> str:
    return "combined" if len(spec.terms) > 1 else _FAMILY.get(spec.terms[0].name, "exact")
