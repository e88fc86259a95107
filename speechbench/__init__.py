"""speechbench: which reward should a speech-aware language model be trained on?

Importing this package imports neither torch nor transformers.
"""

from speechbench.registry import register_benchmark, register_model, register_reward, register_trainer

__version__ = "0.1.0"
__all__ = ["__version__", "register_benchmark", "register_model", "register_reward", "register_trainer"]
