"""Which code and which model stand behind a spec, where a run was trained from a model of the user's own."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from speechbench.cli import main
from speechbench.errors import SpeechbenchError, UsageError
from speechbench.models.granite_speech import GraniteSpeech
from speechbench.models.loading import code_hash, load_model
from speechbench.models.pretrained import PretrainedSpeechModel
from speechbench.models.tiny import FOLDER, Tiny
from speechbench.out_of_memory import ShortOfMemoryError
from speechbench.parameters import parameters_of
from speechbench.registry import MODELS
from speechbench.run_files import write_json
from speechbench.specs import Spec

MINE = """
import torch
from safetensors.torch import load_file, save_file
from speechbench.models.tiny import Tiny


class Mine(Tiny):
    def save(self, folder):
        folder.mkdir(parents=True)
        save_file({"bias": next(self.parts["projector"].parameters()).detach()}, folder / "mine.safetensors")

    def load_weights(self, folder):
        with torch.no_grad():
            next(self.parts["projector"].parameters()).copy_(load_file(folder / "mine.safetensors")["bias"])
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a model that saves no whole checkpoint, in the folder that tests run in."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    return Path("mine.py")


def finished(folder: str, model: str) -> Path:
    """What of a finished run's folder tells of its model."""
    final = Path(folder, "checkpoints", "final")
    write_json(Path(folder, "run.json"), {"model": model})
    Path(folder, "result.json").touch()
    return final


def test_an_edited_model_is_noticed_through_the_runs_that_began_with_it(mine: Path) -> None:
    finished("runs/a", "mine.py:Mine(train=projector)").mkdir(parents=True)
    finished("runs/b", "runs/a").mkdir(parents=True)
    specs = ("mine.py:Mine", "runs/a", "runs/b", "runs/b(train=projector)")
    hashes = set()
    for text in (MINE, MINE + "# edited"):
        mine.write_text(text)
        (of_all,) = {code_hash(spec) for spec in specs}
        assert of_all is not None
        hashes.add(of_all)
    assert len(hashes) == 2


def test_a_model_by_decorator_is_known_by_its_code(mine: Path) -> None:
    mine.write_text(MINE.replace("class", "from speechbench import register_model\n\n\n@register_model('mine')\nclass"))
    try:
        MODELS.get(f"{mine}:Mine")
        assert code_hash("mine(train=projector)") == code_hash(f"{mine}:Mine") is not None
    finally:
        MODELS._loaded.pop("mine", None)
        MODELS._code.pop("mine", None)


def test_models_of_ours_have_no_code_of_the_users(mine: Path) -> None:
    finished("runs/a", "tiny").mkdir(parents=True)
    finished("runs/b", "runs/a").mkdir(parents=True)
    finished("runs/c", str(FOLDER)).mkdir(parents=True)
    finished("runs/d", "ibm-granite/granite-speech-3.3-2b").mkdir(parents=True)
    specs = ["tiny(train=projector)", "granite-speech", "runs/a", "runs/b", "runs/c", "runs/d", str(FOLDER)]
    assert [code_hash(spec) for spec in specs] == [None] * len(specs)
    Path("runs/a/result.json").unlink()
    with pytest.raises(UsageError, match="unfinished"):
        code_hash("runs/a")


def test_a_run_from_a_run_of_a_users_model_is_loaded_by_that_model(mine: Path) -> None:
    model = load_model("mine.py:Mine")
    weights = next(model.parts["projector"].parameters())  # type: ignore[union-attr]
    for run, base in (("runs/a", "mine.py:Mine"), ("runs/b", "runs/a")):
        with torch.no_grad():
            weights.add_(1.0)
        model.save(finished(run, base))
    again = load_model("runs/b")
    assert torch.equal(next(again.parts["projector"].parameters()), weights)  # type: ignore[union-attr]
    assert len({m.fingerprint for m in (model, again, load_model("runs/a"))}) == 3


def test_a_runs_weights_are_hashed_piece_by_piece(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_model("mine.py:Mine").save(finished("runs/a", "mine.py:Mine"))
    read = Path.read_bytes

    def of_no_weights(path: Path) -> bytes:
        assert path.suffix != ".safetensors", "they may not fit into memory"
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", of_no_weights)
    load_model("runs/a")


def test_a_model_goes_where_its_spec_says(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(Tiny, "to", lambda self, device: moves.append(device) or self)
    for spec in ("tiny", "tiny(device=cpu)", "tiny(device='cuda:1')", f"{FOLDER}(device=cpu)"):
        monkeypatch.setattr(GraniteSpeech, "to", Tiny.to)
        load_model(spec)
    assert moves == ["cuda", "cpu", "cuda:1", "cpu"]
    with pytest.raises(UsageError, match="device='cuda:2' is not there: this machine has cpu, cuda:0, cuda:1"):
        load_model("tiny(device='cuda:2')")


OUT_OF_MEMORY = [
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cpu", "gpu", "python"])
@pytest.mark.parametrize("options", ["", "(dtype=bfloat16, train=projector)"])
def test_a_model_that_does_not_fit_says_what_it_takes(
    error: Exception, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = list(Tiny(dtype="bfloat16" if options else "float32").parameters())

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("transformers.GraniteSpeechForConditionalGeneration.from_pretrained", fail)
    with pytest.raises(ShortOfMemoryError) as caught:
        load_model(f"tiny{options}")
    takes = sum(weight.numel() * weight.element_size() for weight in weights) / 2**30
    said = str(caught.value)
    assert said.startswith(f"model tiny{options} does not fit into memory: its weights alone take {takes:.3g} GB in ")
    assert ("add dtype=bfloat16" in said) == (not options) and said.endswith("take a smaller model, or free memory")
    assert "device=cpu" not in said


def test_a_gpu_that_is_too_small_is_told_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Tiny, "to", fail)
    with pytest.raises(ShortOfMemoryError, match=r"model tiny does not fit.* take device=cpu, take a smaller"):
        load_model("tiny")


def test_of_a_users_model_the_size_is_not_guessed(mine: Path) -> None:
    mine.write_text("class Mine:\n    def __init__(self):\n        raise MemoryError\n")
    with pytest.raises(ShortOfMemoryError, match=r"Mine does not fit into memory: its weights are too large: take a"):
        load_model("mine.py:Mine")


def test_the_command_says_it_in_one_sentence(random_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OUT_OF_MEMORY[0]

    monkeypatch.setattr("transformers.GraniteSpeechForConditionalGeneration.from_pretrained", fail)
    done = CliRunner().invoke(main, ["eval", "--model", str(random_folder), "--limit", "1"])
    assert done.exit_code == 1 and f"model {random_folder} does not fit into memory" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_what_is_no_speech_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(SpeechbenchError, match="is of a llama model, which is none that hears"):
        load_model(str(tmp_path))
    with pytest.raises(UsageError, match=r"its class should extend speechbench\.models\.base\.SpeechModel"):
        (tmp_path / "mine.py").write_text("class Mine:\n    pass\n")
        load_model(f"{tmp_path / 'mine.py'}:Mine")


def test_an_option_that_there_is_not_is_told() -> None:
    with pytest.raises(UsageError, match="unexpected keyword argument 'lora_rnk'"):
        load_model("tiny(lora_rnk=4)")


def test_every_model_takes_and_explains_the_same_options() -> None:
    shared = [*inspect.signature(PretrainedSpeechModel.__init__).parameters][3:]
    for name in MODELS.names():
        plug = MODELS.get(name)
        told = {parameter.name: parameter.text for parameter in parameters_of(plug, Spec(name))}
        assert set(shared) <= told.keys() and all(told.values()), name
