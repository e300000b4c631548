"""A synthetic folder in the layout of UKA-CXR, so that its reader can be tried where the private set cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import DAYS_IN_A_YEAR
from dpcxr_core.data.simulation.simulated import Simulation, render, simulate_cohort
from dpcxr_core.data.sources.uka_cxr import STAND_IN

HOSPITAL = "sim-c"  # which plays the part of UKA-CXR
MASTER_LIST = "original_UKA_master_list.csv"
GRADES = np.array(["1", "2", "3", "4"])  # none, mild, moderate, severe
QUESTIONABLE = "5"
MILD_BELOW, MODERATE_BELOW = 0.7, 0.9  # of the known severity, 0.5 to 1.1 where there is a finding
_READMITTED = 0.4  # chance that a patient's next radiograph belongs to a new admission
_AT_ONCE = 64  # pictures drawn together
_INSTANCE = "2.25.{}"  # DICOM's root for numbers that nobody else may have given out


def write_uka_standin(
    folder: Path,
    *,
    n_train: int,
    n_valid: int,
    n_test: int,
    seed: int,
    size: int = 256,
    pictures: Literal["dicom", "png"] = "dicom",
) -> pd.DataFrame:
    """The master list that was written into ``folder``, beside ``dicom_files/`` and ``standin_truth.csv``.

    Images come from the simulated hospital that plays UKA-CXR's part. Grades follow the known severities: a drawn
    finding is mild, moderate or severe, an absent one is none, and where the hospital's label is wrong the reader is in
    doubt, "5". Which side a finding is on is drawn apart from the picture, so that only the larger grade of both sides
    is to be learnt. A patient may have several admissions, and the list names admissions alone, as the real one does;
    the truth file names the patients.

    Args:
        folder: Made if it is not there; must be empty.
        n_train: Images of the split "train".
        n_valid: Images of the split "valid".
        n_test: Images of the split "test".
        seed: Seeds patients, grades, dates and images.
        size: Pixels a side.
        pictures: "dicom", 12 bits, every other one MONOCHROME1; or "png", 8 bits.

    Raises:
        UserError: ``folder`` is not empty, ``pictures`` is neither, or a number is out of range.
    """
    if pictures not in ("dicom", "png"):
        raise UserError(f"pictures are 'dicom' or 'png'; got {pictures!r}")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty. Name a new folder.")
    simulation = simulate_cohort(HOSPITAL, n_train, n_valid, n_test, seed)
    if simulation.cohort.empty:
        raise UserError("a stand-in of no images is of no use; ask for at least one")
    master = _master_list(simulation, np.random.default_rng([seed, 1]))
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(master), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(master)))
        for row, image in zip(rows, render(simulation, rows, size), strict=True):
            _write_picture(folder, master.iloc[row], image, pictures, inverted=bool(row % 2))
    truth = simulation.truth.assign(image_id=master["image_id"], patient_id=simulation.cohort["patient_id"])
    truth.to_csv(folder / STAND_IN, index=False)
    master.to_csv(folder / MASTER_LIST, index=False)  # last: a folder that was not finished cannot be read
    return master


def _master_list(simulation: Simulation, rng: np.random.Generator) -> pd.DataFrame:
    """The columns that the lab's code writes, in its order."""
    cohort, n = simulation.cohort, len(simulation.cohort)
    born, taken = _dates(cohort, rng)
    heart = _grades(simulation, "cardiomegaly")
    sides = {
        name: _on_sides(_grades(simulation, finding), rng)
        for name, finding in (
            ("pleural_effusion", "pleural_effusion"),
            ("pneumonic_infiltrates", "pneumonia"),
            ("atelectasis", "atelectasis"),
        )
    }
    congested = np.where((heart == "4") & (rng.random(n) < 0.5), "2", "1")  # of a heart that is seen to be large
    graded = {
        "cardiomegaly": np.where(heart == QUESTIONABLE, "2", np.where(np.isin(heart, ("2", "3")), "3", heart)),
        "congestion": congested,
        **{f"{name}_{side}": sides[name][k] for name in sides for k, side in enumerate(("right", "left"))},
    }
    healthy = np.all([grades == "1" for grades in graded.values()], axis=0)
    seconds = rng.integers(0, 86400, n)
    return pd.DataFrame(
        {
            "image_id": (10_000_000 + rng.permutation(n)).astype(str),
            "split": cohort["split"],
            "subset": np.where(cohort["split"] == "train", "p1", cohort["split"]),
            "birth_date": np.where(cohort["age_years"].isna(), "", np.datetime_as_string(born, "D")),
            "examination_date": np.datetime_as_string(taken, "D"),
            "study_time": [f"{s // 3600:02d}{s // 60 % 60:02d}{s % 60:02d}" for s in seconds],
            "patient_sex": cohort["sex"].fillna(""),
            "ExposureinuAs": rng.integers(800, 6000, n),
            **graded,
            "pneumothorax_right": "1",
            "pneumothorax_left": "1",
            "subject_id": _admissions(cohort["patient_id"], rng),
            "healthy": healthy.astype(int),
        }
    )


