"""Which privacy units enter a step: by Poisson draws, which certificates describe, or in ways to compare with."""

from __future__ import annotations

import numpy as np

from dpcxr_core.accounting.passes import batches_per_pass
from dpcxr_core.config import PrivacySpecification, UserError
from dpcxr_core.privacy.streams import RandomStreams


def draw_units(specification: PrivacySpecification, n_units: int, streams: RandomStreams, step: int) -> np.ndarray:
    """The units of ``step`` by the sampler of ``specification``: a function of the streams and the step alone.

    Args:
        specification: Gives the sampler, and its rate or batch size.
        n_units: Privacy units to draw from, at least 1.
        streams: The secret of the run: who knows the draws loses the amplification.
        step: From 0.

    Returns:
        ``(n_drawn,)`` int64 indices in ``[0, n_units)``, ascending, without repeats, possibly none.

    Raises:
        UserError: ``n_units`` is below 1, or below the batch size of a sampler of fixed size.
    """
    if n_units < 1:
        raise UserError(f"n_units must be at least 1; got {n_units}. Was the training split empty?")
    if specification.sampler == "poisson":
        return poisson_draw(specification, n_units, streams.at("draws", step))
    if specification.sampler == "truncated_poisson":
        return truncated_poisson_draw(specification, n_units, streams.at("draws", step))
    if specification.sampler == "fixed_size":
        return fixed_size_draw(specification, n_units, streams.at("draws", step))
    n_pass, place = divmod(step, steps_per_pass(specification, n_units))
    if specification.sampler == "shuffled":
        return shuffled_draw(specification, n_units, streams.at("draws", n_pass), place)
    return balls_and_bins_draw(specification, n_units, streams.at("draws", n_pass), place)


def steps_per_pass(specification: PrivacySpecification, n_units: int) -> int:
    """Steps of one pass of "shuffled" or "balls_and_bins": as many as fit, so that a unit is in at most one.

    The shuffled pass cuts the units that there are; balls and bins know the rate alone, so that the number of units
    need not be public.
    """
    if specification.sampler == "shuffled":
        return n_units // _fixed_batch(specification, n_units)
    return batches_per_pass(specification.sample_rate)


def poisson_draw(specification: PrivacySpecification, n_units: int, rng: np.random.Generator) -> np.ndarray:
    """Each unit enters independently at ``specification.sample_rate``; arguments and result as for ``draw_units``.

    A size is drawn from Binomial(``n_units``, ``sample_rate``) and then that many units without
    replacement, which is the same law as one coin per unit at a cost that follows the batch.

    Source:
        Abadi et al. (2016), Algorithm 1, arXiv:1607.00133.
    """
    return _without_replacement(n_units, rng.binomial(n_units, specification.sample_rate), rng)


def truncated_poisson_draw(specification: PrivacySpecification, n_units: int, rng: np.random.Generator) -> np.ndarray:
    """A Poisson draw of which at most ``specification.largest_batch`` units stay, chosen evenly.

    Source:
        Chua et al. (2024), arXiv:2411.04205.
    """
    assert specification.largest_batch is not None
    size = min(rng.binomial(n_units, specification.sample_rate), specification.largest_batch)
    return _without_replacement(n_units, size, rng)


def fixed_size_draw(specification: PrivacySpecification, n_units: int, rng: np.random.Generator) -> np.ndarray:
    """``expected_batch_size`` units without replacement, anew in every step."""
    return _without_replacement(n_units, _fixed_batch(specification, n_units), rng)


def shuffled_draw(
    specification: PrivacySpecification, n_units: int, rng: np.random.Generator, place: int
) -> np.ndarray:
    """Batch number ``place`` of one pass: a random order cut into batches; ``rng`` is that of the pass.

    What is smaller than a batch is left out of the pass. This is what ordinary data loaders do; no Poisson epsilon
    describes it (``accounting.shuffling``).
    """
    batch_size = _fixed_batch(specification, n_units)
    order = rng.permutation(n_units)
    return np.sort(order[place * batch_size : (place + 1) * batch_size]).astype(np.int64)


def balls_and_bins_draw(
    specification: PrivacySpecification, n_units: int, rng: np.random.Generator, place: int
) -> np.ndarray:
    """The units that one pass throws into its step number ``place``; ``rng`` is that of the pass.

    Every step gets a unit with the chance ``sample_rate``; where one over it is not whole, a unit is in no step with
    the chance that is left, so that batches are as large as expected.

    Source:
        Chua et al. (2024), arXiv:2412.16802.
    """
    bins = np.floor(rng.random(n_units) / specification.sample_rate)
    return np.flatnonzero(bins == place).astype(np.int64)


def _fixed_batch(specification: PrivacySpecification, n_units: int) -> int:
    if specification.expected_batch_size > n_units:
        raise UserError(
            f"sampler {specification.sampler!r} needs at least expected_batch_size units, "
            f"{specification.expected_batch_size}; there are {n_units}"
        )
    return specification.expected_batch_size


def _without_replacement(n_units: int, size: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.choice(n_units, size=size, replace=False, shuffle=False)).astype(np.int64)
