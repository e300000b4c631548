"""What each step works on: which images, moved how, in which physical batches.

All of it is a function of the run's streams and of the step, so a run can go on at any step, and neither physical
batches nor processes change what a step computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dpcxr_core.config import OrdinaryBatches, RunConfig
from dpcxr_core.privacy.sampling import draw_units
from dpcxr_core.privacy.streams import RandomStreams
from dpcxr_core.privacy.units import PrivacyUnits, images_of
from dpcxr_core.training.augmentation import draw_shifts
from dpcxr_core.training.ranks import Ranks, share_of


@dataclass(frozen=True)
class PhysicalBatch:
    """Rows of one step that are processed at once: whole units, maybe none.

    Attributes:
        step: The step it belongs to, from 0.
        images: ``(n_rows,)`` image numbers; the rows of a unit, and the copies of an image, next to each other.
        shifts: ``(n_rows, 2)`` pixels that each row is moved by.
        rows_per_unit: ``(n_units,)`` rows of each unit.
        is_last: Whether the step has no further one on this rank.
    """

    step: int
    images: np.ndarray
    shifts: np.ndarray
    rows_per_unit: np.ndarray
    is_last: bool

    @property
    def weights(self) -> np.ndarray:
        """``(n_rows,)`` float32 shares of the rows in the average of their unit."""
        return shares_of(self.rows_per_unit).astype(np.float32)


def shares_of(rows_per_unit: np.ndarray) -> np.ndarray:
    """``(n_rows,)`` float64: of each row in the average of its unit, from ``(n_units,)`` rows of each unit."""
    return np.repeat(1 / rows_per_unit, rows_per_unit)


def private_batches(
    config: RunConfig, units: PrivacyUnits, streams: RandomStreams, ranks: Ranks, *, first_step: int = 0
) -> Iterator[PhysicalBatch]:
    """The physical batches of this rank from ``first_step`` on: draws of privacy units by the run's sampler.

    A step of which this rank has no unit still has one batch, without rows.
    """
    assert config.privacy is not None
    for step in range(first_step, config.privacy.n_steps):
        drawn = draw_units(config.privacy, units.n_units, streams, step)
        images, per_unit = images_of(units, drawn, config.privacy, streams.at("images", step))
        yield from _cut(step, images, per_unit, config, streams, ranks)


def ordinary_batches(
    config: RunConfig, n_images: int, streams: RandomStreams, ranks: Ranks, *, first_step: int = 0
) -> Iterator[PhysicalBatch]:
    """As ``private_batches``, of a run without privacy: shuffled batches in which every image is one unit."""
    assert config.ordinary is not None
    draws = shuffled_batches(config.ordinary, n_images, streams, first_step=first_step)
    for step, images in enumerate(draws, start=first_step):
        yield from _cut(step, images, np.ones(len(images), np.int64), config, streams, ranks)


def shuffled_batches(
    choice: OrdinaryBatches, n_images: int, streams: RandomStreams, *, first_step: int = 0
) -> Iterator[np.ndarray]:
    """Batches of image numbers of a fixed size, from ``first_step`` to the last; each pass in a new order.

    What is left of a pass and is smaller than a batch is dropped; fewer images than a batch are all taken.
    """
    batch_size = min(choice.batch_size, n_images)
    per_pass = n_images // batch_size
    order, order_of = np.zeros(0, np.int64), -1
    for step in range(first_step, choice.n_steps):
        n_passes, place = divmod(step, per_pass)
        if n_passes != order_of:
            order, order_of = streams.at("batches", n_passes).permutation(n_images), n_passes
        yield order[place * batch_size : (place + 1) * batch_size]


def _cut(
    step: int, images: np.ndarray, per_unit: np.ndarray, config: RunConfig, streams: RandomStreams, ranks: Ranks
) -> Iterator[PhysicalBatch]:
    """This rank's units of a step, each image copied and shifted, cut between units."""
    rows_per_unit = per_unit * config.augmentation_multiplicity
    images = np.repeat(images, config.augmentation_multiplicity)
    # of the whole step at once, so that a shift depends neither on the rank nor on the physical batch
    shifts = draw_shifts(len(images), config.max_shift, streams.at("augmentation", step))
    ends = np.cumsum(rows_per_unit)
    starts = ends - rows_per_unit
    # Units come in order of their size: equal numbers of units would leave all large ones to the last rank.
    # So each rank takes the units that begin within its share of the rows.
    share = share_of(ranks, len(images))
    unit, stop = np.searchsorted(starts, [share.start, share.stop]).tolist()
    while True:
        row = int(starts[unit]) if unit < stop else 0
        fit = int(np.searchsorted(ends, row + config.physical_batch_size, side="right"))
        after = min(max(fit, unit + 1), stop)
        rows = slice(row, int(ends[after - 1]) if after > unit else row)
        yield PhysicalBatch(step, images[rows], shifts[rows], rows_per_unit[unit:after], is_last=after == stop)
        if after == stop:
            return
        unit = after
