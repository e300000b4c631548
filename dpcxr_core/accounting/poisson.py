"""Epsilon spent by Poisson-sampled Gaussian noise: the PLD claim, RDP beside it, PRV as a cross-check.

All are for adding or removing one privacy unit. PLD is tight and rounds up; RDP is what most papers report
and overstates epsilon; PRV is other code for the same quantity. A closed form exists without sampling
(accounting.gaussian).
"""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dpcxr_core.accounting.values import check_values
from dpcxr_core.config import UserError

# dp_accounting and Opacus take seconds to import, and a remembered answer needs neither: imported where they are used
if TYPE_CHECKING:
    from dp_accounting import dp_event

# Beyond this, epsilon promises nothing and the tables of PLD and PRV grow until the computer stops.
LARGEST_EPSILON = 100.0
# Points of the grid of one step's privacy loss that take some five seconds.
_LARGEST_PLD_GRID = 200_000
# Points of the PRV grid that take some ten seconds; the smallest rates and largest noise ask for more.
_LARGEST_PRV_GRID = 20_000_000
# Renyi orders of Opacus (accountants/rdp.py, 1.6.0).
_OPACUS_ORDERS = (*(1 + tenth / 10 for tenth in range(1, 100)), *range(12, 64))
# Whole orders: sums of finitely many terms, where fractional orders may fail to converge.
WHOLE_ORDERS = (*range(2, 64), *range(64, 256, 8), *range(256, 1025, 64))
# Some of those of dp_accounting, so few that a search may ask often; mostly under 3 % looser.
_FEW_ORDERS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 63, 128, 256, 512, 1024)


class PrvUnavailableError(RuntimeError):
    """PRV cannot compute this setting in reasonable time or accuracy; the message says why."""


