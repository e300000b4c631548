"""The cost of choosing: what the best of several private runs on the same data spends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dpcxr_core.accounting.calibration import check_target, least_noise
from dpcxr_core.accounting.poisson import LARGEST_EPSILON, WHOLE_ORDERS, epsilon_pld, epsilon_rdp, event_of
from dpcxr_core.accounting.values import check_values
from dpcxr_core.config import PrivacySpecification, UserError

NumberOfRuns = Literal["logarithmic", "geometric", "poisson"]
# "shape" of the truncated negative binomial laws in Papernot & Steinke: heavier tails cost less
_SHAPES: dict[NumberOfRuns, float] = {"logarithmic": 0.0, "geometric": 1.0, "poisson": math.inf}
_LARGEST_NOISE_MULTIPLIER = 1e5


def epsilon_after_tuning(
    noise_multiplier: float,
    sample_rate: float,
    n_steps: int,
    delta: float,
    mean_runs: float,
    distribution: NumberOfRuns = "geometric",
) -> float:
    """Upper bound by RDP on epsilon of the best of a random number of runs, where only the best is released.

    Each run takes settings drawn anew from a list that was fixed beforehand, and the score that decides which run
    is best may be any function of the run's own result: a score on public images is one. How many runs there are
    is drawn beforehand as well, and must stay unknown.

    Args:
        noise_multiplier: Noise standard deviation over L2 sensitivity, positive; of each run.
        sample_rate: Chance that one unit enters one step, in (0, 1].
        n_steps: Steps of each run, at least 1.
        delta: Chance allowed for the guarantee to fail, in (0, 1).
        mean_runs: Expected number of runs, at least 1.
        distribution: Law of their number: "logarithmic", "geometric" or "poisson". The steadier the number, the
            dearer the choice; with "poisson" there may be no run at all.

    Raises:
        UserError: A value is outside its range.

    Source:
        Papernot & Steinke (2022), Theorems 2 and 6, arXiv:2110.03620; dp_accounting ``RepeatAndSelectDpEvent``.
    """
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    if distribution not in get_args(NumberOfRuns):
        raise UserError(f"distribution must be one of {', '.join(get_args(NumberOfRuns))}; got {distribution!r}")
    if not 1 <= mean_runs < math.inf:
        raise UserError(f"mean_runs must be at least 1 and finite; got {mean_runs}")
    plain = epsilon_rdp(noise_multiplier, sample_rate, n_steps, delta)
    if mean_runs == 1 and distribution != "poisson":
        return plain  # these laws know no other number than one then
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    run = dp_event.SelfComposedDpEvent(event_of(noise_multiplier, sample_rate), n_steps)
    accountant = RdpAccountant(WHOLE_ORDERS)
    accountant.compose(dp_event.RepeatAndSelectDpEvent(run, float(mean_runs), _SHAPES[distribution]))
    return max(plain, float(accountant.get_epsilon(delta)))


def epsilon_of_all_runs(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, n_runs: int) -> float:
    """Upper bound by PLD on epsilon of ``n_runs`` runs of which any may be released; infinite above 100.

    This is what a fixed number of runs costs, and what any way of choosing among them costs at most, also one that
    looks at earlier runs before it sets up the next.

    Raises:
        UserError: A value is outside its range.
    """
    if n_runs < 1 or int(n_runs) != n_runs:
        raise UserError(f"n_runs must be a whole number of at least 1; got {n_runs}")
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    if not epsilon_rdp(noise_multiplier, sample_rate, n_steps * n_runs, delta) <= LARGEST_EPSILON:
        return math.inf
    return epsilon_pld(noise_multiplier, sample_rate, n_steps * n_runs, delta)


def noise_with_tuning(
    *,
    target_epsilon: float,
    delta: float,
    sample_rate: float,
    n_steps: int,
    mean_runs: float,
    distribution: NumberOfRuns = "geometric",
) -> float:
    """Least noise multiplier, to 4 decimals, with which the choice among the runs stays within ``target_epsilon``.

    Promise:
        ``epsilon_after_tuning`` of the result is never above ``target_epsilon``. Both are by RDP: even for one run
        this is more noise than PLD asks for.

    Args:
        target_epsilon: Limit on epsilon, in (0, 100]; all runs and the choice together.
        delta: Chance allowed for the guarantee to fail, in (0, 1).
        sample_rate: Chance that one unit enters one step, in (0, 1].
        n_steps: Steps of each run, at least 1.
        mean_runs: Expected number of runs, at least 1.
        distribution: As for ``epsilon_after_tuning``.

    Raises:
        UserError: A value is outside its range, or no noise multiplier up to 1e5 reaches the target.
    """
    check_target(target_epsilon)

    def epsilon_of(noise_multiplier: float) -> float:
        return epsilon_after_tuning(noise_multiplier, sample_rate, n_steps, delta, mean_runs, distribution)

    noise = least_noise(epsilon_of, target_epsilon, _LARGEST_NOISE_MULTIPLIER)
    if math.isinf(noise):
        raise UserError(
            f"no noise multiplier up to {_LARGEST_NOISE_MULTIPLIER:g} keeps {mean_runs:g} runs within "
            f"target_epsilon {target_epsilon}; ask for a larger epsilon or delta, or for fewer runs or steps"
        )
    return noise


@dataclass(frozen=True, kw_only=True)
class TuningCost:
    """What a choice among several private runs would have spent, had they been made on the private data.

    Attributes:
        privacy_unit: Of the runs.
        delta: Of every epsilon here.
        mean_runs: How many runs, on average where their number is random.
        distribution: Law of their number.
        epsilon_once: Of one run, by PLD.
        epsilon_once_rdp: Of one run, by RDP, to compare with ``epsilon_tuned``.
        epsilon_tuned: Of the best of a random number of runs, by RDP.
        epsilon_composed: Of that many runs all released, by PLD; infinite above 100.
        noise_multiplier: Of each run.
        noise_multiplier_rdp: What it takes by RDP for one run to stay within ``epsilon_once``.
        noise_multiplier_tuned: What it takes by RDP for choice and runs together to stay within it.
    """

    privacy_unit: str
    delta: float
    mean_runs: int
    distribution: NumberOfRuns
    epsilon_once: float
    epsilon_once_rdp: float
    epsilon_tuned: float
    epsilon_composed: float
    noise_multiplier: float
    noise_multiplier_rdp: float
    noise_multiplier_tuned: float

    @property
    def noise_factor(self) -> float:
        """How many times the noise of one run makes up for the choice; both by RDP, so that its surplus cancels."""
        return self.noise_multiplier_tuned / self.noise_multiplier_rdp


def cost_of_tuning(
    specification: PrivacySpecification, mean_runs: int, distribution: NumberOfRuns = "geometric"
) -> TuningCost:
    """What the best of ``mean_runs`` runs under ``specification`` spends.

    Raises:
        UserError: The specification promises nothing, or a value is outside its range.
    """
    if not specification.promises:
        raise UserError("what promises nothing has no cost of tuning; the specification needs clipping and noise")
    values = specification.accounted
    noise_multiplier, rate, n_steps, delta = values
    once = epsilon_pld(*values)
    setting: dict[str, Any] = {"target_epsilon": once, "delta": delta, "sample_rate": rate, "n_steps": n_steps}
    return TuningCost(
        privacy_unit=specification.privacy_unit,
        delta=delta,
        mean_runs=mean_runs,
        distribution=distribution,
        epsilon_once=once,
        epsilon_once_rdp=epsilon_rdp(*values),
        epsilon_tuned=epsilon_after_tuning(*values, mean_runs, distribution),
        epsilon_composed=epsilon_of_all_runs(*values, mean_runs),
        noise_multiplier=noise_multiplier,
        noise_multiplier_rdp=noise_with_tuning(**setting, mean_runs=1),
        noise_multiplier_tuned=noise_with_tuning(**setting, mean_runs=mean_runs, distribution=distribution),
    )
