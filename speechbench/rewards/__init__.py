"""What a hypothesis is worth: one scorer, used as a reward to train on and as a metric to measure with."""

from speechbench.rewards.audit import audit
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.describing import listing as list
from speechbench.rewards.describing import show
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import Measurement, checked_scores, measure

__all__ = ["Batch", "Measurement", "Reward", "audit", "checked_scores", "list", "load_reward", "measure", "show"]
