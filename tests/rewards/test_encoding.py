"""Texts in padded batches."""

import random

from speechbench.rewards.encoding import batches_by_length


def test_batches_hold_each_text_once_and_pad_no_full_one() -> None:
    rng = random.Random(0)
    lengths = [rng.randint(2, 60) for _ in range(500)]
    batches = list(batches_by_length(lengths, size=32, full=256))
    assert sorted(number for numbers in batches for number in numbers) == list(range(500))
    assert max(map(len, batches)) <= 32
    for numbers in batches:
        longest = max(lengths[number] for number in numbers)
        shorter = [number for number in numbers if lengths[number] < longest]
        assert len(shorter) * max((lengths[number] for number in shorter), default=0) < 256
    assert list(batches_by_length([], 32, 256)) == []
