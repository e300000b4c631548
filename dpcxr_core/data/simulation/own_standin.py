"""A stand-in for a hospital's export: simulated images with a table in German, as a hospital might hand them over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dpcxr_core.data.cohort import DAYS_IN_A_YEAR
from dpcxr_core.data.simulation.phantom import CAUSES
from dpcxr_core.data.simulation.simulated import Simulation, render, simulate_cohort

MANIFEST_NAME = "klinikum.yaml"
TABLE_NAME = "Untersuchungen.csv"
PICTURE_FOLDER = "Aufnahmen"
MISTAKES = (("F: [weiblich]", "F: [w]"), ("view: Strahlengang", "view: Projektion"))  # right, wrong
_SUSPECTED_BELOW = 0.68  # severity up to which the report says "V. a." ("suspected")
_TERMS = ("Atelektase", "Kardiomegalie", "Pleuraerguss", "Pneumonie")
_PAYERS = ("gesetzlich", "privat", "Selbstzahler")
_MANIFEST = f"""\
# An invented hospital: simulated images, no patients.
name: klinikum
title: Klinikum Musterstadt (invented)
licence: free to use; the images are simulated
reference_labels: terms of an invented report
pictures_may_be_shown: true

table: {{file: {TABLE_NAME}, separator: ";", encoding: cp1252}}
pictures: [{PICTURE_FOLDER}]
columns:
  image: Bild
  patient: Fallnummer
  sex: Geschlecht
  birth_date: Geburtsdatum
  study_date: Aufnahmedatum
  view: Strahlengang
keep: {{insurance: Kostenträger}}

sex: {{F: [weiblich], M: [männlich]}}
view: {{PA: [p.a.], AP: [a.p. liegend]}}
age: {{date_format: "%d.%m.%Y"}}
labels:
  column: Befund
  separator: ","
  terms:
    atelectasis: [Atelektase]
    cardiomegaly: [Kardiomegalie]
    pleural_effusion: [Pleuraerguss]
    pneumonia: [Pneumonie]
    no_finding: [o. B.]
  uncertain_terms:
    atelectasis: [V. a. Atelektase]
    cardiomegaly: [V. a. Kardiomegalie]
    pleural_effusion: [V. a. Pleuraerguss]
    pneumonia: [V. a. Pneumonie]
"""


def write_own_standin(folder: Path, *, n_images: int, size: int, seed: int) -> Path:
    """Path of the manifest of a simulated export, in a folder of its own: a table in German, and PNG pictures.

    The last picture of the table was not exported, and one picture is in no row, as happens. Dates are invented;
    they give the recorded age.

    Args:
        folder: Here a folder named by the other three is made; files of an earlier call with the same are written over,
            and those of a call with others lie elsewhere.
        n_images: Rows of the table, at least 2.
        size: Pixels a side, at least 32.
        seed: Seeds patients, labels and images.
    """
    simulation = simulate_cohort("sim-d", n_train=n_images, n_valid=0, n_test=0, seed=seed)
    folder = folder / f"{n_images}-images-{size}-pixels-seed-{seed}"
    pictures = folder / PICTURE_FOLDER
    pictures.mkdir(parents=True, exist_ok=True)
    table = _export(simulation, np.random.default_rng([seed, 1]))
    images = render(simulation, np.arange(n_images), size)
    names = [*table["Bild"].iloc[:-1], "Fehlbelichtung"]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(pictures / f"{name}.png")
    table.to_csv(folder / TABLE_NAME, sep=";", encoding="cp1252", index=False)
    manifest = folder / MANIFEST_NAME
    manifest.write_text(_MANIFEST, encoding="utf-8")
    return manifest


def _export(simulation: Simulation, rng: np.random.Generator) -> pd.DataFrame:
    cohort = simulation.cohort
    taken = pd.Timestamp("2024-01-08") + pd.to_timedelta(rng.integers(0, 360, len(cohort)), unit="D")
    born = pd.Series(taken) - pd.to_timedelta(np.ceil(cohort["age_years"] * DAYS_IN_A_YEAR + 1), unit="D")
    patients = pd.Series(pd.factorize(cohort["patient_id"])[0])
    return pd.DataFrame(
        {
            "Bild": [f"R{number:05d}" for number in 10_000 + np.arange(len(cohort))],
            "Fallnummer": (70_000 + patients).astype(str),
            "Geschlecht": cohort["sex"].map({"F": "weiblich", "M": "männlich"}).astype(object).fillna(""),
            "Geburtsdatum": born.dt.strftime("%d.%m.%Y").astype(object).fillna(""),
            "Aufnahmedatum": taken.strftime("%d.%m.%Y"),
            "Strahlengang": cohort["view"].map({"PA": "p.a.", "AP": "a.p. liegend"}),
            "Kostenträger": np.array(_PAYERS)[rng.choice(3, len(cohort), p=(0.85, 0.1, 0.05))],
            "Befund": _reports(simulation),
        }
    )


def _reports(simulation: Simulation) -> list[str]:
    """Terms of each report: a mild finding is suspected only, and nothing at all is "o. B." ("without findings")."""
    recorded = simulation.cohort[list(CAUSES)].to_numpy() == 1
    severity = simulation.truth[[f"severity_{cause}" for cause in CAUSES]].to_numpy()
    sure = severity >= _SUSPECTED_BELOW
    return [
        ", ".join(
            term if certain else f"V. a. {term}" for term, there, certain in zip(_TERMS, *row, strict=True) if there
        )
        or "o. B."
        for row in zip(recorded, sure, strict=True)
    ]
