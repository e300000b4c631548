"""Every chance of a run as a function of one secret, a purpose and a step: nothing to store, nothing to lose.

A run that was killed and goes on from a checkpoint, or that is spread over several processes, meets the same
draws and the same noise at the same step, and no noise ever falls on other draws than those it belongs to.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dpcxr_core.config import UserError

Purpose = Literal["draws", "images", "augmentation", "noise", "batches"]
# The numbers are part of what a seed means: never renumber, only add.
_NUMBERS: dict[Purpose, int] = {"draws": 0, "images": 1, "augmentation": 2, "noise": 3, "batches": 4}


@dataclass(frozen=True)
class RandomStreams:
    """Independent streams of chance, one for each purpose and step.

    Attributes:
        entropy: The secret of the run, below 2**128. Whoever knows it can repeat the draws and subtract the noise.
    """

    entropy: int

    def __post_init__(self) -> None:
        if not 0 <= self.entropy < 2**128:
            raise UserError(f"the entropy, or seed, of a run must be in [0, 2**128); got {self.entropy}")

    def at(self, purpose: Purpose, step: int, *further: int) -> np.random.Generator:
        """The generator of ``purpose`` at ``step``, always from its beginning.

        Args:
            purpose: What the numbers are for.
            step: From 0.
            further: Divides the stream once more, as by parameter.
        """
        return np.random.Generator(np.random.SFC64(self.seed(purpose, step, *further)))

    def seed(self, purpose: Purpose, step: int, *further: int) -> np.random.SeedSequence:
        """What ``at`` seeds its generator with; for generators of other libraries.

        Raises:
            ValueError: A number of the place is not in [0, 2**32).
        """
        place = (_NUMBERS[purpose], step, *further)
        if not all(0 <= number < 2**32 for number in place):
            # numpy would cut a larger one in two, and so give it the stream of another place
            raise ValueError(f"step and further numbers must be in [0, 2**32); got {place[1:]}")
        return np.random.SeedSequence(self.entropy, spawn_key=place)


def seeded_streams(seed: int) -> RandomStreams:
    """Streams that repeat with ``seed``: for simulated or public images, whose noise may be known."""
    return RandomStreams(seed)


def secret_streams() -> RandomStreams:
    """Streams from 128 bits of the operating system, which nobody can repeat."""
    return RandomStreams(secrets.randbits(128))
