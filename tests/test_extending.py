"""docs/extending.md does what it says, and the plugs of an installed package are as good as ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

from speechbench.benchmarks import Audio, Example, load_benchmark
from speechbench.cli import main
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.models.base import Completions, Sampling, SpeechModel
from speechbench.models.loading import load_model
from speechbench.registry import BENCHMARKS, MODELS, REWARDS, TRAINERS
from speechbench.rewards import Batch, load_reward, measure
from speechbench.trainers.base import SpeechTrainer

HERE = Path(__file__).parent
PAGE = (HERE.parent / "docs" / "extending.md").read_text(encoding="utf-8")
FILES: dict[str, str] = dict(re.findall(r"^`([\w.]+)`[^\n]*:\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS: list[str] = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PIP = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # without a network


def run(command: list[str], folder: Path, packages: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as in an environment that has the packages of a folder as well; pip installs into that."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    here = {**PIP, "PIP_TARGET": str(packages), "PYTHONPATH": str(packages), "PATH": path, "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **here})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files."""
    folder = tmp_path_factory.mktemp("page")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_every_block_of_the_page_is_a_file_or_a_command() -> None:
    assert PAGE.count("\n```") == 2 * (len(FILES) + len(COMMANDS))


@pytest.mark.slow
def test_the_page_as_it_stands(tmp_path: Path, page: Path) -> None:
    folder, packages = tmp_path / "page", tmp_path / "packages"
    shutil.copytree(page, folder)
    printed = ""
    for block in COMMANDS:
        if "pip install" in block:  # which moves the files
            _evaluate_what_slam_trained(folder, packages)
        done = run(["bash", "-euo", "pipefail", "-c", block], folder, packages)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    for shown in ("word accuracy", "66.7", "my_plugs.rewards:same_length of the package my-plugs 0.1"):
        assert shown in printed
    assert len(re.findall(r"^test +\S+ +16 ", printed, re.MULTILINE)) == 2  # by place and by name
    runs = [(json.loads(file.read_text()), file.parent) for file in folder.glob("runs/*/*/run.json")]
    rows = sorted(info["label"] for info, _ in runs)
    assert rows == [
        "base",
        "base",
        "base",
        "grpo(0.5*bleu + 0.5*common_letters)",
        "grpo(chrf)",
        "grpo(same_length)",
        "grpo(unhurried(words_per_second=4)*WordAccuracy)",
        "reinforce(chrf)",
        "sft",
    ]
    assert all((run / "result.json").is_file() for _, run in runs)
    (config,) = [info["config"] for info, _ in runs if info["label"] == "reinforce(chrf)"]
    assert config["temperature"] == 0.9 and config["per_device_train_batch_size"] == 4


def _evaluate_what_slam_trained(folder: Path, packages: Path) -> None:
    """A run folder stands for its trained model, which is none of ours."""
    (trained,) = [
        file.parent for file in folder.glob("runs/*/*/run.json") if json.loads(file.read_text())["label"] == "sft"
    ]
    words = ["eval", "--model", str(trained.relative_to(folder)), "--benchmark", "./clips.py:Clips(root=clips)"]
    done = run([sys.executable, "-m", "speechbench", *words, "--limit", "8", "--json"], folder, packages)
    assert done.returncode == 0, done.stderr
    expected = [metric["corpus"] for metric in json.loads((trained / "result.json").read_text())["metrics"].values()]
    assert list(json.loads(done.stdout)["metrics"].values()) == expected


def test_the_pages_rewards(page: Path) -> None:
    example = Example("e", None, "", ("one two three four", "five"), None, "en", "en")
    texts = ["one two three four", "zero one too four five six", "Five", ""]
    batch = Batch.of(texts, [example] * 4)
    assert load_reward(f"{page}/rewards.py:same_length").score(batch) == [0, -2, -3, -4]
    letters = load_reward(f"{page}/rewards.py:common_letters")
    assert letters.score(batch)[0] == 1 and letters.score(batch)[2:] == [1, 0], "'Five' is the second reference"
    assert letters.score(Batch.of(["a"], [replace(example, references=("",))])) == [None]
    soundfile.write(page / "second.wav", np.zeros(16000), 16000)
    heard = Batch.of(texts, [replace(example, audio=Audio(page / "second.wav"))] * 4)
    assert load_reward(f"{page}/rewards.py:unhurried").score(heard) == [0, 0, 1, 1]
    assert load_reward(f"{page}/rewards.py:unhurried(words_per_second=4)").score(heard) == [1, 0, 1, 1]
    # Against the first reference: none; zero inserted, too for two, three left out, five and six inserted; all; all.
    errors, words = [0, 5, 4, 4], [4, 4, 4, 4]
    plain = load_reward(f"{page}/word_accuracy.py:WordAccuracy")
    assert plain.score(batch) == [1 - e / n for e, n in zip(errors, words, strict=True)]
    measured = measure(plain, texts, [example] * 4)
    assert measured.corpus == pytest.approx(100 * (1 - sum(errors) / sum(words)))
    folded = load_reward(f"{page}/word_accuracy.py:WordAccuracy(case=false)")
    assert folded.score(batch)[2] == 1 and folded.signature() != plain.signature()
    REWARDS._loaded.pop("word-accuracy")


