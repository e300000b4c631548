"""Simulated cohorts: patients, labels, the cohort table and, on demand, the images.

A didactic phantom: what it shows about a training method may be learnt from it, what it shows about patients is
invented here and is evidence of nothing. Its use is that the truth is known: every severity, every label before
noise, and what sex and age really do.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import betaincinv, expit, logit, ndtri

from dpcxr_core.config import FINDINGS, SPLITS, UserError
from dpcxr_core.data.simulation.phantom import CAUSES, N_IMAGE_DRAWS, Chests, draw_radiographs
from dpcxr_core.data.simulation.phantom_anatomy import N_ANATOMY_DRAWS
from dpcxr_core.data.simulation.simulated_hospitals import HOSPITALS, WORLDS, Hospital, World
from dpcxr_core.tables import COHORT, checked

__all__ = ["HOSPITALS", "WORLDS", "Simulation", "render", "simulate_cohort", "simulate_in"]

Array = np.ndarray

MAX_IMAGES_PER_PATIENT = 8
MIDDLE_AGE = 55.0  # years; where age adds nothing
SMALLEST_SIZE = 32
_PIXELS_AT_ONCE = 1 << 16  # arrays of this many float32 stay in a core's cache, which is what makes drawing fast


@dataclass(frozen=True)
class Simulation:
    """A simulated cohort, its truth, and what it takes to draw its images.

    Attributes:
        cohort: The cohort table; labels carry the hospital's label noise, sex and age its gaps.
        truth: Same rows: ``image_id true_sex true_age_years``, ``severity_<cause>`` (0 to 1.1) and
            ``true_<finding>`` (the label before noise).
        hospital: Where the images were taken.
        world: What sex and age do there.
        patient_draws: ``(n_images, N_ANATOMY_DRAWS)`` float32 uniforms, equal within a patient.
        image_keys: ``(n_images, 2)`` uint64, the key of each image's own random stream.
    """

    cohort: pd.DataFrame
    truth: pd.DataFrame
    hospital: Hospital
    world: World
    patient_draws: Array
    image_keys: Array


def simulate_cohort(
    hospital: str, n_train: int, n_valid: int, n_test: int, seed: int, world: str = "declared"
) -> Simulation:
    """A simulated cohort with exactly the wanted number of images in each split; no patient is in two splits.

    Promise:
        The same arguments give the same cohort. A split depends on no other split's size, and a larger split
        begins with the images of a smaller one. Both worlds draw the same patients from the same numbers.

    Args:
        hospital: A key of ``HOSPITALS``.
        n_train: Images for training; 0 or more, like the other two.
        n_valid: Images for validation.
        n_test: Images for testing.
        seed: Seeds everything; 0 or more.
        world: A key of ``WORLDS``.

    Raises:
        UserError: The hospital or the world is unknown, or a number is negative.

    Example:
        >>> simulation = simulate_cohort("sim-a", n_train=5, n_valid=0, n_test=3, seed=0)
        >>> simulation.cohort["split"].value_counts().to_dict()
        {'train': 5, 'test': 3}
    """
    if hospital not in HOSPITALS:
        raise UserError(f"there is no simulated hospital {hospital!r}; choose one of {', '.join(HOSPITALS)}")
    if world not in WORLDS:
        raise UserError(f"there is no simulated world {world!r}; choose one of {', '.join(WORLDS)}")
    wanted = {"n_train": n_train, "n_valid": n_valid, "n_test": n_test, "seed": seed}
    for name, value in wanted.items():
        if value < 0:
            raise UserError(f"{name} must not be negative; got {value}")
    return simulate_in(HOSPITALS[hospital], WORLDS[world], (n_train, n_valid, n_test), seed)


def simulate_in(hospital: Hospital, world: World, n_images: tuple[int, int, int], seed: int) -> Simulation:
    """``simulate_cohort`` in a hospital and a world of one's own; ``n_images`` follows ``SPLITS``."""
    tables, draws, keys, n_patients = [], [], [], 0
    for split, n in zip(SPLITS, n_images, strict=True):
        source = [seed, zlib.crc32(hospital.name.encode()), SPLITS.index(split)]
        patient_of_image = _patient_of_image(n, np.random.default_rng([*source, 0]))
        people = patient_of_image[-1] + 1 if n else 0
        patients = _patients(hospital, world, np.random.default_rng([*source, 1]).random((people, 7)))
        seen = patients.iloc[patient_of_image].reset_index(drop=True)
        images = _images(hospital, seen, np.random.default_rng([*source, 2]).random((n, 13)))
        names = [f"{hospital.name}-p{patient:05d}" for patient in patient_of_image + n_patients]
        tables.append(images.assign(dataset=hospital.name, patient_id=names, split=split))
        anatomy = np.random.default_rng([*source, 3]).random((people, N_ANATOMY_DRAWS), np.float32)
        draws.append(anatomy[patient_of_image])
        key = np.random.SeedSequence([*source, 4]).generate_state(1, np.uint64)[0]
        keys.append(np.stack([np.full(n, key), np.arange(n, dtype=np.uint64)], axis=1))
        n_patients += people
    table = pd.concat(tables, ignore_index=True)
    table["image_id"] = [f"{hospital.name}-{row:06d}" for row in range(len(table))]
    table["path"] = None
    truth = ["image_id", "true_sex", "true_age_years", *_named("severity", CAUSES), *_named("true", FINDINGS)]
    return Simulation(
        cohort=checked(table[list(COHORT.columns)], COHORT),
        truth=table[truth],
        hospital=hospital,
        world=world,
        patient_draws=np.concatenate(draws),
        image_keys=np.concatenate(keys),
    )


