"""A sweep: settings that are chosen for each trainer and reward by itself, on the validation split.

Rewards that share one learning rate are not compared fairly: it suits one of them better. So every run of an ablation,
controls included, is trained once per candidate with a seed of the sweep's own and measured on the validation split;
the best candidate's settings then train the ablation's runs, which alone see the test split. Where a trainer builds on
another, `sft+grpo`, the earlier stage is chosen first, and the later one's trials start from it.

A trial is an ordinary run in an ordinary folder: it is found again by its id, so a sweep that was stopped goes on.
"""

from speechbench.sweep.plan import Sweep, is_asked, plan_sweep
from speechbench.sweep.trials import Choice, Swept, Trial, run_sweep

__all__ = ["Choice", "Sweep", "Swept", "Trial", "is_asked", "plan_sweep", "run_sweep"]
