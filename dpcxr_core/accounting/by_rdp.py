"""The noise that Renyi accounting asks for: what a study that uses it adds, never what this project adds."""

from __future__ import annotations

import math

from dpcxr_core.accounting.calibration import check_target, least_noise
from dpcxr_core.accounting.poisson import epsilon_rdp_of_opacus, quiet
from dpcxr_core.accounting.values import check_values
from dpcxr_core.config import UserError

_LARGEST_NOISE_MULTIPLIER = 1e4


def noise_multiplier_by_rdp(*, target_epsilon: float, delta: float, sample_rate: float, n_steps: int) -> float:
    """The least noise multiplier of 4 decimals whose RDP epsilon with Opacus' orders is within the target.

    Args:
        target_epsilon: Limit on epsilon, in (0, 100].
        delta: Chance allowed for the guarantee to fail, in (0, 1).
        sample_rate: Chance that one unit enters one step, in (0, 1].
        n_steps: Number of steps, at least 1.

    Raises:
        UserError: A value is outside its range, or the target is below what these orders can show with any noise.
    """
    check_target(target_epsilon)
    check_values(1.0, sample_rate, n_steps, delta)

    def epsilon_of(noise_multiplier: float) -> float:
        return epsilon_rdp_of_opacus(noise_multiplier, sample_rate, n_steps, delta)

    noise = least_noise(epsilon_of, target_epsilon, _LARGEST_NOISE_MULTIPLIER)
    if math.isinf(noise):
        floor = epsilon_of(_LARGEST_NOISE_MULTIPLIER)
        raise UserError(
            f"RDP with the orders of Opacus cannot show a target_epsilon of {target_epsilon} at delta {delta:g}: with "
            f"noise multiplier {_LARGEST_NOISE_MULTIPLIER:g} it still gives {floor:.4f}"
        )
    return noise


def noise_multiplier_of_opacus(*, target_epsilon: float, delta: float, sample_rate: float, n_steps: int) -> float:
    """What ``get_noise_multiplier`` of Opacus returns by default: by RDP, and up to 0.01 of epsilon below the target.

    Raises:
        UserError: Opacus gives up.
    """
    from opacus.accountants.utils import get_noise_multiplier  # takes seconds to import

    check_target(target_epsilon)
    check_values(1.0, sample_rate, n_steps, delta)
    asked = {"target_epsilon": target_epsilon, "target_delta": delta, "sample_rate": sample_rate, "steps": n_steps}
    try:
        with quiet():
            return float(get_noise_multiplier(**asked, accountant="rdp"))
    except ValueError as error:
        raise UserError(f"Opacus finds no noise for target_epsilon {target_epsilon}: {error}") from None
