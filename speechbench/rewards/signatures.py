"""What signatures of several scorers say."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from speechbench.rewards.texts import Folding

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric


def sacrebleu_signature(metric: Metric, **told: Any) -> str:
    """sacrebleu's signature of a metric, but for the number of references, which is the benchmark's.

    Args:
        metric: sacrebleu's.
        told: What to say otherwise, or on top, by sacrebleu's keys.
    """
    metric.num_refs = -1  # which sacrebleu asks for
    signature = metric.get_signature()
    for key, value in {"nrefs": None, **told}.items():
        signature.update(key, value)
    return signature.format()


def unicode_version(folding: Folding) -> Mapping[str, str]:
    """Whose lower case and whose punctuation it is, where texts are folded; else nothing."""
    return {} if folding.case and folding.punctuation else {"unicode": unicodedata.unidata_version}
