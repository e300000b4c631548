"""What a guarantee for single images means for a patient with several of them, and the noise to protect patients.

Under Poisson sampling of images a patient with k of them enters a step with a binomial number of images. So the
patient changes the sum by at most 0, 1, ..., k clip norms with known chances: a mixture of Gaussians against a
single one, whose privacy losses compose like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binom

from dpcxr_core.accounting.calibration import calibrate_noise_multiplier
from dpcxr_core.accounting.poisson import (
    LARGEST_EPSILON,
    WHOLE_ORDERS,
    epsilon_pld,
    epsilon_rdp,
    event_of,
    pld_interval,
)
from dpcxr_core.accounting.values import check_values, rounded_up
from dpcxr_core.config import UserError

# Share of delta that pays for patients who enter a step with more images than are accounted for.
_SHARE_FOR_MANY = 1e-6
# Points of the grid of one step's privacy loss: enough to know how large epsilon is, and the most that is payable.
_COARSE_GRID, _FINEST_GRID = 500, 50_000
_COARSEST_INTERVAL = 1 / 64


def epsilon_of_patient(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, n_images: int) -> float:
    """Upper bound on epsilon for adding or removing one patient with ``n_images``, where images are sampled; tight.

    Args:
        noise_multiplier: Noise standard deviation over the L2 sensitivity to one image, positive.
        sample_rate: Chance that one image enters one step, in (0, 1].
        n_steps: Number of steps, at least 1.
        delta: Chance allowed for the patient's guarantee to fail, in (0, 1).
        n_images: Images of the patient, at least 1.

    Returns:
        Epsilon; infinite where it is above ``LARGEST_EPSILON``, which promises nothing. Of a single image it is
        ``epsilon_pld``.

    Raises:
        UserError: A value is outside its range.

    Source:
        Charles et al. (2024), arXiv:2407.07737, section 3 (example-level sampling); Choquette-Choo et al. (2023),
        arXiv:2310.15526, Corollary 4.7, for the reduction of gradients in any directions to one dimension.
    """
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    _check_images(n_images)
    if n_images == 1:
        with suppress(UserError):  # RDP is above the largest epsilon, which PLD need not be: the mixture decides
            return epsilon_pld(noise_multiplier, sample_rate, n_steps, delta)
    chances, missed = _images_in_a_step(sample_rate, n_steps, delta, n_images)
    if len(chances) == 1:  # delta pays for all that ever enter
        return -math.log1p(-missed)
    guess = _grid(math.inf, noise_multiplier, chances, n_steps)
    epsilon = _epsilon_at(noise_multiplier, chances, n_steps, delta - missed, guess)
    finer = _grid(epsilon, noise_multiplier, chances, n_steps)
    if finer < guess and 0 < epsilon < 2 * LARGEST_EPSILON:  # else the answer is known, and would be slow
        epsilon = _epsilon_at(noise_multiplier, chances, n_steps, delta - missed, finer)
    epsilon -= math.log1p(-missed)
    return epsilon if epsilon <= LARGEST_EPSILON else math.inf


def epsilon_of_group(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float, n_images: int) -> float:
    """The same bound from the guarantee for one image alone, by group privacy: looser, and soon out of reach.

    A mechanism that is (e, d)-private for one image is (k e, d (1 + exp(e) + ... + exp((k - 1) e)))-private for k.
    The image's delta is taken as small as the patient's delta needs; it comes from PLD, or from RDP where it is
    below what PLD resolves. Arguments, result and errors as for ``epsilon_of_patient``.

    Source:
        Vadhan (2017), "The Complexity of Differential Privacy", Lemma 2.2.
    """
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    _check_images(n_images)
    delta_of_image = _delta_of_image(noise_multiplier, sample_rate, n_steps, delta)
    powers = np.arange(n_images)

    def excess(epsilon: float) -> float:
        return math.log(max(delta_of_image(epsilon), 1e-300)) + float(np.logaddexp.reduce(powers * epsilon))

    largest = LARGEST_EPSILON / n_images
    if excess(largest) > math.log(delta):
        return math.inf
    if excess(0.0) <= math.log(delta):
        return 0.0
    root = brentq(lambda epsilon: excess(epsilon) - math.log(delta), 0.0, largest, xtol=1e-6)
    return n_images * (float(root) + 1e-6)


def noise_for_patient(*, target_epsilon: float, delta: float, sample_rate: float, n_steps: int, n_images: int) -> float:
    """Least noise multiplier, to 4 decimals, that keeps ``target_epsilon`` for patients of up to ``n_images``.

    Promise:
        ``epsilon_of_patient`` of the result is never above ``target_epsilon``. For a single image it is the result of
        ``calibrate_noise_multiplier``. The least that can be accounted for: where the chance of ever entering is
        within delta, or nearly, any noise would do, and what one image needs is returned, once for each image.

    Args:
        target_epsilon: Limit on the patient's epsilon, in (0, 100].
        delta: Chance allowed for the patient's guarantee to fail, in (0, 1).
        sample_rate: Chance that one image enters one step, in (0, 1].
        n_steps: Number of steps, at least 1.
        n_images: Most images of one patient; further ones must be left out of the training set.

    Raises:
        UserError: A value is outside its range, or the target is out of reach.
    """
    _check_images(n_images)
    least = calibrate_noise_multiplier(
        target_epsilon=target_epsilon, delta=delta, sample_rate=sample_rate, n_steps=n_steps
    )
    if n_images == 1:
        return least
    most = least * n_images  # k images move the sum by at most k clip norms: a little less than this is enough
    if sample_rate < 1 and -math.expm1(n_images * n_steps * math.log1p(-sample_rate)) <= delta:
        noise = most
    else:
        noise = _enough_noise(most, target_epsilon, delta, sample_rate, n_steps, n_images)
    noise = rounded_up(noise)
    while (epsilon := epsilon_of_patient(noise, sample_rate, n_steps, delta, n_images)) > target_epsilon:
        _check_resolved(noise, most, target_epsilon, n_steps)
        factor = 1 + min(max((epsilon / target_epsilon - 1) / 2, 1e-4), 0.1)
        noise = rounded_up(noise * factor)
    return noise


def _enough_noise(
    most: float, target_epsilon: float, delta: float, sample_rate: float, n_steps: int, n_images: int
) -> float:
    """The noise multiplier at which the epsilon of a patient is the target, to about 1e-4 of itself."""
    chances, missed = _images_in_a_step(sample_rate, n_steps, delta, n_images)

    def excess(log_noise: float) -> float:
        noise = math.exp(log_noise)
        interval = _grid(target_epsilon, noise, chances, n_steps)
        epsilon = _epsilon_at(noise, chances, n_steps, delta - missed, interval)
        return math.log(min(max(epsilon, 1e-12), 10 * LARGEST_EPSILON) / target_epsilon)

    upper = math.log(most)
    while excess(upper) > 0:
        _check_resolved(math.exp(upper), most, target_epsilon, n_steps)
        upper += 0.2
    lower, stride = upper - 0.1, 0.1
    while excess(lower) <= 0:
        if epsilon_rdp(math.exp(lower), sample_rate, n_steps, delta) > LARGEST_EPSILON:  # delta pays for nearly all
            return math.exp(lower)
        stride *= 2
        upper, lower = lower, lower - stride
    return math.exp(brentq(excess, lower, upper, xtol=2e-4))


def _check_resolved(noise_multiplier: float, most: float, target_epsilon: float, n_steps: int) -> None:
    if noise_multiplier > 2 * most:
        raise UserError(
            f"target_epsilon {target_epsilon} is too small to be resolved at {n_steps} steps; ask for a larger one"
        )


@dataclass(frozen=True, kw_only=True)
class PatientDesign:
    """One way to keep a patient's epsilon within a limit, at a given number of images in a step.

    Attributes:
        sampled: What enters a step by chance.
        images_per_patient: Most images of one patient: in the whole training set where images are sampled, in one
            step where patients are.
        images_used: Images that training may meet: those within the limit where images are sampled, else all.
        sample_rate: Chance that one image, or one patient, enters one step.
        noise_multiplier: Noise standard deviation over the clip norm.
        divisor: Expected images, or patients, of one step.
    """

    sampled: str
    images_per_patient: int
    images_used: int
    sample_rate: float
    noise_multiplier: float
    divisor: int

    @property
    def noise_on_mean(self) -> float:
        """Standard deviation of the noise on the mean gradient, in clip norms."""
        return self.noise_multiplier / self.divisor


def images_within(patients_by_images: Mapping[int, int], limit: int) -> int:
    """Images that remain where each patient keeps at most ``limit``.

    Args:
        patients_by_images: How many patients have so many images.
        limit: At least 1.
    """
    return sum(patients * min(images, limit) for images, patients in patients_by_images.items())


def patient_designs(
    *,
    target_epsilon: float,
    delta: float,
    patients_by_images: Mapping[int, int],
    images_per_step: int,
    n_steps: int,
    limits: tuple[int, ...] = (1, 2, 4),
) -> list[PatientDesign]:
    """Both ways to protect patients, for several limits on the images of one patient, at equal images in a step.

    The first samples images and takes the noise that a patient with so many images needs; images beyond the limit
    are never used, so fewer images share the steps and each enters more often. The second samples patients, who bring
    up to so many images into a step, averaged and clipped together; their number is rounded so that they bring
    ``images_per_step`` on average. With one image a patient both are the same mechanism. Limits that leave fewer
    images than a step needs are left out.

    Args:
        target_epsilon: Limit on the patient's epsilon, in (0, 100].
        delta: Chance allowed for the patient's guarantee to fail, in (0, 1).
        patients_by_images: How many patients of the training set have so many images.
        images_per_step: Expected images of one step, of both ways.
        n_steps: Number of steps, at least 1.
        limits: Most images of one patient.

    Raises:
        UserError: A value is outside its range, or nothing is known of the patients.

    Source:
        Charles et al. (2024), arXiv:2407.07737.
    """
    n_images = sum(images * patients for images, patients in patients_by_images.items())
    n_patients = sum(patients_by_images.values())
    if n_patients < 1 or min(patients_by_images) < 1:
        raise UserError(
            f"patients_by_images must count at least one patient, each with an image; got {dict(patients_by_images)}"
        )
    by_images, by_patients = [], []
    for limit in limits:
        _check_images(limit)
        kept = images_within(patients_by_images, limit)
        if images_per_step > kept:
            continue
        rate = images_per_step / kept
        noise = noise_for_patient(
            target_epsilon=target_epsilon, delta=delta, sample_rate=rate, n_steps=n_steps, n_images=limit
        )
        by_images.append(_design("images", limit, kept, rate, noise, images_per_step))
        patients = max(round(images_per_step * n_patients / kept), 1)
        rate = patients / n_patients
        noise = calibrate_noise_multiplier(
            target_epsilon=target_epsilon, delta=delta, sample_rate=rate, n_steps=n_steps
        )
        by_patients.append(_design("patients", limit, n_images, rate, noise, patients))
    return by_images + by_patients


def _design(sampled: str, limit: int, used: int, rate: float, noise: float, divisor: int) -> PatientDesign:
    return PatientDesign(
        sampled=sampled,
        images_per_patient=limit,
        images_used=used,
        sample_rate=rate,
        noise_multiplier=noise,
        divisor=divisor,
    )


def _check_images(n_images: int) -> None:
    if n_images < 1 or int(n_images) != n_images:
        raise UserError(f"n_images of a patient must be a whole number of at least 1; got {n_images}")


def _images_in_a_step(
    sample_rate: float, n_steps: int, delta: float, n_images: int
) -> tuple[NDArray[np.float64], float]:
    """Chances of 0, 1, ..., m images in one step given that there are at most m, and the chance that a step has more.

    More images than m come so seldom, over all steps, that ``_SHARE_FOR_MANY`` of delta pays for them: given that
    none has more, the two runs are a composition of mixtures up to m; the rest is added to delta, and its log to
    epsilon for the direction in which a patient is removed.
    """
    counts = np.arange(n_images + 1)
    over = n_steps * binom.sf(counts, n_images, sample_rate)
    most = int(np.argmax(over <= _SHARE_FOR_MANY * delta))
    chances = binom.pmf(counts[: most + 1], n_images, sample_rate)
    return chances / chances.sum(), float(over[most])


def _steepest_loss(noise_multiplier: float, chances: NDArray[np.float64]) -> float:
    """The loss of one step ten standard deviations out, where the grid may end."""
    counts = np.arange(len(chances))
    with np.errstate(divide="ignore"):
        losses = np.log(chances) + counts**2 / (2 * noise_multiplier**2) + 10 * counts / noise_multiplier
    return max(float(np.logaddexp.reduce(losses)), 1e-3)


def _epsilon_at(
    noise_multiplier: float, chances: NDArray[np.float64], n_steps: int, delta: float, interval: float
) -> float:
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    event = dp_event.MixtureOfGaussiansDpEvent(noise_multiplier, list(range(len(chances))), chances.tolist())
    accountant = PLDAccountant(value_discretization_interval=interval)
    accountant.compose(event, n_steps)
    return float(accountant.get_epsilon(delta))


def _grid(epsilon: float, noise_multiplier: float, chances: NDArray[np.float64], n_steps: int) -> float:
    """Grid of the privacy loss for an epsilon of about this size (infinite: unknown); a power of two.

    As ``poisson.pld_interval``, with grids that patients can pay: their losses spread further.
    """
    steepest = _steepest_loss(noise_multiplier, chances)
    coarsest = min(_COARSEST_INTERVAL, steepest / _COARSE_GRID)
    wanted = max(min(epsilon / (30 * math.sqrt(n_steps)), coarsest), steepest / _FINEST_GRID)
    return 2.0 ** math.floor(math.log2(wanted))


def _delta_of_image(
    noise_multiplier: float, sample_rate: float, n_steps: int, delta: float
) -> Callable[[float], float]:
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    scale = epsilon_pld(noise_multiplier, sample_rate, n_steps, delta)
    interval = pld_interval(scale, noise_multiplier, sample_rate, n_steps)
    by_pld, by_rdp = PLDAccountant(value_discretization_interval=interval), RdpAccountant(WHOLE_ORDERS)
    for accountant in (by_pld, by_rdp):
        accountant.compose(event_of(noise_multiplier, sample_rate), n_steps)
    return lambda epsilon: min(float(by_pld.get_delta(epsilon)), float(by_rdp.get_delta(epsilon)))