def _grades(simulation: Simulation, finding: str) -> np.ndarray:
    severity = simulation.truth[f"severity_{finding}"].to_numpy()
    steps = (severity > 0).astype(int) + (severity >= MILD_BELOW) + (severity >= MODERATE_BELOW)
    doubtful = simulation.cohort[finding].to_numpy() != simulation.truth[f"true_{finding}"].to_numpy()
    return np.where(doubtful, QUESTIONABLE, GRADES[steps])


def _on_sides(grades: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Grades of the right and the left side: one of them is ``grades``, the other none or, now and then, the same."""
    right_first, both = rng.random(len(grades)) < 0.5, rng.random(len(grades)) < 0.3
    other = np.where(both, grades, GRADES[0])
    return np.where(right_first, grades, other), np.where(right_first, other, grades)


def _dates(cohort: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Day of birth and of the examination: a patient's first is at the cohort's age, each next some days later."""
    patient, first_row = np.unique(cohort["patient_id"].to_numpy(str), return_index=True)
    which = np.searchsorted(patient, cohort["patient_id"].to_numpy(str))
    first_day = np.datetime64("2010-01-01") + rng.integers(0, 12 * 365, len(patient))
    age = cohort["age_years"].to_numpy()[first_row]
    days_old = np.where(np.isnan(age), 0, (age + 0.2) * DAYS_IN_A_YEAR + rng.integers(0, 150, len(patient)))
    later = cohort.groupby("patient_id").cumcount().to_numpy() * 5
    return first_day[which] - days_old.astype(int)[which], first_day[which] + later


def _admissions(patients: pd.Series, rng: np.random.Generator) -> np.ndarray:
    """A number for each stay in hospital; a new one for each patient, and now and then for the same."""
    new = (patients != patients.shift()).to_numpy() | (rng.random(len(patients)) < _READMITTED)
    stay = np.cumsum(new) - 1
    return (3_000_000 + rng.permutation(stay[-1] + 1))[stay].astype(str)


def _write_picture(folder: Path, listed: pd.Series, image: np.ndarray, pictures: str, *, inverted: bool) -> None:
    request = listed["image_id"]
    series = folder / "dicom_files" / request / "series"
    series.mkdir(parents=True)
    if pictures == "png":
        Image.fromarray(image).save(series / f"{request}.png")
    else:
        _dicom(listed, image.astype(np.uint16) * 16, inverted).save_as(
            series / f"{request}.dcm", enforce_file_format=True
        )


def _dicom(listed: pd.Series, values: np.ndarray, inverted: bool) -> Dataset:
    """A computed radiograph of 12 bits, as of one of the two kinds of detectors of the ward."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = ComputedRadiographyImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = UID(_INSTANCE.format(listed["image_id"]))
    data.StudyInstanceUID, data.SeriesInstanceUID = (UID(_INSTANCE.format(listed["image_id"] + k)) for k in "12")
    data.Modality, data.AccessionNumber = "CR", listed["image_id"]
    data.PatientID = data.PatientName = listed["subject_id"]
    data.PatientSex, data.ViewPosition = listed["patient_sex"], "AP"
    data.StudyDate = listed["examination_date"].replace("-", "")
    data.StudyTime = listed["study_time"]
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PixelRepresentation = 1, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    data.PixelData = (4095 - values if inverted else values).astype("<u2").tobytes()
    return data