def epsilon_pld(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """Upper bound on epsilon from privacy loss distributions: the number this project claims.

    Args:
        noise_multiplier: Noise standard deviation over L2 sensitivity, positive.
        sample_rate: Chance that one unit enters one step, in (0, 1].
        n_steps: Number of steps, at least 1.
        delta: Chance allowed for the guarantee to fail, in (0, 1).

    Raises:
        UserError: A value is outside its range, or epsilon would exceed ``LARGEST_EPSILON``.

    Source:
        Google dp_accounting, ``PLDAccountant`` (pessimistic); Doroshenko et al. (2022), arXiv:2207.04380.
    """
    scale = _checked_rdp(noise_multiplier, sample_rate, n_steps, delta)
    interval = pld_interval(scale, noise_multiplier, sample_rate, n_steps)
    epsilon = pld_at_interval(noise_multiplier, sample_rate, n_steps, delta, interval)
    finer = pld_interval(epsilon, noise_multiplier, sample_rate, n_steps)
    if epsilon < scale / 2 and finer < interval:
        # RDP was far off, and with it the grid: once more on the finer one.
        epsilon = pld_at_interval(noise_multiplier, sample_rate, n_steps, delta, finer)
    return epsilon


def epsilon_rdp(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """Upper bound on epsilon from Renyi divergences: comparable to papers that used RDP, never the claim.

    Orders are those of dp_accounting (1.1 to 1024). Opacus stops at order 63, so its RDP cannot go below
    0.11 at a delta of 6e-6, and differs in the fourth digit elsewhere. Arguments as for ``epsilon_pld``.

    Source:
        Mironov, Talwar & Zhang (2019), arXiv:1908.10530.
    """
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    return _rdp(noise_multiplier, sample_rate, n_steps, delta)


def loose_epsilon_rdp(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """``epsilon_rdp`` of few of its orders: never less, and several times as fast, for where a search begins.

    Arguments, errors and source as there.
    """
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    return _rdp(noise_multiplier, sample_rate, n_steps, delta, _FEW_ORDERS)


def epsilon_rdp_of_opacus(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """``epsilon_rdp`` with the orders of Opacus: the number that a user of Opacus' RDP accountant reads.

    Source:
        Opacus 1.6.0, ``RDPAccountant.DEFAULT_ALPHAS``.
    """
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    return _rdp(noise_multiplier, sample_rate, n_steps, delta, _OPACUS_ORDERS)


@dataclass(frozen=True)
class PrvBracket:
    """Both ends between which the true epsilon lies, and the estimate between them, by PRV."""

    low: float
    estimate: float
    high: float


def prv_bracket(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> PrvBracket:
    """Lower and upper bound on epsilon from privacy random variables (Opacus).

    Half the width asked for is a hundredth of epsilon, and at most 0.01. Arguments as for ``epsilon_pld``.

    Raises:
        UserError: As for ``epsilon_pld``.
        PrvUnavailableError: The computation is too large, or Opacus gives up on it.

    Source:
        Gopi, Lee & Wutschitz (2021), arXiv:2106.02848.
    """
    scale = _checked_rdp(noise_multiplier, sample_rate, n_steps, delta)
    return prv_at_error(noise_multiplier, sample_rate, n_steps, delta, min(0.01, max(0.01 * scale, 1e-4)))


def epsilon_prv(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """The upper end of ``prv_bracket``, at most about 1 % or 0.01 too high; arguments and errors as there."""
    return prv_bracket(noise_multiplier, sample_rate, n_steps, delta).high


def epsilon_spent(
    noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, accountant: str = "pld"
) -> float:
    """Upper bound on epsilon by the named ``accountant``: "pld", "rdp" or "prv".

    Raises:
        UserError: The accountant is unknown, or a value is outside its range.
    """
    known = {"pld": epsilon_pld, "rdp": epsilon_rdp, "prv": epsilon_prv}
    if accountant not in known:
        raise UserError(f"accountant must be one of {', '.join(known)}; got {accountant!r}")
    return known[accountant](noise_multiplier, sample_rate, n_steps, delta)


def pld_interval(epsilon: float, noise_multiplier: float, sample_rate: float, n_steps: int) -> float:
    """Grid of the privacy loss for an epsilon of about this size; a power of two.

    The error of the pessimistic grid grows as interval times the square root of the steps, so a fixed grid
    would claim twice the true epsilon of a long run with little noise. This rule costs some 0.3 % of epsilon.
    Very little noise spreads the loss of one step so far that the grid must be coarser to stay payable; the
    bound stays a bound.
    """
    steepest = 1 / (2 * noise_multiplier**2) + 10 / noise_multiplier
    largest_loss = float(np.logaddexp(0.0, math.log(sample_rate) + steepest))
    finest = max(1e-5, largest_loss / _LARGEST_PLD_GRID)
    wanted = max(finest, min(epsilon / (20 * math.sqrt(n_steps)), 1e-3))
    return 2.0 ** math.floor(math.log2(wanted))


def pld_at_interval(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, interval: float) -> float:
    """``epsilon_pld`` on a given grid, with no checks."""
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=interval)
    accountant.compose(event_of(noise_multiplier, sample_rate), n_steps)
    return float(accountant.get_epsilon(delta))


def event_of(noise_multiplier: float, sample_rate: float) -> dp_event.DpEvent:
    """One step, as dp_accounting describes it."""
    from dp_accounting import dp_event

    gaussian = dp_event.GaussianDpEvent(noise_multiplier)
    return gaussian if sample_rate == 1 else dp_event.PoissonSampledDpEvent(sample_rate, gaussian)


def _rdp(
    noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, orders: Sequence[float] | None = None
) -> float:
    from dp_accounting.rdp import RdpAccountant

    with quiet():
        accountant = RdpAccountant(orders)
        accountant.compose(event_of(noise_multiplier, sample_rate), n_steps)
        return float(accountant.get_epsilon(delta))


def prv_at_error(
    noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, epsilon_error: float
) -> PrvBracket:
    """``prv_bracket`` with half the given width, with no checks of its arguments.

    Raises:
        PrvUnavailableError: The computation is too large, or Opacus gives up on it.
    """
    from opacus.accountants import PRVAccountant
    from opacus.accountants.analysis.prv import PoissonSubsampledGaussianPRV

    accountant = PRVAccountant()
    accountant.history = [(noise_multiplier, sample_rate, n_steps)]
    delta_error = delta / 1000
    with quiet():
        try:
            # The size is known beforehand: predicted cost needs no clock, and refuses alike on every computer.
            grid = accountant._get_domain(
                prvs=[PoissonSubsampledGaussianPRV(sample_rate, noise_multiplier)],
                num_self_compositions=[n_steps],
                eps_error=epsilon_error,
                delta_error=delta_error,
            )
            if grid.size > _LARGEST_PRV_GRID:
                raise PrvUnavailableError(f"PRV would need a grid of {grid.size} points (limit {_LARGEST_PRV_GRID})")
            composed = accountant._get_dprv(eps_error=epsilon_error, delta_error=delta_error)
            low, estimate, high = (float(end) for end in composed.compute_epsilon(delta, delta_error, epsilon_error))
        except (RuntimeError, ValueError, OverflowError, FloatingPointError, MemoryError) as error:
            if isinstance(error, PrvUnavailableError):
                raise
            raise PrvUnavailableError(f"Opacus PRV failed: {error}") from error
    if not (math.isfinite(low) and math.isfinite(high)):
        raise PrvUnavailableError(f"Opacus PRV returned {low} to {high}")
    return PrvBracket(max(low, 0.0), max(estimate, 0.0), max(high, 0.0))


def _checked_rdp(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """The RDP epsilon, once the values are known to be in range and the work to be finite."""
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    scale = _rdp(noise_multiplier, sample_rate, n_steps, delta)
    if not scale <= LARGEST_EPSILON:
        raise UserError(
            f"epsilon would be about {scale:.3g}, above {LARGEST_EPSILON:g}, which promises nothing; raise "
            f"noise_multiplier ({noise_multiplier}) or lower sample_rate ({sample_rate}) or n_steps ({n_steps})"
        )
    return scale


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No notes about the choice of Renyi order, which only affect how loose RDP is."""
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        absl.setLevel(level)
