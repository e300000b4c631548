"""The master list of UKA-CXR, or of its synthetic stand-in, to one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.data.cohort import AGE_LIMITS, DAYS_IN_A_YEAR, OfficialTable, recorded_sex
from dpcxr_core.data.policies import CODE
from dpcxr_core.data.sources.graded_reports import GRADE, codes_of_grades, graded_columns, grades_of, meanings_of
from dpcxr_core.data.sources.official_csv import first_present, recoded
from dpcxr_core.data.sources.optional_columns import read_with_optional
from dpcxr_core.data.sources.picture_files import find_pictures, unlisted

DATASET = "uka_cxr"
STAND_IN = "standin_truth.csv"  # which the synthetic stand-in brings and no copy has
HEALTHY = {"1": "healthy", "0": "not healthy", "1.0": "healthy", "0.0": "not healthy"}


def read_uka_cxr(source: Path, facts: Mapping[str, Any]) -> OfficialTable:
    """What the master list says, in its order; grades of each side stay beside the codes.

    The list names admissions, not patients: ``patient_id`` is a patient's number only where the copy has one, and the
    admission otherwise, which is counted, as are the images of the synthetic stand-in. The grades of both sides are
    kept as ``grade_<column>``.

    Args:
        source: Folder with the master list and pictures in ``dicom_files/<request number>/``. Nothing outside it is
            read; the lab's shrunken and equalised JPEGs are not used.
        facts: ``data_manifests/uka_cxr.yaml``.

    Raises:
        UserError: The list is missing or not as documented.

    Source:
        The columns that the lab's public code reads and writes: ``data/csv_data_preprocess.py`` of
        tayebiarasteh/chestx (ec279bb), ``data/utils.py`` of tayebiarasteh/DP_CXR (c5ce391).
    """
    path = first_present(source, facts["files"]["entries"], "a copy of UKA-CXR")
    entries = read_with_optional(path, facts["columns"], facts["optional_columns"])
    found, n_links_out = find_pictures(source, facts["files"]["pictures"])
    paths, n_ambiguous = _paths_by_request(entries["image"], found)
    ages, n_ages = _ages(entries["birth_date"], entries["study_date"])
    sex, n_sex = recorded_sex(entries["sex"])
    grades = grades_of(entries[graded_columns(facts)], facts)
    codes = codes_of_grades(grades, facts)
    if "healthy" in entries:
        codes[CODE + "no_finding"] = recoded(entries["healthy"], HEALTHY, "healthy")
    has_patients = "patient" in entries
    table = pd.DataFrame(
        {
            "dataset": DATASET,
            "image_id": entries["image"],
            "patient_id": entries["patient" if has_patients else "admission"],
            "split": recoded(entries["split"], facts["splits"], "split"),
            "view": facts["every_view"],
            "sex": sex,
            "age_years": ages,
            "path": paths,
            "admission_id": entries["admission"],
        }
    ).join([grades.add_prefix(GRADE), codes])
    counts = {
        "rows_in_csv": len(entries),
        "images_whose_patient_id_is_an_admission": 0 if has_patients else len(entries),
        "images_of_the_synthetic_stand_in": len(entries) if (source / STAND_IN).is_file() else 0,
        "images_with_a_finding_not_graded": int((meanings_of(grades, facts) == "not graded").any(axis=1).sum()),
        "ages_set_missing": n_ages,
        "sex_set_missing": n_sex,
        "requests_with_several_pictures": n_ambiguous,
        "links_out_of_source": n_links_out,
    }
    return OfficialTable(table, counts, unlisted(found, paths), patient_ids="recorded" if has_patients else None)


def _paths_by_request(requests: pd.Series, found: list[str]) -> tuple[pd.Series, int]:
    """The one picture in each request's folder, and how many requests have several, of which none is taken."""
    folders = [PurePosixPath(path).parts[1] for path in found]
    n_in_folder = Counter(folders)
    single = {folder: path for folder, path in zip(folders, found, strict=True) if n_in_folder[folder] == 1}
    paths = requests.map(single).astype(object)
    return paths.where(paths.notna(), None), int((requests.map(n_in_folder) > 1).sum())


def _ages(births: pd.Series, studies: pd.Series) -> tuple[pd.Series, int]:
    """Years between two dates, and how many were set to missing: not above 0, not below 120, or no such date."""
    given = (births != "") & (studies != "")
    days = (_dates(studies) - _dates(births)).dt.days
    years = days / DAYS_IN_A_YEAR
    years = years.where((years > AGE_LIMITS[0]) & (years < AGE_LIMITS[1]), np.nan)
    return years.astype(float), int((given & years.isna()).sum())


def _dates(texts: pd.Series) -> pd.Series:
    return pd.to_datetime(texts, format="%Y-%m-%d", errors="coerce").astype("datetime64[s]")
