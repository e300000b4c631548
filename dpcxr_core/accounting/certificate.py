"""The certificate of a private run: every number its guarantee rests on, and the guarantee in words."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

from dpcxr_core.accounting.calibration import check_n_steps
from dpcxr_core.accounting.poisson import (
    PrvBracket,
    PrvUnavailableError,
    epsilon_pld,
    epsilon_rdp_of_opacus,
    prv_bracket,
)
from dpcxr_core.accounting.values import check_n_units
from dpcxr_core.config import Clipping, PrivacySpecification, UserError

NOT_COVERED = (
    "choosing hyper-parameters by trying several runs on the same data",
    "other runs on the same data: their epsilons add up, and so do their deltas",
    "label weights or normalisation computed from the training labels or images",
    "validation and test data",
    "pretraining data, also where it overlaps with the training data",
    "log files with batch sizes, gradient norms or losses",
    "the arithmetic: noise is drawn and added in float32, not from a discrete Gaussian by a cryptographic generator, "
    "so what rounding gives away is not accounted for",
)
LIBRARIES = ("dp-accounting", "opacus", "torch", "numpy", "scipy")


class AccountantsDisagreeError(RuntimeError):
    """Two accountants give different epsilons for the same mechanism: no claim can be made."""


@dataclass(frozen=True, kw_only=True)
class PrivacyCertificate:
    """What was promised to whom, by which mechanism, and what it costs by three accountants.

    Attributes:
        privacy_unit: Whose data one neighbour adds or removes.
        max_images_per_patient: Most images of one patient in one step; None when the unit is the image.
        neighbouring_relation: What differs between neighbours.
        sampler: How units enter a step.
        n_units: Privacy units of the training set, declared public.
        sample_rate: Chance that one unit enters one step.
        n_steps: Steps accounted for.
        expected_passes: Mean times that a unit is used: sample rate times steps.
        expected_batch_size: Public divisor of the noisy sum.
        clipping: How a unit's gradient is brought within the clip norm, "flat" or "automatic".
        max_grad_norm: Clip norm, in gradient units.
        noise_multiplier: Noise standard deviation over L2 sensitivity.
        delta: Chance allowed for the guarantee to fail.
        delta_times_units: ``delta`` over one over ``n_units``. From 1 on, delta would allow publishing a unit outright.
        target_epsilon: Limit asked for.
        epsilon_pld: The claim.
        epsilon_rdp: With the orders of Opacus, for comparison with papers that report RDP.
        epsilon_prv_low: Lower bound on the true epsilon, by other code; None if it could not be computed.
        epsilon_prv: Upper bound by the same code; None likewise.
        epsilon_prv_missing_because: Why these two are None, else None.
        not_covered: What the guarantee leaves out.
        library_versions: Of the libraries the numbers depend on.
    """

    privacy_unit: Literal["image", "patient"]
    max_images_per_patient: int | None
    neighbouring_relation: str
    sampler: str
    n_units: int
    sample_rate: float
    n_steps: int
    expected_passes: float
    expected_batch_size: int
    clipping: Clipping
    max_grad_norm: float
    noise_multiplier: float
    delta: float
    delta_times_units: float
    target_epsilon: float
    epsilon_pld: float
    epsilon_rdp: float
    epsilon_prv_low: float | None
    epsilon_prv: float | None
    epsilon_prv_missing_because: str | None
    not_covered: list[str]
    library_versions: dict[str, str]


def certify(specification: PrivacySpecification, n_units: int, target_epsilon: float) -> PrivacyCertificate:
    """The certificate of ``specification`` on ``n_units`` privacy units.

    Raises:
        UserError: The specification promises nothing, ``n_units`` does not fit it, there are more than
            ``MOST_STEPS``, or epsilon is above ``target_epsilon``.
        AccountantsDisagreeError: PLD is below the bracket of PRV, or above it by more than 0.01 epsilon + 0.001, which
            covers the rounding up of its grid: one of them is wrong.
    """
    if not specification.promises:
        raise UserError(
            f"a certificate needs Poisson sampling, clipping and noise; got sampler {specification.sampler!r}, "
            f"clipping {specification.clipping!r} and noise_multiplier {specification.noise_multiplier:g}"
        )
    check_n_units(specification, n_units)
    check_n_steps(specification.n_steps)
    values = specification.accounted
    claimed = epsilon_pld(*values)
    if not claimed <= target_epsilon:
        raise UserError(
            f"this run would spend an epsilon of {claimed:.4f}, above target_epsilon {target_epsilon}; "
            "calibrate the noise multiplier for the target"
        )
    bracket, reason = _prv_or_reason(*values)
    _check_agreement(claimed, bracket)
    return PrivacyCertificate(
        privacy_unit=specification.privacy_unit,
        max_images_per_patient=specification.max_images_per_patient,
        neighbouring_relation=specification.neighbouring_relation,
        sampler=specification.sampler,
        n_units=n_units,
        sample_rate=specification.sample_rate,
        n_steps=specification.n_steps,
        expected_passes=specification.sample_rate * specification.n_steps,
        expected_batch_size=specification.expected_batch_size,
        clipping=specification.clipping,
        max_grad_norm=specification.max_grad_norm,
        noise_multiplier=specification.noise_multiplier,
        delta=specification.delta,
        delta_times_units=specification.delta * n_units,
        target_epsilon=target_epsilon,
        epsilon_pld=claimed,
        epsilon_rdp=epsilon_rdp_of_opacus(*values),
        epsilon_prv_low=bracket.low if bracket else None,
        epsilon_prv=bracket.high if bracket else None,
        epsilon_prv_missing_because=reason,
        not_covered=list(NOT_COVERED),
        library_versions={name: version(name) for name in LIBRARIES},
    )


def privacy_statement(certificate: PrivacyCertificate, *, randomness: Literal["seeded", "secret"] = "secret") -> str:
    """The guarantee as one paragraph of plain English, with what it does not cover.

    Args:
        certificate: Of the run.
        randomness: As in ``RunConfig``; a seeded run is said to be a demonstration.
    """
    c = certificate
    unit = "patient with all their images, however many," if c.privacy_unit == "patient" else "image"
    check = (
        f"PRV, computed by other code, puts the true epsilon between {c.epsilon_prv_low:.4f} and {c.epsilon_prv:.4f}"
        if c.epsilon_prv is not None
        else f"the PRV cross-check is missing ({c.epsilon_prv_missing_because})"
    )
    sentences = [
        f"This training run is differentially private with an epsilon of at most {c.epsilon_pld:.4f} at a delta of "
        f"{c.delta:g} (target: {c.target_epsilon:g}).",
        f"The privacy unit is one {c.privacy_unit}: the guarantee compares the run with one whose training set has "
        f"one {unit} added or removed (neighbouring relation {c.neighbouring_relation}).",
        f"It holds for all weights of all {c.n_steps} steps and for everything computed from them, provided that each "
        f"of the {c.n_units} {c.privacy_unit}s, a number declared public, entered each step independently with "
        f"probability {c.sample_rate:.6g} (Poisson sampling), that the gradient of each {c.privacy_unit} was brought "
        f"to a norm of at most {c.max_grad_norm:g} ({c.clipping} clipping), that Gaussian noise of "
        f"{c.noise_multiplier:g} times that norm was added to each sum, and that sums were divided by the constant "
        f"{c.expected_batch_size}. Each {c.privacy_unit} is used {c.expected_passes:.3g} "
        "times on average.",
        f"Epsilon is by privacy loss distributions (PLD); {check}, and RDP, the looser method of many papers (orders "
        f"of Opacus), gives {c.epsilon_rdp:.4f}.",
        f"Not covered: {'; '.join(c.not_covered)}.",
        _about_the_unit(c),
    ]
    if randomness == "seeded":
        sentences.append(
            "This run is a demonstration on images that need no protection: its seed is recorded, and whoever knows "
            "the seed can subtract the noise. The guarantee holds only for those who do not know it."
        )
    if c.delta_times_units >= 1:
        sentences.append(
            f"Warning: delta is {c.delta:g}, not below one over the number of {c.privacy_unit}s ({1 / c.n_units:g}); "
            f"such a delta would allow a mechanism that publishes one {c.privacy_unit} outright."
        )
    return " ".join(sentences)


def _about_the_unit(certificate: PrivacyCertificate) -> str:
    if certificate.privacy_unit == "patient":
        return (
            "A patient with many images is protected as well as one with a single image. That at most "
            f"{certificate.max_images_per_patient} images of one patient enter one step bounds memory and time; the "
            "guarantee does not rest on it. It does rest on every image bearing the identifier of its own patient: "
            "a person recorded under two identifiers counts as two patients."
        )
    return (
        "A patient with several images is protected less than one with a single image: the guarantee is per image, "
        "and grows weaker with each further image of the same person."
    )


def _prv_or_reason(
    noise_multiplier: float, sample_rate: float, n_steps: int, delta: float
) -> tuple[PrvBracket | None, str | None]:
    try:
        return prv_bracket(noise_multiplier, sample_rate, n_steps, delta), None
    except PrvUnavailableError as error:
        return None, str(error)


def _check_agreement(by_pld: float, by_prv: PrvBracket | None) -> None:
    if by_prv is not None and not by_prv.low - 1e-4 * by_pld <= by_pld <= by_prv.high + 0.01 * by_pld + 0.001:
        raise AccountantsDisagreeError(
            f"accountants disagree: epsilon {by_pld:.4f} by PLD, between {by_prv.low:.4f} and {by_prv.high:.4f} by "
            "PRV; no claim can be made"
        )
