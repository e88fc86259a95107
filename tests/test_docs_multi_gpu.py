"""The configurations in docs/configs are read by accelerate as they are meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from accelerate import DeepSpeedPlugin, FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_deepspeed_cmd_env

from speechbench.trainers import sharding

CONFIGS = Path(__file__).parents[1] / "docs" / "configs"
PAGE = (CONFIGS.parent / "multi-gpu.md").read_text(encoding="utf-8")


def read(name: str) -> Any:
    assert f"configs/{name}.yaml" in PAGE
    return load_config_from_file(str(CONFIGS / f"{name}.yaml"))


def test_every_configuration_is_on_the_page() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {"fsdp", "zero2", "zero3"}
    assert all(f"configs/{path.name}" in PAGE for path in CONFIGS.iterdir())


@pytest.mark.parametrize(("name", "stage"), [("zero2", 2), ("zero3", 3)])
def test_deepspeed(name: str, stage: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `accelerate launch` hands it to the processes that it starts: by their environment."""
    assert read(name).distributed_type == DistributedType.DEEPSPEED
    called = ["--config_file", str(CONFIGS / f"{name}.yaml"), "-m", "speechbench", "train"]
    launched, _, _ = _validate_launch_command(launch_command_parser().parse_args(called))
    launched.deepspeed_fields_from_accelerate_config = ""
    _, environment = prepare_deepspeed_cmd_env(launched)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    plugin = DeepSpeedPlugin()
    assert plugin.deepspeed_config["zero_optimization"]["stage"] == stage == plugin.zero_stage
    assert plugin.deepspeed_config["gradient_accumulation_steps"] == "auto"  # the trainer's own counts
    # Else each process reads it as a number when it begins, and ends with "auto".
    assert environment.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1").isdigit()
    assert sharding.holds_copies() and environment["ACCELERATE_MIXED_PRECISION"] == "no"


def test_fsdp() -> None:
    config = read("fsdp")
    assert config.distributed_type == DistributedType.FSDP
    given = {name.removeprefix("fsdp_"): value for name, value in config.fsdp_config.items()}
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=given["version"],
        auto_wrap_policy=given["auto_wrap_policy"].lower(),
        transformer_cls_names_to_wrap=[given["transformer_layer_cls_to_wrap"]],
        reshard_after_forward=given["reshard_after_forward"],
        state_dict_type=given["state_dict_type"],
        cpu_ram_efficient_loading=given["cpu_ram_efficient_loading"],
    )
    from speechbench.models.tiny import Tiny

    plugin.set_auto_wrap_policy(Tiny())  # raises where the model has no such layer
    assert plugin.fsdp_version == 2 and "FULL_STATE_DICT" in str(plugin.state_dict_type)
