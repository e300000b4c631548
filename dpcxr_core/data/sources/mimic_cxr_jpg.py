"""The official files of MIMIC-CXR-JPG, with the demographics of MIMIC-IV where they are, to one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import OfficialTable, ages_in_years, recorded_sex, view_of
from dpcxr_core.data.manifests import terms_of
from dpcxr_core.data.policies import CODE
from dpcxr_core.data.sources.official_csv import first_present, present, read_columns, recoded
from dpcxr_core.data.sources.picture_files import find_pictures, paths_named, unlisted

DATASET = "mimic_cxr_jpg"


def read_mimic_cxr_jpg(source: Path, facts: Mapping[str, Any]) -> OfficialTable:
    """What the metadata, labels and split of MIMIC-CXR-JPG and the demographics of MIMIC-IV say, image by image.

    Labels are those of the study, repeated on each of its images. A patient who is not in MIMIC-IV, as some who came
    to the emergency department only, has no sex, age or race.

    Args:
        source: Folder with the ``mimic-cxr-2.0.0-*.csv.gz`` (the name in 2.1.0, too), pictures in ``files/``, and
            optionally ``patients.csv.gz`` and ``admissions.csv.gz`` of MIMIC-IV in a folder below.
        facts: ``data_manifests/mimic_cxr_jpg.yaml``.

    Raises:
        UserError: A file is missing or not as documented, or names a study or image twice.

    Source:
        Johnson et al., MIMIC-CXR-JPG, arXiv:1901.07042; MIMIC-IV, doi 10.1038/s41597-022-01899-x.
    """
    files, columns = facts["files"], facts["columns"]
    images = read_columns(first_present(source, files["metadata"], "the MIMIC-CXR-JPG download"), columns)
    labels = _labels(source, facts)
    split = _by_key(source, files["split"], facts["split_columns"], ["image"])
    codes = labels.reindex(pd.MultiIndex.from_frame(images[["patient", "study"]])).set_axis(images.index)
    without_labels = ~pd.MultiIndex.from_frame(images[["patient", "study"]]).isin(labels.index)
    view, view_counts = _views(images, facts)
    people, people_counts = _people(source, facts, images)
    found, n_links_out = find_pictures(source, files["pictures"], (".jpg",))
    table = pd.DataFrame(
        {
            "dataset": DATASET,
            "image_id": images["image"],
            "patient_id": images["patient"],
            "split": recoded(images["image"].map(split["split"]), facts["split_names"], "split"),
            "view": view,
            "path": paths_named(_paths(images), found),
            "study_id": images["study"],
        }
    ).join([people, codes])
    counts = {
        "rows_in_csv": len(images),
        "images_without_labels": int(without_labels.sum()),
        "studies_without_labels": int(images.loc[without_labels, "study"].nunique()),
        **view_counts,
        **people_counts,
        "links_out_of_source": n_links_out,
    }
    return OfficialTable(table, counts, unlisted(found, table["path"]))


def _by_key(source: Path, names: list[str], columns: Mapping[str, list[str]], key: list[str]) -> pd.DataFrame:
    path = first_present(source, names, "the MIMIC-CXR-JPG download")
    table = read_columns(path, columns).drop_duplicates()
    n_twice = int(table.duplicated(key).sum())
    if n_twice:
        raise UserError(f"{path.name} has {n_twice} rows that differ from another of the same {' and '.join(key)}.")
    return table.set_index(key)


def _labels(source: Path, facts: Mapping[str, Any]) -> pd.DataFrame:
    """``code_<label>`` by patient and study, from the labeler that the manifest chooses."""
    columns = {CODE + label: names for label, names in terms_of(facts).items()}
    names = facts["files"]["labels"][facts["labeler"]]
    labels = _by_key(source, names, {**facts["label_key_columns"], **columns}, ["patient", "study"])
    return labels.apply(lambda column: recoded(column, facts["label_values"], str(column.name)))


def _paths(images: pd.DataFrame) -> pd.Series:
    patient, study = images["patient"], images["study"]
    return "files/p" + patient.str[:2] + "/p" + patient + "/s" + study + "/" + images["image"] + ".jpg"


def _views(images: pd.DataFrame, facts: Mapping[str, Any]) -> tuple[pd.Series, dict[str, int]]:
    """The view position; where it is blank, what the view code says."""
    given = view_of(images["view"], facts["views"])
    by_code = view_of(images["view_code"], facts["views_by_code"])
    view = given.where(given.notna(), by_code)
    return view, {
        "views_filled_from_the_view_code": int((given.isna() & by_code.notna()).sum()),
        "views_missing": int(view.isna().sum()),
    }


def _people(source: Path, facts: Mapping[str, Any], images: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Sex, age at the study and race of each image's patient; missing for a patient who is not in MIMIC-IV."""
    patients = _of_mimic_iv(source, facts, "patients")
    sex, ages = pd.Series(None, index=images.index, dtype=object), pd.Series(np.nan, index=images.index)
    counts = {"patients_not_in_mimic_iv_patients": images["patient"].nunique()}
    if patients is not None:
        people = patients.drop_duplicates()
        if people["patient"].duplicated().any():
            raise UserError(f"patients.csv names {int(people['patient'].duplicated().sum())} patients twice")
        people = people.set_index("patient").reindex(images["patient"]).set_axis(images.index)
        sex, n_sex = recorded_sex(people["sex"])
        ages, age_counts = _ages(people, images["study_date"])
        unmatched = images.loc[~images["patient"].isin(patients["patient"]), "patient"]
        counts = {
            "patients_not_in_mimic_iv_patients": unmatched.nunique(),
            "images_of_patients_not_in_mimic_iv_patients": len(unmatched),
            "sex_set_missing": n_sex,
            **age_counts,
        }
    races, race_counts = _races(_of_mimic_iv(source, facts, "admissions"), facts, images["patient"])
    return pd.DataFrame({"sex": sex, "age_years": ages, "race": races}), {**counts, **race_counts}


