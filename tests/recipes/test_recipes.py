"""A recipe fills in what is not given, says whose each value is, and is overridden value by value."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from speechbench import recipes
from speechbench.benchmarks.loading import load_benchmark
from speechbench.cli import main
from speechbench.errors import MissingError, UsageError
from speechbench.grammar import parse
from speechbench.planning import plan
from speechbench.registry import BENCHMARKS, MODELS, TRAINERS
from speechbench.settings import settable, typed
from speechbench.trainers.grpo_config import GrpoConfig

SMALL: dict[str, Any] = {
    "model": "tiny", "benchmark": "librisqa-mini", "metrics": ["bleu"], "limit": 2, "steps": 3,
}  # fmt: skip


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize("name", recipes.list())
def test_every_value_says_whose_it_is_and_is_one_that_is_taken(name: str) -> None:
    recipe = recipes.get(name)
    rows = list(recipe.rows())
    assert {row.of for row in rows} == {"paper", "ours"} and all(row.why and row.value for row in rows)
    assert recipe.plan.keys() <= inspect.signature(plan).parameters.keys()
    for trainer, settings in recipe.config(["sft", "grpo", "mixed-grpo"], {}).items():
        types_of = settable(trainer, TRAINERS.get(trainer))
        assert {key: typed(value, types_of[key], key) for key, value in settings.items()} == settings
    place = "audio=/data" if recipe.benchmark.place else "root=/data"
    benchmark = parse(recipe.benchmark.spec("benchmark", f"{recipe.benchmark.name}({place})"))
    inspect.signature(BENCHMARKS.get(benchmark.name)).bind(**benchmark.parameters)
    model = parse(recipe.model.spec("model"))
    inspect.signature(MODELS.get(model.name)).bind(**model.parameters)


def test_what_the_paper_states() -> None:
    """FACTS of arXiv 2509.16990: G, β, T, lengths, the loss, how is evaluated, on what."""
    for name, benchmark in (("paper-sqa", "librisqa"), ("paper-ast", "covost2")):
        recipe = recipes.get(name)
        stated = {row.setting: row.value for row in recipe.rows() if row.of == "paper"}
        assert stated["model.checkpoint"] == "ibm-granite/granite-speech-3.3-2b" and stated["benchmark"] == benchmark
        grpo = ("num_generations", "beta", "temperature", "loss_type")
        assert [stated[f"grpo.{key}"] for key in grpo] == ["8", "0.02", "1.0", "dapo"]
        assert stated["all trainers.max_completion_length"] == "200" and stated["grpo.epsilon_high"] == "none"
        assert (stated["sampled_temperature"], stated["sampled_top_p"]) == ("0.9", "0.9")
        asked = load_benchmark(f"{benchmark}-mini").load("test", 1)[0].instruction
        assert asked.startswith(stated["instruction"].rstrip("…"))
    assert parse(recipes.get("paper-sqa").benchmark.spec("benchmark", "librisqa(audio=x)")).parameters["part"] == 1


def test_what_it_does_not_state_is_ours_and_within_its_ranges() -> None:
    for recipe in map(recipes.get, recipes.list()):
        ours = {row.setting.rpartition(".")[2] for row in recipe.rows() if row.of == "ours"}
        assert {"learning_rate", "epsilon", "adapter", "train", "max_steps", "warmup_ratio", "seeds", "BLEU"} <= ours
        common = {key: value.value for key, value in recipe.common.items()}
        batch = common["per_device_train_batch_size"] * common["gradient_accumulation_steps"]
        assert 1e-6 <= common["learning_rate"] <= 5e-5 and 12 <= batch <= 48 and 0 <= common["warmup_ratio"] <= 0.15
        train = {"paper-sqa": 0.8 * 104_014, "paper-ast": 289_430}[recipe.name]
        assert common["max_steps"] == pytest.approx(train / batch, abs=1)  # one epoch


def test_a_recipe_fills_in_what_was_not_given(tmp_path: Path) -> None:
    found = plan(recipe="paper-sqa", out=tmp_path, **SMALL)
    assert [run.label for run in found.runs] == ["base", "sft", "grpo(bleu)"]
    grpo = found.runs[-1].config
    assert isinstance(grpo, GrpoConfig) and (grpo.learning_rate, grpo.num_generations, grpo.bf16) == (1e-5, 8, True)
    assert (grpo.max_steps, grpo.max_completion_length, grpo.eval_steps) == (3, 200, 250)
    assert found.sampled is not None and (found.sampled.temperature, found.sampled.passes) == (0.9, 4)


def test_all_of_it_can_be_overridden(tmp_path: Path) -> None:
    config = {"grpo": {"beta": 0.0}, "grpo(chrf)": {"beta": 0.04}, "rejection-sft": {"num_generations": 4}}
    found = plan(
        ["bleu", "chrf"], ["grpo", "rejection-sft"], recipe="paper-sqa", seeds=[1, 2], sampled_passes=0, config=config,
        out=tmp_path, **SMALL,
    )  # fmt: skip
    assert [run.label for run in found.runs[1:]] == 2 * [
        "grpo(bleu)", "grpo(chrf)", "rejection-sft(bleu)", "rejection-sft(chrf)",
    ]  # fmt: skip
    by_label = {run.label: run.config for run in found.runs}
    assert [getattr(by_label[f"grpo({name})"], "beta", None) for name in ("bleu", "chrf")] == [0.0, 0.04]
    of_all = by_label["rejection-sft(bleu)"]
    assert of_all is not None and (of_all.learning_rate, of_all.warmup_ratio) == (1e-5, 0.05)  # not its own default
    assert {run.seed for run in found.runs} == {None, 1, 2} and found.sampled is None


def test_the_reward_of_a_recipe_is_none_where_no_trainer_takes_one(tmp_path: Path) -> None:
    found = plan(trainers=["sft"], recipe="paper-ast", out=tmp_path, **{**SMALL, "benchmark": "covost2-mini"})
    assert [run.label for run in found.runs] == ["base", "sft"]
    with pytest.raises(UsageError, match="none of the trainers"):
        plan(["bleu"], ["sft"], recipe="paper-ast", out=tmp_path, **SMALL)


def test_a_benchmark_or_model_of_the_same_name_changes_what_it_says_and_leaves_the_rest() -> None:
    recipe = recipes.get("paper-sqa")
    given = recipe.arguments(
        {"benchmark": "librisqa(audio=/a, split_by=speaker)", "model": "granite-speech(dtype=bfloat16)"}
    )
    benchmark, model = parse(given["benchmark"]), parse(given["model"])
    assert benchmark.parameters == {"part": 1, "validation_share": 0.2, "split_by": "speaker", "audio": "/a"}
    assert (model.parameters["dtype"], model.parameters["adapter"]) == ("bfloat16", "train")
    assert parse(recipe.benchmark.spec("benchmark", "librisqa(2, audio=/a)")).parameters["part"] == 2
    assert recipe.model.spec("model", "tiny") == "tiny"


def test_without_the_data_the_flag_is_named(tmp_path: Path) -> None:
    result = call("ablate", "--recipe", "paper-sqa", "--rewards", "bleu,rouge1", "--out", str(tmp_path))
    assert result.exit_code == 1 and '--benchmark "librisqa(audio=FOLDER)"' in result.output
    assert "train-clean-360.tar.gz" in result.output and "Traceback" not in result.output
    with pytest.raises(MissingError, match=r'with --recipe paper-ast: --benchmark "covost2\(root=FOLDER\)"'):
        plan(recipe="paper-ast", model="tiny", benchmark=f"covost2(root={tmp_path}/none)", metrics=["bleu"])


def test_an_unknown_recipe_is_told_the_nearest() -> None:
    result = call("ablate", "--recipe", "paper-sq")
    assert result.exit_code == 2 and "unknown recipe 'paper-sq': did you mean 'paper-sqa'?" in result.output


def test_list_and_show() -> None:
    assert json.loads(call("recipes", "list", "--json").output) == recipes.list()
    shown = json.loads(call("recipes", "show", "paper-sqa", "--json").output)
    assert shown["rows"] == [dataclasses.asdict(row) for row in recipes.show("paper-sqa").rows()]
    text = call("recipes", "show", "paper-sqa").output
    assert "learning_rate" in text and "2509.16990" in text
    assert call("recipes", "show", "nothing").exit_code == 2


def test_a_given_default_is_not_one_that_is_left_out(tmp_path: Path) -> None:
    """`--model tiny` is tiny under a recipe, though tiny is what stands without either."""
    words = ["--recipe", "paper-ast", "--model", "tiny", "--benchmark", "covost2-mini", "--trainers", "sft"]
    result = call("ablate", *words, "--metrics", "bleu", "--limit", "2", "--dry-run", "--json", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert [run["run"] for run in json.loads(result.stdout)["runs"]] == ["base", "sft"]


@pytest.mark.slow
def test_the_papers_table_in_small(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(
        "sft: &small {max_completion_length: 8, eval_limit: 2, gradient_accumulation_steps: 1}\ngrpo: *small\n"
    )
    words = ["--recipe", "paper-sqa", "--rewards", "bleu,rouge1", "--model", "tiny", "--benchmark", "librisqa-mini"]
    small = ["--metrics", "bleu", "--limit", "4", "--steps", "3", "--sampled-passes", "2", "--config", str(config)]
    result = call("ablate", *words, *small, "--out", str(tmp_path / "runs"))
    assert result.exit_code == 0, result.output
    assert "in all, to do" in result.output and "grpo(rouge1)" in result.output
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/result.json")]
    assert len(results) == 4 and all(len(result["sampled"]["metrics"]["bleu"]["passes"]) == 2 for result in results)
    assert sorted((result["best"] or {}).get("metric", "") for result in results) == ["", "bleu", "bleu", "bleu"]