def render(simulation: Simulation, rows: Array, size: int) -> Array:
    """Images of the given rows of the cohort, ``(len(rows), size, size)`` uint8.

    Promise:
        An image depends on its row and on ``size`` alone, not on the rows drawn beside it. The anatomy is the
        same at every size; the detector's noise is drawn anew. Memory beyond the result is a few megabytes.

    Args:
        simulation: Whose images.
        rows: Positions in ``simulation.cohort``, any order, repeats allowed.
        size: Pixels a side, at least 32; made for 48 to 224.

    Raises:
        UserError: ``size`` is under 32, or ``rows`` are not whole numbers.
    """
    if size < SMALLEST_SIZE:
        raise UserError(f"size must be at least {SMALLEST_SIZE} pixels for ribs to be seen; got {size}")
    rows = np.asarray(rows)
    if len(rows) and rows.dtype.kind not in "iu":
        raise UserError(f"rows must be positions in the cohort; got {rows.dtype}. Pass np.flatnonzero of a mask.")
    rows = rows.astype(np.int64)
    images = np.empty((len(rows), size, size), np.uint8)
    at_once = max(1, _PIXELS_AT_ONCE // size**2)
    for start in range(0, len(rows), at_once):
        chunk = rows[start : start + at_once]
        image_draws = np.empty((len(chunk), N_IMAGE_DRAWS), np.float32)
        noise = np.empty((len(chunk), size, size), np.float32)
        for i, key in enumerate(simulation.image_keys[chunk]):
            stream = np.random.Generator(np.random.Philox(key=key))
            stream.random(dtype=np.float32, out=image_draws[i])
            stream.standard_normal(dtype=np.float32, out=noise[i])
        chests = _chests(simulation, chunk, image_draws)
        images[start : start + at_once] = draw_radiographs(chests, simulation.hospital.acquisition, noise)
    return images


def _patient_of_image(n_images: int, rng: np.random.Generator) -> Array:
    """``(n_images,)`` patient number of each image: 1 to 8 images a patient, 2.2 on average."""
    counts = np.minimum(rng.geometric(0.45, size=n_images), MAX_IMAGES_PER_PATIENT)
    return np.repeat(np.arange(n_images), counts)[:n_images]


def _patients(hospital: Hospital, world: World, uniforms: Array) -> pd.DataFrame:
    """One row per patient: true and recorded sex and age, log odds of each cause, and a lasting heart."""
    female = uniforms[:, 0] < hospital.female_share
    sex = np.where(female, "F", "M").astype(object)
    age = np.round(np.clip(hospital.age_mean + hospital.age_std * ndtri(uniforms[:, 1]), 18, 95))
    by_sex = np.where(female, 1.0, -1.0)[:, None] * np.array(world.female_log_odds)
    by_age = ((age - MIDDLE_AGE) / 10)[:, None] * np.array(world.decade_log_odds)
    frailty = 0.8 * ndtri(uniforms[:, 4:5])  # findings cluster in patients
    log_odds = logit(np.array(hospital.prevalence)) + by_sex + by_age + frailty
    patients = pd.DataFrame(log_odds, columns=_named("log_odds", CAUSES))
    return patients.assign(
        true_sex=sex,
        true_age_years=age,
        sex=np.where(uniforms[:, 2] < hospital.sex_missing, np.array(None), sex),
        age_years=np.where(uniforms[:, 3] < hospital.age_missing, np.nan, age),
        heart_occurs=uniforms[:, 5],
        heart_severity=uniforms[:, 6],
    )


def _images(hospital: Hospital, patients: pd.DataFrame, uniforms: Array) -> pd.DataFrame:
    """One row per image: view, severities, labels before and after noise, beside what ``patients`` holds."""
    heart = CAUSES.index("cardiomegaly")
    occurs, severity_draw, flip_draw = uniforms[:, :4].copy(), uniforms[:, 4:8].copy(), uniforms[:, 8:12]
    occurs[:, heart], severity_draw[:, heart] = patients["heart_occurs"], patients["heart_severity"]
    present = occurs < expit(patients[_named("log_odds", CAUSES)].to_numpy())
    severity = present * (0.5 + 0.6 * betaincinv(1.6, 1.6, severity_draw))
    recorded = present ^ (flip_draw < hospital.label_flip)
    images = patients.assign(view=np.where(uniforms[:, 12] < hospital.ap_share, "AP", "PA").astype(object))
    images[_named("severity", CAUSES)] = severity
    images[_named("true", FINDINGS)] = _with_no_finding(present)
    images[list(FINDINGS)] = _with_no_finding(recorded)
    return images


def _with_no_finding(present: Array) -> Array:
    """Labels in the order of ``FINDINGS``: the four causes, and "no_finding" where there is none of them."""
    return np.concatenate([present, ~present.any(axis=1, keepdims=True)], axis=1).astype(float)


def _named(prefix: str, names: tuple[str, ...]) -> list[str]:
    return [f"{prefix}_{name}" for name in names]


def _chests(simulation: Simulation, rows: Array, image_draws: Array) -> Chests:
    """What the images of ``rows`` show; sex and age enter here and in ``_patients``, nowhere else."""
    truth, world = simulation.truth.iloc[rows], simulation.world
    return Chests(
        patient_draws=simulation.patient_draws[rows],
        image_draws=image_draws,
        severity=truth[_named("severity", CAUSES)].to_numpy(),
        supine=(simulation.cohort["view"].iloc[rows] == "AP").to_numpy(),
        female=world.sex_on_build * (truth["true_sex"] == "F").to_numpy(),
        ageing=world.age_on_build * (truth["true_age_years"].to_numpy() - MIDDLE_AGE) / 10,
    )