def test_the_pages_benchmark_tells_of_what_it_leaves_out(page: Path, tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / "train" / f"{name}.mp3", np.zeros(1600), 16000)
    (tmp_path / "train" / "a.txt").write_text("drei Äpfel\n", encoding="utf-8")
    (tmp_path / "train" / "b.txt").write_text("zwei Äpfel\n", encoding="utf-8")
    (tmp_path / "train" / "c.txt").write_text("ein Apfel\n", encoding="utf-8")
    (tmp_path / "train" / "b.mp3").write_bytes(b"")
    (tmp_path / "train" / "c.mp3").write_bytes(b"no recording")
    clips = load_benchmark(f"{page}/clips.py:Clips(root={tmp_path})")
    (example,) = clips.load("train")
    assert example.id == "train/a" and example.references == ("drei Äpfel",)
    assert [(p.where, p.kind) for p in clips.problems] == [
        ("example 'train/b'", "empty recording"),
        ("example 'train/c'", "broken recording"),
    ]
    assert clips.load("test") == []


def test_the_pages_benchmark_has_thirty_lines() -> None:
    assert len([line for line in FILES["clips.py"].splitlines() if line.strip()]) <= 30


@pytest.fixture(scope="module")
def parts(page: Path) -> Path:
    """The page's small parts, and a Whisper that hears two seconds."""
    exec(compile(FILES["make_parts.py"].replace('"small/', f'"{page}/small/'), "make_parts.py", "exec"), {})
    torch.manual_seed(0)
    sizes = {
        "d_model": 32,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_layers": 1,
    }
    WhisperModel(WhisperConfig(**sizes, decoder_attention_heads=2, max_source_positions=100)).save_pretrained(
        page / "small" / "whisper"
    )
    WhisperFeatureExtractor(chunk_length=2).save_pretrained(page / "small" / "whisper")
    return page / "small"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Three examples of different lengths, one of them a control without audio."""
    folder = tmp_path_factory.mktemp("noise")
    for number in range(2):
        noise = np.random.default_rng(number).standard_normal(9000 + 5000 * number) * 0.1
        soundfile.write(folder / f"{number}.wav", noise, 16000)
    heard = [
        Example(f"{n}", Audio(folder / f"{n}.wav"), "<|audio|> what?", ("drei",), None, "en", "de") for n in (0, 1)
    ]
    return [*heard, Example("2", None, "what?", ("vier",), None, "en", "de")]


def slam(page: Path, parts: Path, encoder: str, *more: str) -> SpeechModel:
    settings = (f"encoder={parts / encoder}", f"language_model={parts / 'language_model'}", *more)
    return load_model(f"{page}/slam.py:Slam({', '.join(settings)})")


@pytest.fixture(params=["encoder", "whisper"])
def model(request: pytest.FixtureRequest, page: Path, parts: Path) -> SpeechModel:
    return slam(page, parts, request.param, "train=projector+language_model")


def test_the_pages_model_writes_what_it_expects(model: SpeechModel, examples: list[Example]) -> None:
    prompts = model.embed(examples)
    written = model.sample(prompts, 2, Sampling(temperature=0.0, max_tokens=12))
    with torch.no_grad():
        expected = model.log_distribution(prompts, written)
    assert torch.equal(expected.argmax(-1)[written.mask], written.tokens[written.mask])
    assert (expected.exp()[..., model.suppressed] == 0).all() and not model.suppressed[model.end_token]
    for row, example in enumerate(examples):
        alone = model.embed([example]).embeddings[0]
        torch.testing.assert_close(prompts.embeddings[row][prompts.mask[row]], alone)


def test_the_pages_model_learns_as_with_repeated_prompts(model: SpeechModel, examples: list[Example]) -> None:
    model.train()
    completions = model.completions_of([["drei rote Äpfel", "", "Anna"]] * 3)
    weights = torch.randn(3, 3, 1, generator=torch.Generator().manual_seed(0))

    def gradients(loss: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    shared = gradients((model(examples, completions)[0] * weights).sum())
    repeated = torch.tensor(0.0)
    for p in range(3):
        for c in range(3):
            one = Completions(
                *(x[p : p + 1, c : c + 1] for x in (completions.tokens, completions.mask, completions.finished))
            )
            repeated = repeated + (model(examples[p : p + 1], one)[0] * weights[p, c]).sum()
    expected = gradients(repeated)
    assert (shared - expected).norm() / expected.norm() < 1e-4
    assert all(p.grad is None for p in model.encoder.parameters())  # type: ignore[attr-defined]


def test_the_pages_model_saves_loads_and_copies(
    model: SpeechModel, page: Path, parts: Path, examples: list[Example], tmp_path: Path
) -> None:
    completions = model.completions_of([["drei"]] * 3)
    copy, before = model.frozen_copy(), model(examples, completions)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    after = model(examples, completions)[0]
    torch.testing.assert_close(copy(examples, completions)[0], before)
    assert (after - before).abs().min() > 0.01
    assert not any(p.requires_grad for p in copy.parameters())
    model.save(tmp_path / "saved")
    encoder = re.search(r"encoder=\S+?/(\w+),", model.name)
    assert encoder is not None
    again = slam(page, parts, encoder[1], f"weights={tmp_path / 'saved'}")
    torch.testing.assert_close(again(examples, completions)[0], after)
    assert again.fingerprint != model.fingerprint
    copy.load_weights(tmp_path / "saved")
    torch.testing.assert_close(copy(examples, completions)[0], after)


@pytest.mark.slow
def test_the_pages_model_refuses_what_it_cannot_hear(page: Path, parts: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(3 * 16000), 16000)
    soundfile.write(tmp_path / "short.wav", np.zeros(400), 16000)  # the shortest that there is
    long = Example("long", Audio(tmp_path / "long.wav"), "<|audio|> what?", ("drei",), None, "en", "de")
    short = Example("short", Audio(tmp_path / "short.wav"), "<|audio|> what?", ("drei",), None, "en", "de")
    with pytest.raises(
        SpeechbenchError, match=r"example 'long': its audio is 3\.0 s long, but this encoder hears 2\.0 s"
    ):
        slam(page, parts, "whisper").embed([long])
    with pytest.raises(UsageError, match=r"give projector or projector\+language_model"):
        slam(page, parts, "encoder", "train=language-model")
    hubert = slam(page, parts, "encoder")
    assert hubert.embed([long, short]).mask.any(-1).all()


def test_the_pages_trainer_follows_the_policy_gradient(page: Path, tmp_path: Path) -> None:
    beeps = load_benchmark(f"{HERE}/plugin/speechbench_toys.py:Beeps(root={tmp_path / 'beeps'})")
    beeps.prepare()
    module = sys.modules[TRAINERS.get(f"{page}/reinforce.py:reinforce").__module__]
    config = module.ReinforceConfig(tmp_path / "run", max_steps=2, max_completion_length=8, temperature=0.7)
    reward = load_reward(f"{HERE}/plugin/speechbench_toys.py:vowels")
    trainer: SpeechTrainer = module.ReinforceTrainer(load_model("tiny"), beeps, reward, config)
    examples = beeps.load("train")
    rollout = trainer.roll_out(examples)
    texts = [group[0] for group in trainer.speech_model.texts_of(rollout.completions)]
    rewards = [sum(c in "aeiou" for c in text) / len(text) for text in texts]
    baseline = sum(rewards) / len(rewards)
    expected = torch.tensor(0.0)
    for row, example in enumerate(examples):
        one = Completions(*(x[row : row + 1] for x in vars(rollout.completions).values()))
        logprobs = trainer.speech_model.logprobs(trainer.speech_model.embed([example]), one, 0.7)
        expected = expected - (rewards[row] - baseline) * logprobs.sum()
    tokens = rollout.completions.mask.sum()
    torch.testing.assert_close(trainer.loss(trainer.speech_model, rollout, tokens), expected / tokens)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip installed the package in tests/plugin."""
    folder = tmp_path_factory.mktemp("packages")
    source = shutil.copytree(HERE / "plugin", tmp_path_factory.mktemp("source") / "plugin")
    done = run([sys.executable, "-m", "pip", "install", "--quiet", str(source)], folder, folder)
    assert done.returncode == 0, done.stderr
    return folder


