"""The simulated hospitals, in the roles of the study's six data sets, and the two worlds they can stand in.

Every number is invented. Their order is what was kept: which hospital is sicker, older, noisier, more often bedside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dpcxr_core.data.simulation.phantom_exposure import Acquisition


@dataclass(frozen=True, kw_only=True)
class Hospital:
    """One simulated hospital. Prevalences, shares and rates are probabilities; ages are years.

    Attributes:
        name: Value of ``dataset`` in the cohort table.
        role: The data set of the study whose part it plays.
        prevalence: Chance of each finding of ``CAUSES`` in a 55-year-old, before patients differ.
        ap_share: Share of AP views among the images; the others are PA.
        female_share: Share of women among the patients.
        age_mean: Mean age, before ages are cut to 18 to 95.
        age_std: Its standard deviation.
        sex_missing: Share of patients whose sex is not recorded.
        age_missing: Share of patients whose age is not recorded.
        label_flip: Chance that the label of a drawn finding is recorded wrong.
        acquisition: How it takes radiographs.
    """

    name: str
    role: str
    prevalence: tuple[float, float, float, float]
    ap_share: float
    female_share: float
    age_mean: float
    age_std: float
    sex_missing: float = 0.0
    age_missing: float = 0.0
    label_flip: float = 0.02
    acquisition: Acquisition = field(default_factory=Acquisition)


@dataclass(frozen=True, kw_only=True)
class World:
    """What sex and age really do.

    Attributes:
        name: Key of ``WORLDS``.
        sex_on_build: 1 draws breast shadows and a smaller rib cage in women, 0 draws all alike.
        age_on_build: 1 lets age widen the heart, unfold and calcify the aorta, 0 does not.
        female_log_odds: Added to a woman's log odds of each finding of ``CAUSES``, and taken from a man's.
        decade_log_odds: Added to the log odds of each finding of ``CAUSES`` per decade beyond 55.
    """

    name: str
    sex_on_build: float
    age_on_build: float
    female_log_odds: tuple[float, float, float, float]
    decade_log_odds: tuple[float, float, float, float]


WORLDS: dict[str, World] = {
    "declared": World(
        name="declared",
        sex_on_build=1.0,
        age_on_build=1.0,
        female_log_odds=(-0.10, 0.20, 0.0, -0.10),
        decade_log_odds=(0.20, 0.28, 0.26, 0.15),
    ),
    "null": World(
        name="null",
        sex_on_build=0.0,
        age_on_build=0.0,
        female_log_odds=(0.0, 0.0, 0.0, 0.0),
        decade_log_odds=(0.0, 0.0, 0.0, 0.0),
    ),
}

HOSPITALS: dict[str, Hospital] = {
    hospital.name: hospital
    for hospital in (
        Hospital(
            name="sim-source",
            role="MIMIC-CXR: the public source of domain pretraining",
            prevalence=(0.20, 0.20, 0.24, 0.16),
            ap_share=0.65,
            female_share=0.47,
            age_mean=62,
            age_std=17,
            label_flip=0.05,
            acquisition=Acquisition(
                contrast=1.15, brightness=0.06, gamma=0.80, noise_std=0.008, collimated=0.10, captioned=0.25
            ),
        ),
        Hospital(
            name="sim-a",
            role="ChestX-ray14: the main private target",
            prevalence=(0.22, 0.20, 0.22, 0.22),
            ap_share=0.40,
            female_share=0.44,
            age_mean=48,
            age_std=17,
            label_flip=0.02,
            acquisition=Acquisition(
                contrast=0.95, brightness=0.04, noise_std=0.011, exposure_spread=0.13, collimated=0.4, marked=0.8
            ),
        ),
        Hospital(
            name="sim-b",
            role="VinDr-CXR: PA only, younger and healthier, high contrast, demographics mostly missing",
            prevalence=(0.08, 0.13, 0.10, 0.12),
            ap_share=0.0,
            female_share=0.46,
            age_mean=44,
            age_std=16,
            sex_missing=0.58,
            age_missing=0.84,
            label_flip=0.01,
            acquisition=Acquisition(
                contrast=1.25, gamma=0.95, noise_std=0.008, pose_spread=0.8, collimated=0.05, marked=0.4
            ),
        ),
        Hospital(
            name="sim-c",
            role="UKA-CXR: bedside AP views of intensive care, low contrast, noisy, sick and old",
            prevalence=(0.26, 0.36, 0.26, 0.28),
            ap_share=0.98,
            female_share=0.37,
            age_mean=67,
            age_std=13,
            label_flip=0.03,
            acquisition=Acquisition(
                contrast=0.78,
                brightness=0.03,
                gamma=1.15,
                noise_std=0.014,
                pose_spread=1.3,
                collimated=0.45,
                marked=0.9,
                device_share=0.8,
            ),
        ),
        Hospital(
            name="sim-d",
            role="CheXpert: mostly AP views of a university hospital, text-mined labels",
            prevalence=(0.24, 0.18, 0.30, 0.18),
            ap_share=0.82,
            female_share=0.42,
            age_mean=60,
            age_std=18,
            label_flip=0.05,
            acquisition=Acquisition(
                contrast=1.0, brightness=-0.04, gamma=1.0, noise_std=0.010, captioned=0.5, device_share=0.6
            ),
        ),
        Hospital(
            name="sim-e",
            role="PadChest: mostly PA views, all ages, many healthy",
            prevalence=(0.14, 0.18, 0.14, 0.16),
            ap_share=0.20,
            female_share=0.50,
            age_mean=58,
            age_std=19,
            sex_missing=0.01,
            age_missing=0.01,
            label_flip=0.03,
            acquisition=Acquisition(
                contrast=0.9, brightness=0.03, gamma=1.25, noise_std=0.012, exposure_spread=0.15, collimated=0.35
            ),
        ),
    )
}
