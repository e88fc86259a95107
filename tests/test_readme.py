"""What the README shows works as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from speechbench.benchmarks import Example, load_benchmark
from speechbench.rewards import Batch, load_reward

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_reward_of_the_readme(tmp_path: Path) -> None:
    code = re.search(r"```python\n(# brevity\.py\n.*?)```", README, re.DOTALL)
    assert code is not None
    (tmp_path / "brevity.py").write_text(code.group(1))
    example = Example("e", None, "", ("drei sieben",), None, "en", "de")
    scores = load_reward(f"{tmp_path}/brevity.py:brevity").score(
        Batch.of(["drei", "drei vier fünf sechs"], [example] * 2)
    )
    assert scores == [1.0, 0.5]


def test_the_manifest_line_of_the_readme(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    line = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert line is not None
    (tmp_path / "clips").mkdir()
    soundfile.write(tmp_path / "clips" / "1.flac", np.zeros(1600), 16000)
    (tmp_path / "manifest.jsonl").write_text(line.group(1))
    (example,) = load_benchmark(f"manifest(path={tmp_path}/manifest.jsonl)").load("train")
    row = json.loads(line.group(1))
    assert example.references == tuple(row["references"]) and example.source == row["source"]
    assert "<|audio|>" in example.instruction


@pytest.mark.parametrize("settings", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
def test_the_settings_of_the_readme(settings: str) -> None:
    import yaml

    from speechbench.trainers.grpo import GrpoConfig
    from speechbench.trainers.sft import SftConfig

    content = yaml.safe_load(settings)
    SftConfig(output_dir=Path(), **content["sft"])
    GrpoConfig(output_dir=Path(), **content["grpo"])
