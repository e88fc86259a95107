"""A model whose weights two processes share by FSDP 2 does what the whole model does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from speechbench.benchmarks.base import Benchmark
from speechbench.errors import UsageError
from speechbench.models.tiny import Tiny
from speechbench.trainers import sharding
from speechbench.trainers.sft import SftConfig, SftTrainer

SCRIPT = """
import sys, torch
from pathlib import Path
from torch.distributed.fsdp import fully_shard
from speechbench.benchmarks.covost2 import Covost2
from speechbench.models.base import Sampling
from speechbench.models.tiny import Tiny
from speechbench.trainers import sharding

torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
examples = Covost2(root=sys.argv[1]).load("train", 4)[2 * rank : 2 * rank + 2]
options = {"dtype": "bfloat16", "lora_rank": 4} if sys.argv[3] == "lora" else {}
one, shared = Tiny(**options), Tiny(**options)
bones = sharding.skeleton(shared)
before = {name: value.clone() for name, value in one.state_dict().items()}
learning = {name for name, value in one.named_parameters(remove_duplicate=False) if value.requires_grad}
for layer in shared.language_model.get_decoder().layers:
    fully_shard(layer)
fully_shard(shared)
assert sharding.is_sharded(shared) and not sharding.is_sharded(one)
def share(tensors):
    return sum(t.to_local().numel() for t in tensors) / sum(t.numel() for t in tensors)

assert 0.4 < share(list(shared.parameters())) < 0.6

sampling = Sampling(max_tokens=4 + 8 * rank)  # so that one process calls the layers more often than the other
for _ in range(2):
    with torch.no_grad(), sharding.whole(shared):
        completions = shared.eval().sample(shared.embed(examples), 3, sampling)
    expected = one.eval().sample(one.embed(examples), 3, sampling)
    assert torch.equal(completions.tokens, expected.tokens) and torch.equal(completions.mask, expected.mask)
    logprobs, _ = shared(examples, completions)  # it gathers by itself again
    close = {"rtol": 0.02, "atol": 0.02} if options else {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(logprobs, one(examples, completions)[0], **close)
    logprobs.sum().backward()
    gradients = [p.grad for p in shared.parameters() if p.grad is not None]
    assert 0.4 < share(gradients) < 0.6

state = sharding.whole_state(shared)
folder = Path(sys.argv[2])
if rank == 0:
    assert all(torch.equal(before[name], state[name]) for name in before)
    changed = {name: value + 1 for name, value in state.items() if name in learning}
    sharding.unsharded(shared, bones, {**state, **changed}).save(folder)
torch.distributed.barrier()
sharding.load_weights(shared, bones, folder)
with torch.no_grad():
    now = {name: value.full_tensor() for name, value in shared.named_parameters()}
assert learning and all(torch.equal(value, before[name] + 1 * (name in learning)) for name, value in now.items())
print("well")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "lora"])  # with LoRA weights of two precisions, and folders without a base
def test_sampled_scored_and_saved_as_the_whole_model(few_folder: Path, tmp_path: Path, kind: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(few_folder), str(tmp_path / "saved"), kind],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **address, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=200) for process in started]
    assert [(process.returncode, out) for process, (out, _) in zip(started, said, strict=True)] == [
        (0, "well\n")
    ] * 2, said


def test_a_model_that_is_not_shared_out_is_whole() -> None:
    model = Tiny()
    with sharding.whole(model):
        assert not sharding.is_sharded(model)
    assert sharding.whole_state(model) is None and sharding.unsharded(model, None, None) is model


def accelerator(**plugins: Any) -> Any:
    return SimpleNamespace(state=SimpleNamespace(**{"fsdp_plugin": None, "deepspeed_plugin": None, **plugins}))


def deepspeed(stage: int) -> Any:
    return accelerator(deepspeed_plugin=SimpleNamespace(zero_stage=stage))


def fsdp(**changes: Any) -> Any:
    good = {"fsdp_version": 2, "state_dict_type": "FULL_STATE_DICT", "cpu_ram_efficient_loading": False}
    return accelerator(fsdp_plugin=SimpleNamespace(**{**good, **changes}))


@pytest.mark.parametrize(
    ("found", "settings", "said"),
    [
        (deepspeed(3), {}, "set zero_stage: 2, or take FSDP 2"),
        (deepspeed(2), {"bf16": True}, "bf16=True: .*: leave bf16 out and give the model dtype=bfloat16"),
        (fsdp(fsdp_version=1), {}, "set fsdp_version: 2 in"),
        (fsdp(state_dict_type="SHARDED_STATE_DICT"), {}, "set fsdp_state_dict_type: FULL_STATE_DICT in"),
        (fsdp(cpu_ram_efficient_loading=True), {}, "set fsdp_cpu_ram_efficient_loading: false in"),
        (fsdp(), {"eval_steps": 1}, "eval_steps=1: under FSDP .*: leave eval_steps out"),
    ],
)
def test_what_cannot_work_is_refused(found: Any, settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        sharding.check(found, SftConfig(output_dir=tmp_path, **settings))


def test_what_can_work_is_not_refused(tmp_path: Path) -> None:
    for found in (accelerator(), fsdp(), deepspeed(2)):
        sharding.check(found, SftConfig(output_dir=tmp_path))


def test_weights_that_deepspeed_keeps_copies_of_are_not_called_coarse(
    few: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def notes() -> tuple[str, ...]:
        config = SftConfig(output_dir=tmp_path, max_steps=1)
        return SftTrainer(Tiny(dtype="bfloat16"), few, config).watch.notes

    assert any("held in bfloat16" in note for note in notes())
    monkeypatch.setattr(sharding, "holds_copies", lambda: True)
    assert not any("held in bfloat16" in note for note in notes())
