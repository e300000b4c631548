"""The official files of CheXpert to one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import OfficialTable, ages_in_years, recorded_sex, view_of
from dpcxr_core.data.manifests import terms_of
from dpcxr_core.data.policies import CODE
from dpcxr_core.data.sources.official_csv import first_present, present, read_columns, recoded
from dpcxr_core.data.sources.picture_files import find_pictures, paths_named, unlisted

DATASET = "chexpert"
_PATH = r"^(?:[^/]+/)?((train|valid|test)/(patient\d+)/(study\d+)/view\d+_(frontal|lateral)\.jpg)$"
_STUDY = r"^(?:[^/]+/)?(test/patient\d+/study\d+)$"


def read_chexpert(source: Path, facts: Mapping[str, Any]) -> OfficialTable:
    """What ``train.csv``, ``valid.csv`` and, where they are, the labels of the test studies of CheXpert say.

    An image is named by its path without the release folder (``train/patientXXXXX/studyN/viewM_frontal.jpg``), alike
    for both releases. Labels are those of the study, repeated on each of its images.

    Args:
        source: The release folder (``CheXpert-v1.0`` or ``CheXpert-v1.0-small``) or the folder that holds one.
        facts: ``data_manifests/chexpert.yaml``.

    Raises:
        UserError: ``train.csv`` is missing, two releases are there, or a file is not as documented.

    Source:
        Irvin et al., CheXpert, AAAI 2019; test labels: rajpurkarlab/cheXpert-test-set-labels (a930205).
    """
    files = facts["files"]
    release = _release(source, files)
    folder = source / release
    columns = {**facts["columns"], **_label_columns(facts)}
    tables = [read_columns(first_present(folder, files["train"], "a CheXpert release"), columns)]
    valid = present(folder, files["valid"])
    if valid is not None:
        tables.append(read_columns(valid, columns))
    found, n_links_out = find_pictures(folder, files["pictures"], (".jpg",))
    test, n_test_studies = _test_rows(folder, facts, found)
    entries = pd.concat([*tables, test], ignore_index=True)
    table, counts = _table(entries, found, facts)
    of_no_row = unlisted(found, table["path"])
    table["path"] = table["path"].map(lambda path: release + path, na_action="ignore").astype(object)
    races, race_counts = _races(folder, facts, table["patient_id"])
    counts = {
        "rows_in_csv": sum(len(each) for each in tables),
        "labelled_test_studies_without_pictures": n_test_studies,
        **counts,
        **race_counts,
        "links_out_of_source": n_links_out,
    }
    return OfficialTable(table.join(races), counts, tuple(release + path for path in of_no_row))


def _release(source: Path, files: Mapping[str, Any]) -> str:
    """Nothing if ``source`` is a release, else the folder of the one release in it with a slash."""
    if not source.is_dir() or present(source, files["train"]) is not None:
        return ""
    there = [name for name in files["releases"] if (source / name).is_dir()]
    if len(there) > 1:
        raise UserError(f"{source} holds {' and '.join(there)}. Name one of them as the source.")
    return f"{there[0]}/" if there else ""


def _label_columns(facts: Mapping[str, Any]) -> dict[str, list[str]]:
    return {CODE + label: names for label, names in terms_of(facts).items()}


def _test_rows(folder: Path, facts: Mapping[str, Any], found: list[str]) -> tuple[pd.DataFrame, int]:
    """A row for each picture of a labelled test study; and how many labelled studies have no picture."""
    path = present(folder, facts["files"]["test_labels"])
    pictures = pd.Series([name for name in found if name.startswith("test/")], dtype=object)
    if path is None:
        return pd.DataFrame(), 0
    labels = read_columns(path, {"study": facts["test_study_column"], **_label_columns(facts)})
    studies = _parts_of(labels.pop("study"), _STUDY, path.name)[0]
    if studies.duplicated().any():
        raise UserError(f"{path.name} names {int(studies.duplicated().sum())} studies twice. Keep one row a study.")
    rows = labels.set_axis(pd.Index(studies)).reindex(pictures.str.rsplit("/", n=1).str[0])
    rows = rows.assign(path=pictures.to_numpy()).dropna().reset_index(drop=True)
    planes = rows["path"].str.extract(r"(frontal|lateral)\.jpg$")[0].str.capitalize()
    n_pictured = rows["path"].str.rsplit("/", n=1).str[0].nunique()
    return rows.assign(sex="", age="", projection="", plane=planes.astype(object)), len(studies) - n_pictured


def _parts_of(names: pd.Series, pattern: str, what: str) -> pd.DataFrame:
    parts = names.astype("string").str.extract(pattern).astype(object)
    strange = names[parts[0].isna()]
    if len(strange):
        raise UserError(
            f"{what}: {len(strange)} of {len(names)} paths are not of the official form (first: {strange.iloc[0]!r}). "
            "Put the official file there."
        )
    return parts


def _table(entries: pd.DataFrame, found: list[str], facts: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, int]]:
    parts = _parts_of(entries["path"], _PATH, "Path")
    ages, n_ages = ages_in_years(entries["age"])
    stands_for_unknown = ages.isin(facts["ages_that_mean_unknown"])
    sex, n_sex = recorded_sex(entries["sex"])
    view, n_contradictory = _views(entries, facts)
    codes = {
        name: recoded(entries[name], facts["label_values"], theirs[0]) for name, theirs in _label_columns(facts).items()
    }
    table = pd.DataFrame(
        {
            "dataset": DATASET,
            "image_id": parts[0],
            "patient_id": parts[2],
            "split": parts[1],
            "view": view,
            "sex": sex,
            "age_years": ages.mask(stands_for_unknown),
            "path": paths_named(parts[0], found),
            "study_id": parts[2] + "/" + parts[3],
            **codes,
        }
    )
    return table, {
        "ages_that_mean_unknown": int(stands_for_unknown.sum()),
        "ages_set_missing": n_ages,
        "sex_set_missing": n_sex,
        "frontal_images_with_a_lateral_projection": n_contradictory,
    }


def _views(entries: pd.DataFrame, facts: Mapping[str, Any]) -> tuple[pd.Series, int]:
    """Views, missing where the two official columns contradict each other; and how many do."""
    plane = recoded(entries["plane"], {"Frontal": "frontal", "Lateral": "lateral"}, "Frontal/Lateral")
    view = view_of(entries["projection"], facts["views"])
    contradictory = (plane == "frontal") & (view == "other")
    return view.mask(plane == "lateral", "other").mask(contradictory, None), int(contradictory.sum())


def _races(folder: Path, facts: Mapping[str, Any], patients: pd.Series) -> tuple[pd.DataFrame, dict[str, int]]:
    """Race and ethnicity as recorded, by row of ``patients``, from the demographic table if it is there as CSV."""
    path = present(folder, facts["files"]["demographics"])
    if path is None:
        n_workbooks = int(present(folder, facts["files"]["demographics_workbook"]) is not None)
        nothing = pd.DataFrame({"race": None, "ethnicity": None}, index=patients.index, dtype=object)
        return nothing, {"demographics_workbook_not_saved_as_csv": n_workbooks}
    people = read_columns(path, facts["demographics_columns"]).drop_duplicates()
    conflicting = people["patient"].duplicated(keep=False)
    known = people[~conflicting].set_index("patient")
    known = known.where(known != "", None)
    counts = {
        "patients_with_conflicting_race": int(people.loc[conflicting, "patient"].nunique()),
        "patients_without_race": int(patients[~patients.isin(known.index[known["race"].notna()])].nunique()),
    }
    return known.reindex(patients).set_axis(patients.index).astype(object), counts
