"""Each type of loss, and the std of all rewards of a step, over two processes: as one that accumulates two batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

KINDS: list[dict[str, object]] = [
    {"loss_type": "grpo"}, {"loss_type": "dr_grpo"}, {"loss_type": "bnpo"}, {"scale_rewards": "batch"},
]  # fmt: skip
SCRIPT = """
import os, sys
from pathlib import Path
import torch
from speechbench.benchmarks.covost2 import Covost2
from speechbench.models.tiny import Tiny
from speechbench.rewards.loading import load_reward
from speechbench.trainers.grpo import GrpoConfig, GrpoTrainer

data, out, kinds = sys.argv[1], Path(sys.argv[2]), eval(sys.argv[3])
processes, rank = (int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", 1), ("RANK", 0)))
few, weights = Covost2(root=data), []
for number, kind in enumerate(kinds):
    folder = out / f"{number}-{rank}"
    folder.mkdir(parents=True)
    model = Tiny()
    config = GrpoConfig(
        folder, max_steps=1, per_device_train_batch_size=2, num_generations=4, max_completion_length=24,
        gradient_accumulation_steps=2 // processes, warmup_ratio=0.0, max_grad_norm=0.0, **kind,
    )
    trainer = GrpoTrainer(model, few, load_reward("bleu", few), config)
    gradients = []
    trainer.step_learned = lambda: None
    class Keeps(torch.optim.SGD):
        def step(self, closure=None):
            gradients.extend(p.grad.flatten().clone() for group in self.param_groups for p in group["params"])
    trainer.optimizer = Keeps([p for p in model.parameters() if p.requires_grad], lr=1.0)
    trainer.train()
    weights.append(torch.cat(gradients))
if rank == 0:
    torch.save(torch.stack(weights), out / "gradients.pt")
"""


@pytest.mark.slow
def test_two_processes_learn_what_one_does_that_accumulates(few_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    found = []
    for launcher in ([], ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]):
        out = tmp_path / str(len(launcher))
        subprocess.run(
            [sys.executable, *launcher, str(tmp_path / "script.py"), str(few_folder), str(out), repr(KINDS)],
            check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=280,
        )  # fmt: skip
        found.append(torch.load(out / "gradients.pt"))
    alone, together = found
    torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-5 * float(alone.abs().max()))
    assert all(not torch.allclose(alone[i], alone[j], rtol=1e-2) for i in range(len(KINDS)) for j in range(i))
