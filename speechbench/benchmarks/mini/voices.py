"""Who speaks the mini corpora: disjoint sets of synthetic speakers for each split.

The test split's accent (received pronunciation) and variants (m7, klatt2) are heard nowhere else: not in
training, not in validation, and not by the base model or its audio encoder.
"""

from __future__ import annotations

from speechbench.benchmarks.mini.speech import Voice

PRETRAINING: tuple[str, ...] = (
    "en-us",
    "en",
    "en-us+m3",
    "en+m3",
    "en-us+f2",
    "en+klatt4",
    "en-us-nyc",
    "en-us-nyc+m2",
    "en-gb-scotland",
    "en-gb-scotland+m4",
    "en-us+Michael",
    "en+john",
    "en-029+m1",
    "en-gb-x-gbclan+m3",
)

# One speaker each; the last two of the twenty-two are the validation split's.
_TRAINING = (
    Voice("en-us+m1", 160, 45),
    Voice("en+m1", 175, 55),
    Voice("en-us+m2", 150, 40),
    Voice("en+m2", 165, 60),
    Voice("en-us+m4", 170, 50),
    Voice("en+m4", 155, 45),
    Voice("en-us+m5", 165, 55),
    Voice("en+m5", 180, 50),
    Voice("en-us+m6", 160, 60),
    Voice("en+m6", 150, 50),
    Voice("en-us+m8", 175, 40),
    Voice("en+m8", 160, 55),
    Voice("en-us+klatt", 165, 50),
    Voice("en+klatt", 155, 45),
    Voice("en-us+klatt3", 170, 55),
    Voice("en+klatt3", 160, 50),
    Voice("en-us+rob", 165, 50),
    Voice("en+rob", 150, 55),
    Voice("en-us-nyc+m1", 160, 50),
    Voice("en-us-nyc+m5", 170, 45),
)
_VALIDATION = (Voice("en-us+robert", 160, 50), Voice("en-gb-x-gbclan+m4", 165, 50))
_TEST = (
    Voice("en-gb-x-rp+m7", 165, 50),
    Voice("en-gb-x-rp+klatt2", 155, 45),
    Voice("en-gb-x-rp+m7", 150, 65),
    Voice("en-gb-x-rp+klatt2", 170, 60),
)

SPEAKERS: dict[str, tuple[Voice, ...]] = {"train": _TRAINING, "validation": _VALIDATION, "test": _TEST}
