"""Poisson sampling: the only sampler that the accountant of this project describes."""

from __future__ import annotations

import numpy as np

from dpcxr_core.config import PrivacySpecification, UserError


def poisson_draw(specification: PrivacySpecification, n_units: int, rng: np.random.Generator) -> np.ndarray:
    """One Poisson draw: each unit enters independently at ``specification.sample_rate``.

    A size is drawn from Binomial(``n_units``, ``sample_rate``) and then that many units without
    replacement, which is the same law as one coin per unit at a cost that follows the batch.

    Args:
        specification: Gives ``sample_rate``.
        n_units: Privacy units to draw from, at least 1.
        rng: Its state is a secret of the run: who knows the draws loses the amplification.

    Returns:
        ``(n_drawn,)`` int64 indices in ``[0, n_units)``, ascending, without repeats, possibly none.

    Raises:
        UserError: ``n_units`` is below 1.

    Source:
        Abadi et al. (2016), Algorithm 1, arXiv:1607.00133.
    """
    if n_units < 1:
        raise UserError(f"n_units must be at least 1; got {n_units}. Was the training split empty?")
    size = rng.binomial(n_units, specification.sample_rate)
    return np.sort(rng.choice(n_units, size=size, replace=False, shuffle=False)).astype(np.int64)
