"""Which clusters, outputs and seeds are drawn: blocks of resamples that depend on their number alone.

Block k of a draw depends on k and the size of the test set, so that more resamples go on from those that are there, for
as many systems as need them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SEED = 250916990
"""Of the draw: a constant, so that the same runs always give the same board."""
_FLIPS, _SEEDS = 1, 2  # draws of their own, beside that of the examples

CELLS_AT_ONCE = 2_000_000
"""Of a block: 16 MB for its draw and 16 for its counts, whatever the size of the test set and B."""
ROWS_AT_ONCE = 1_000


def blocks(clusters: int, start: int, stop: int) -> Iterator[tuple[int, slice]]:
    """The blocks that hold the resamples from one number up to another.

    Yields:
        The block's number, and which of its rows are meant.
    """
    rows = max(1, min(ROWS_AT_ONCE, CELLS_AT_ONCE // max(clusters, 1)))
    for block in range(start // rows, -(-stop // rows)):
        yield block, slice(max(start - block * rows, 0), min(stop - block * rows, rows))


def resample_counts(clusters: int, block: int, rows: slice = slice(None), seed: int = SEED) -> Array:
    """How often each cluster was drawn in each resample of a block, shape [resample, cluster]."""
    many = max(1, min(ROWS_AT_ONCE, CELLS_AT_ONCE // max(clusters, 1)))
    drawn = np.random.default_rng([seed, block]).integers(clusters, size=(many, clusters))[rows]
    counts = np.empty(drawn.shape)
    for row, its in enumerate(drawn):  # one at a time: what is counted then stays in the processor's cache
        counts[row] = np.bincount(its, minlength=clusters)
    return counts


def flips(clusters: int, block: int, rows: slice = slice(None), seed: int = SEED) -> Array:
    """For approximate randomisation: 1 where two systems keep a cluster's outputs, -1 where they change them over.

    Returns:
        Shape [resample, cluster].
    """
    many = max(1, min(ROWS_AT_ONCE, CELLS_AT_ONCE // max(clusters, 1)))
    drawn = np.random.default_rng([seed, block, _FLIPS]).integers(2, size=(many, clusters), dtype=np.int8)[rows]
    return drawn * 2.0 - 1.0


def seed_shares(seeds: Sequence[int], block: int, rows: slice = slice(None), seed: int = SEED) -> Array:
    """How large a share each training seed has in each resample of the seeds, shape [resample, seed]."""
    entropy = [value % 2**32 for value in seeds]
    generator = np.random.default_rng([seed, block, _SEEDS, *entropy])
    many = len(seeds)
    return generator.multinomial(many, np.full(many, 1 / many), size=ROWS_AT_ONCE)[rows] / many
