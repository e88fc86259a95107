"""What a hypothesis is worth: one scorer, used as a reward to train on and as a metric to measure with."""

from speechbench.registry import REWARDS
from speechbench.rewards.base import Batch, Reward
from speechbench.rewards.loading import load_reward
from speechbench.rewards.measure import Measurement, checked_scores, measure

list = REWARDS.places  # what `speechbench rewards list` prints

__all__ = ["Batch", "Measurement", "Reward", "checked_scores", "list", "load_reward", "measure"]