def _of_mimic_iv(source: Path, facts: Mapping[str, Any], name: str) -> pd.DataFrame | None:
    iv = facts["mimic_iv"]
    path = present(source, [f"{folder}/{name}.csv{end}" for folder in iv["folders"] for end in (".gz", "")])
    return None if path is None else read_columns(path, iv[f"{name}_columns"])


def _ages(people: pd.DataFrame, study_dates: pd.Series) -> tuple[pd.Series, dict[str, int]]:
    """Age in the year of the study; dates are shifted, by the same time for all of one patient's."""
    dated = study_dates.where(study_dates.str.fullmatch(r"[0-9]{8}"))
    anchor = people[["anchor_age", "anchor_year"]].apply(pd.to_numeric, errors="coerce")
    years = anchor["anchor_age"] + pd.to_numeric(dated.str[:4]) - anchor["anchor_year"]
    ages, n_out = ages_in_years(years)
    return ages, {
        "ages_set_missing": n_out,
        "ages_not_computable": int((years.isna() & people["anchor_age"].notna()).sum()),
        "ages_over_89_stored_as_91": int((anchor["anchor_age"] == 91).sum()),
    }


def _races(
    admissions: pd.DataFrame | None, facts: Mapping[str, Any], patients: pd.Series
) -> tuple[pd.Series, dict[str, int]]:
    """Race as recorded, by row of ``patients``: the part before " - ", if all admissions that state one agree."""
    if admissions is None:
        nothing = pd.Series(None, index=patients.index, dtype=object)
        return nothing, {"patients_not_in_mimic_iv_admissions": patients.nunique()}
    stated = admissions[~admissions["race"].isin(["", *facts["mimic_iv"]["race_not_stated"]])]
    races = stated.assign(race=stated["race"].str.split(" - ", n=1).str[0].str.strip()).drop_duplicates()
    races = races[races["patient"].isin(patients)]
    conflicting = races["patient"].duplicated(keep=False)
    one = races[~conflicting].set_index("patient")["race"]
    race = patients.map(one).astype(object)
    return race.where(race.notna(), None), {
        "patients_not_in_mimic_iv_admissions": patients[~patients.isin(admissions["patient"])].nunique(),
        "patients_with_conflicting_race": races.loc[conflicting, "patient"].nunique(),
        "patients_without_race": patients[race.isna()].nunique(),
    }
