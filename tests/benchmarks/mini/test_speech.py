import subprocess
import sys

import numpy as np
import pytest

from speechbench.benchmarks.mini import speech
from speechbench.benchmarks.mini.speech import NATIVE_RATE, Voice, speak
from speechbench.benchmarks.mini.voices import PRETRAINING, SPEAKERS
from speechbench.errors import MissingError

pytest.importorskip("espeakng_loader")
NOISY = Voice("en-us+klatt", 165, 50)  # a synthesiser with random noise in it


def test_samples_depend_on_the_arguments_alone() -> None:
    first = speak("The girl hid nine keys.", NOISY, seed=3)
    speak("Something else.", Voice("en+m2"), seed=9)
    np.testing.assert_array_equal(speak("The girl hid nine keys.", NOISY, seed=3), first)
    code = (
        "from speechbench.benchmarks.mini.speech import *; import sys;"
        "sys.stdout.buffer.write(speak('The girl hid nine keys.', Voice('en-us+klatt', 165, 50), 3).tobytes())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert elsewhere == first.tobytes()


def test_every_voice_speaks_and_parameters_matter() -> None:
    voices = [voice for of_split in SPEAKERS.values() for voice in of_split] + [Voice(name) for name in PRETRAINING]
    spoken = [speak("Nine red apples.", voice).tobytes() for voice in voices]
    assert len(set(spoken)) == len(voices)
    for samples in spoken:
        array = np.frombuffer(samples, dtype=np.int16)
        assert 0.5 < len(array) / NATIVE_RATE < 4
        assert np.abs(array.astype(int)).max() > 1000


def test_no_voice_is_shared_between_splits() -> None:
    names = {split: {voice.name for voice in voices} for split, voices in SPEAKERS.items()} | {"base": set(PRETRAINING)}
    assert sum(map(len, names.values())) == len(set.union(*names.values()))
    others = set.union(*(names[split] for split in names if split != "test"))
    for name in names["test"]:
        accent, _, variant = name.partition("+")
        assert all(accent != other.partition("+")[0] and variant != other.partition("+")[2] for other in others)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no voice 'xx-nobody'"):
        speak("Hello.", Voice("xx-nobody"))
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    speech._location.cache_clear()
    with pytest.raises(MissingError, match=r"speechbench\[tts\]"):
        speak("Hello.", Voice("en"))
    speech._location.cache_clear()