PLUGS = {"rewards": "vowels", "benchmarks": "beeps", "models": "frozen-tiny", "trainers": "stand-still"}


@pytest.mark.parametrize("kind", PLUGS)
def test_plugs_of_a_package_are_listed_without_being_imported(kind: str, installed: Path, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom speechbench.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'speechbench_toys') if m in sys.modules], file=sys.stderr)"
    )
    done = run([sys.executable, "-c", script, kind, "list", "--json"], tmp_path, installed)
    assert done.stderr.splitlines()[-1] == "[]"
    listed = json.loads(done.stdout)
    places = {row["name"]: row["where"] for row in listed} if kind in ("rewards", "benchmarks") else listed
    place = places[PLUGS[kind]]
    assert re.fullmatch(r"speechbench_toys:\w+ of the package speechbench-toys 0\.1", place)


@pytest.mark.slow
def test_all_four_plugs_of_a_package_in_one_ablation(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("stand-still:\n  seconds: 7\n")
    words = ["ablate", "--rewards", "vowels", "--trainers", "stand-still,sft", "--model", "frozen-tiny", "--limit", "2",
             "--steps", "1", "--benchmark", "beeps(root=beeps)", "--config", "settings.yaml", "--json"]  # fmt: skip
    done = run([sys.executable, "-m", "speechbench", *words], tmp_path, installed)
    assert done.returncode == 0, done.stderr
    runs = {json.loads(file.read_text())["label"]: file.parent for file in tmp_path.glob("runs/*/*/run.json")}
    assert set(runs) == {"base", "stand-still(vowels)", "sft"}
    results = {label: json.loads((folder / "result.json").read_text()) for label, folder in runs.items()}
    assert results["stand-still(vowels)"]["metrics"] == results["base"]["metrics"]
    assert results["stand-still(vowels)"]["seconds"]["learning"] == 7


@pytest.fixture
def broken(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package with more entry points than its module holds, in this process."""
    packages = shutil.copytree(installed, tmp_path / "packages")
    (file,) = packages.glob("*.dist-info/entry_points.txt")
    more = "bleu = speechbench_toys:vowels\nlost = speechbench_toys:vowls\ngone = no_such_module:vowels\n"
    file.write_text(file.read_text().replace("[speechbench.rewards]\n", f"[speechbench.rewards]\n{more}"))
    monkeypatch.syspath_prepend(packages)
    for registry in (REWARDS, BENCHMARKS, MODELS, TRAINERS):
        monkeypatch.setattr(registry, "_installed", None)
    yield
    sys.modules.pop("speechbench_toys", None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "bleu",
            r"'bleu' is registered by .*(Bleu|overlap).* and by speechbench_toys:vowels of the package "
            r"speechbench-toys 0\.1: r",
        ),
        ("lost", "'lost' of the package speechbench-toys 0.1 cannot be loaded from .* no attribute 'vowls'"),
        (
            "gone",
            "'gone' of the package speechbench-toys 0.1 cannot be loaded from .* No module named 'no_such_module'",
        ),
    ],
)
@pytest.mark.usefixtures("broken")
def test_broken_plugs_of_a_package_are_one_sentence(name: str, said: str) -> None:
    words = ["ablate", "--rewards", name, "--benchmark", "beeps(root=nowhere)"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2 and re.search(said, result.output), result.output
    assert result.output.strip().endswith("pip uninstall speechbench-toys") and result.output.count("\n") == 1
    listed = CliRunner().invoke(main, ["rewards", "list", "--json"])
    assert {"bleu", "chrf", "vowels", "lost", "gone"} <= {row["name"] for row in json.loads(listed.output)}
    assert load_reward("vowels").score(Batch.of(["aha"], [Example("e", None, "", ("",), None, "en", "en")])) == [2 / 3]
    assert load_reward("chrf").display == "chrF"


WRONG = """
thing = {}
def function(): ...
class Empty: ...
def unannotated(model, benchmark, reward, config): ...
"""


@pytest.mark.parametrize(
    ("option", "name", "said"),
    [
        ("--rewards", "thing", "should be a subclass of speechbench.rewards.Reward, or a function"),
        ("--rewards", "Empty", "should be a subclass of speechbench.rewards.Reward, or a function"),
        ("--benchmark", "Empty", "should extend speechbench.benchmarks.Benchmark"),
        ("--benchmark", "function", "should extend speechbench.benchmarks.Benchmark"),
        ("--model", "Empty", "should extend speechbench.models.base.SpeechModel"),
        ("--trainers", "thing", "should be a function (model, benchmark, reward, config"),
        ("--trainers", "Empty", "should be a function (model, benchmark, reward, config"),
        ("--trainers", "unannotated", "must be annotated with a dataclass that extends"),
    ],
)
def test_plug_that_is_not_what_it_should_be(option: str, name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    beeps = f"{HERE}/plugin/speechbench_toys.py:Beeps(root={tmp_path / 'beeps'})"
    words = {"--rewards": "chrf", "--benchmark": beeps, "--model": "tiny", "--out": str(tmp_path / "runs")}
    words[option] = f"{tmp_path}/wrong.py:{name}"
    result = CliRunner().invoke(main, ["ablate", "--quiet", *(word for pair in words.items() for word in pair)])
    assert result.exit_code == 2 and said in result.output and f"wrong.py:{name}" in result.output, result.output
    assert result.output.count("\n") == 1 and not (tmp_path / "runs").exists()
