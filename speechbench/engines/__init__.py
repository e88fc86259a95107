"""Where the runs of an ablation are done: in this process, in several on this machine, or on a cluster."""

from speechbench.engines.base import Engine
from speechbench.engines.choosing import ENGINES, engine_of
from speechbench.engines.in_process import InProcess

__all__ = ["ENGINES", "Engine", "InProcess", "engine_of"]
