"""What docs/engines.md tells people to type exists, and its Kubernetes job is whole."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from speechbench.cli_ablate import ablate

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "engines.md").read_text(encoding="utf-8")
JOB = yaml.safe_load((DOCS / "clusters" / "rayjob.yaml").read_text(encoding="utf-8"))


def commands() -> list[list[str]]:
    """The words after `speechbench ablate`, wherever it stands."""
    texts = [PAGE.replace("\\\n", " "), JOB["spec"]["entrypoint"].replace('"', "\n")]
    found = [line for text in texts for line in re.findall(r"speechbench ablate( --.*)", text)]
    return [shlex.split(line.split(" &")[0], comments=True) for line in found]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_are_understood(words: list[str]) -> None:
    context = ablate.make_context("ablate", words)
    assert context.params["engine"] in ("local", "ray")


def test_the_page_has_a_command_for_each_place() -> None:
    assert len(commands()) >= 7 and "clusters/rayjob.yaml" in PAGE


def test_the_pods_of_a_job_have_what_its_runs_ask_for_and_see_the_same_folders() -> None:
    cluster, entrypoint = JOB["spec"]["rayClusterSpec"], JOB["spec"]["entrypoint"]
    (group,) = cluster["workerGroupSpecs"]
    pods = [cluster["headGroupSpec"]["template"]["spec"], group["template"]["spec"]]
    (worker,) = pods[1]["containers"]
    limits = worker["resources"]["limits"]
    assert f"--cpus {limits['cpu']} --gpus {limits['nvidia.com/gpu']}" in entrypoint
    assert f"--jobs {group['maxReplicas']}" in entrypoint
    for pod in pods:
        assert {its["name"] for its in pod["containers"][0]["volumeMounts"]} == {its["name"] for its in pod["volumes"]}
        assert "/shared" in {its["mountPath"] for its in pod["containers"][0]["volumeMounts"]}
