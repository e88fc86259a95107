"""speechbench: which reward should a speech-aware language model be trained on?

What the command does is a function of the same name: `speechbench.ablate`, `train`, `eval`, `score`, `status` here, the
others in the rooms they belong to (`speechbench.leaderboard.leaderboard`, `speechbench.benchmarks.check`,
`speechbench.rewards.list`, `speechbench.runs.gc`). Importing this package imports neither torch nor transformers.
"""

from typing import TYPE_CHECKING, Any

from speechbench.registry import register_benchmark, register_model, register_reward, register_trainer

if TYPE_CHECKING:
    from speechbench.ablation import ablate, train
    from speechbench.evaluation import evaluate_model as eval
    from speechbench.run_status import status
    from speechbench.scoring import score

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "ablate",
    "eval",
    "register_benchmark",
    "register_model",
    "register_reward",
    "register_trainer",
    "score",
    "status",
    "train",
]

_HEAVY = {
    "ablate": "ablation:ablate",
    "train": "ablation:train",
    "eval": "evaluation:evaluate_model",
    "status": "run_status:status",
    "score": "scoring:score",
}


def __getattr__(name: str) -> Any:
    if name not in _HEAVY:
        raise AttributeError(f"module 'speechbench' has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = _HEAVY[name].partition(":")
    return getattr(import_module(f"speechbench.{module}"), attribute)
