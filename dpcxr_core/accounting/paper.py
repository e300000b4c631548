"""The private trainings of the paper, whose noise it does not state: how large they were, and what noise they needed.

The facts are those that could be found of arXiv:2601.19618 and of its authors' code. What is not known stays unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dpcxr_core.accounting.by_rdp import noise_multiplier_by_rdp, noise_multiplier_of_opacus
from dpcxr_core.accounting.calibration import calibrate_noise_multiplier, sample_rate_of, specification_for
from dpcxr_core.accounting.certificate import certify
from dpcxr_core.accounting.poisson import epsilon_pld, epsilon_rdp_of_opacus
from dpcxr_core.config import UserError

_TEST_SET_AWAY = "all images less the authors' test images"


@dataclass(frozen=True, kw_only=True)
class PaperDataset:
    """A private training set of the paper.

    Attributes:
        name: As in the paper.
        n_images: Training images.
        images_from: Where that number comes from.
        n_patients: Training patients; None where it could not be found.
        patients_from: Where that number comes from, or why there is none.
    """

    name: str
    n_images: int
    images_from: str
    n_patients: int | None
    patients_from: str


DATASETS = (
    PaperDataset(
        name="VinDr-CXR",
        n_images=15_000,
        images_from="official split",
        n_patients=None,
        patients_from="not published with the data",
    ),
    PaperDataset(
        name="ChestX-ray14",
        n_images=86_524,
        images_from="official split",
        n_patients=28_008,
        patients_from="official split; 2,797 more in its test set",
    ),
    PaperDataset(
        name="PadChest",
        n_images=88_480,
        images_from=_TEST_SET_AWAY,
        n_patients=None,
        patients_from="about 67,000 in all; training draw unpublished",
    ),
    PaperDataset(
        name="CheXpert",
        n_images=128_356,
        images_from=_TEST_SET_AWAY,
        n_patients=None,
        patients_from="64,534 frontal in all; training draw unpublished",
    ),
    PaperDataset(
        name="UKA-CXR",
        n_images=153_537,
        images_from=_TEST_SET_AWAY,
        n_patients=None,
        patients_from="the data are not public",
    ),
)


@dataclass(frozen=True, kw_only=True)
class PaperSetting:
    """One training whose noise is asked for; ``n_units`` are of ``privacy_unit``."""

    dataset: str
    privacy_unit: Literal["image", "patient"]
    n_units: int
    expected_batch_size: int
    n_epochs: int
    delta: float
    target_epsilon: float

    @property
    def n_steps(self) -> int:
        """Steps of all passes, each of as many whole batches as the data fill, as the authors' loader counts them."""
        return self.n_epochs * (self.n_units // self.expected_batch_size)

    @property
    def sample_rate(self) -> float:
        """Expected batch size over units."""
        return sample_rate_of(self.expected_batch_size, self.n_units, self.privacy_unit)


def paper_settings(
    target_epsilons: Sequence[float], batch_sizes: Sequence[int], n_epochs: int, delta: float
) -> list[PaperSetting]:
    """A setting for every data set, privacy unit whose number is known, batch size and target."""
    counts: list[tuple[PaperDataset, Literal["image", "patient"], int | None]] = [
        *((each, "image", each.n_images) for each in DATASETS),
        *((each, "patient", each.n_patients) for each in DATASETS),
    ]
    return [
        PaperSetting(
            dataset=each.name,
            privacy_unit=unit,
            n_units=n_units,
            expected_batch_size=batch,
            n_epochs=n_epochs,
            delta=delta,
            target_epsilon=epsilon,
        )
        for each, unit, n_units in counts
        if n_units is not None
        for batch in batch_sizes
        for epsilon in target_epsilons
    ]


def noise_needed(setting: PaperSetting) -> dict[str, Any]:
    """The noise of ``setting`` by PLD, by RDP and as Opacus returns it, and the certificate of the first, in one row.

    Raises:
        AccountantsDisagreeError: As from ``certify``.
    """
    specification = specification_for(
        target_epsilon=setting.target_epsilon,
        delta=setting.delta,
        n_units=setting.n_units,
        expected_batch_size=setting.expected_batch_size,
        n_steps=setting.n_steps,
        max_grad_norm=1.0,  # the noise multiplier does not depend on it, nor on how many images of a patient enter
        privacy_unit=setting.privacy_unit,
        max_images_per_patient=1 if setting.privacy_unit == "patient" else None,
    )
    certificate = certify(specification, setting.n_units, setting.target_epsilon)
    asked = _asked(setting)
    return asdict(setting) | {
        "sample_rate": setting.sample_rate,
        "n_steps": setting.n_steps,
        "noise_multiplier": specification.noise_multiplier,
        "noise_multiplier_rdp": noise_multiplier_by_rdp(**asked),
        "noise_multiplier_opacus": noise_multiplier_of_opacus(**asked),
        "epsilon_pld": certificate.epsilon_pld,
        "epsilon_prv_low": certificate.epsilon_prv_low,
        "epsilon_prv": certificate.epsilon_prv,
        "epsilon_rdp": certificate.epsilon_rdp,
        "delta_times_units": certificate.delta_times_units,
    }


def _asked(setting: PaperSetting) -> dict[str, Any]:
    """What every search for noise takes."""
    return {
        "target_epsilon": setting.target_epsilon,
        "delta": setting.delta,
        "sample_rate": setting.sample_rate,
        "n_steps": setting.n_steps,
    }


def spent_by_epoch(setting: PaperSetting, epochs: Sequence[int]) -> list[dict[str, Any]]:
    """What ``setting`` has spent after each of ``epochs``, with the noise that PLD and that RDP ask for; a row each.

    Raises:
        UserError: An epoch is not one of the training.
    """
    if not all(1 <= epoch <= setting.n_epochs for epoch in epochs):
        raise UserError(f"epochs must be from 1 to {setting.n_epochs}; got {list(epochs)}")
    asked = _asked(setting)
    noises = {"PLD": calibrate_noise_multiplier(**asked), "RDP": noise_multiplier_by_rdp(**asked)}
    rows = []
    for calibrated_by, noise in noises.items():
        for epoch in epochs:
            n_steps = replace(setting, n_epochs=epoch).n_steps
            spent = (noise, setting.sample_rate, n_steps, setting.delta)
            rows.append(
                asdict(setting)
                | {
                    "calibrated_by": calibrated_by,
                    "noise_multiplier": noise,
                    "epoch": epoch,
                    "epsilon_pld": epsilon_pld(*spent),
                    "epsilon_rdp": epsilon_rdp_of_opacus(*spent),
                }
            )
    return rows
