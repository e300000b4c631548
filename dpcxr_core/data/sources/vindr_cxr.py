"""The official files of VinDr-CXR to one table: three readers' votes, one consensus, sex and age from DICOM headers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from pydicom import Dataset

from dpcxr_core.config import UserError
from dpcxr_core.data.cohort import OfficialTable, ages_in_years, recorded_sex
from dpcxr_core.data.manifests import terms_of
from dpcxr_core.data.pictures.dicom_header import read_header
from dpcxr_core.data.policies import CODE
from dpcxr_core.data.progress import progress_of
from dpcxr_core.data.sources.official_csv import first_present, read_columns, recoded
from dpcxr_core.data.sources.picture_files import find_pictures, unlisted

DATASET = "vindr_cxr"
SEX, AGE, ROWS = 0x00100040, 0x00101010, 0x00280010  # the DICOM tags
N_READERS = 3


def read_vindr_cxr(source: Path, facts: Mapping[str, Any]) -> OfficialTable:
    """What the two label files and the DICOM headers of VinDr-CXR say: training images by id, then the test images.

    No patient id was released, so every image stands for a patient of its own; the counts say so.

    Args:
        source: Folder of the PhysioNet release: ``annotations/image_labels_{train,test}.csv``, ``train/*.dicom`` and
            ``test/*.dicom``. Nothing outside it is read.
        facts: ``data_manifests/vindr_cxr.yaml``.

    Raises:
        UserError: A label file is missing, is Kaggle's, or is not as documented; a training image has not exactly
            three readers, or a test image more than one row.

    Source:
        Nguyen et al., VinDr-CXR, Scientific Data 9:429 (2022); PhysioNet doi:10.13026/3akn-b287, version 1.0.0.
    """
    files, wanted = facts["files"], terms_of(facts)
    _refuse_kaggle(source, files["kaggle"] + files["train_labels"])
    train = _votes(first_present(source, files["train_labels"], "the VinDr-CXR download"), facts["columns"], wanted)
    test = _consensus(first_present(source, files["test_labels"], "the VinDr-CXR download"), facts["columns"], wanted)
    images = pd.concat([train.assign(split="train"), test.assign(split="test")], ignore_index=True)
    found, n_links_out = find_pictures(source, files["pictures"], (".dicom", ".dcm"))
    paths = _paths(images, found)
    headers = _headers(source, paths)
    sex, n_sex = recorded_sex(headers["sex"])
    ages, n_ages = ages_in_years(headers["age"])
    no_age = ages == 0  # the release is of adults: "000Y" was written for an age that nobody entered
    table = images.assign(
        dataset=DATASET,
        patient_id=images["image_id"],
        view="PA",
        sex=sex,
        age_years=ages.where(~no_age),
        path=paths,
    )
    counts = {
        "patient_id_is_the_image_id": len(table),
        "headers_unreadable": int((~headers["readable"] & paths.notna()).sum()),
        "sex_not_recorded": int((headers["sex"] == "").sum()),
        "sex_set_missing": n_sex,
        "ages_not_recorded": int((headers["age"] == "").sum()),
        "ages_of_zero_set_missing": int(no_age.sum()),
        "ages_set_missing": n_ages,
        "links_out_of_source": n_links_out,
    }
    return OfficialTable(table, counts, unlisted(found, paths))


def _refuse_kaggle(source: Path, names: list[str]) -> None:
    for name in names:
        if (source / name).is_file():
            with (source / name).open("rb") as lines:
                header = lines.readline(4096)
            if b"class_name" in header:
                raise UserError(
                    f"{name} is the table of boxes that Kaggle's competition used ('class_name', one row a box). It "
                    "has no pneumonia and no test labels, so it cannot give our findings. Get annotations/"
                    "image_labels_train.csv and image_labels_test.csv from PhysioNet (vindr-cxr 1.0.0)."
                )


def _marks(path: Path, columns: Mapping[str, list[str]], wanted: Mapping[str, list[str]]) -> pd.DataFrame:
    """A label file as text, with every label column "1" or "0"."""
    table = read_columns(path, {**columns, **wanted})
    for label in wanted:
        marks = recoded(table[label], {"0": "0", "1": "1"}, f"{path.name}, column {wanted[label][0]!r},")
        if marks.isna().any():
            raise UserError(f"{path.name}: {int(marks.isna().sum())} rows have no mark for {wanted[label][0]!r}")
    return table


def _votes(path: Path, columns: Mapping[str, list[str]], wanted: Mapping[str, list[str]]) -> pd.DataFrame:
    """One row a training image, in the order of ids: ``code_<label>`` "0 of 3" to "3 of 3", and who read it."""
    marks = _marks(path, columns, wanted).sort_values(["image_id", "readers"], kind="stable")
    by_image = marks.groupby("image_id", sort=True)
    n_rows, n_readers = by_image.size(), by_image["readers"].nunique()
    wrong = n_rows[(n_rows != N_READERS) | (n_readers != N_READERS) | by_image["readers"].min().eq("")]
    if len(wrong):
        raise UserError(
            f"{path.name}: {len(wrong)} of {len(n_rows)} images have not exactly {N_READERS} different readers "
            f"(rows an image: {wrong.value_counts().to_dict()}). The release has one row an image and reader; "
            "was the file joined or edited?"
        )
    votes = marks[list(wanted)].astype(int).groupby(marks["image_id"], sort=True).sum()
    codes = votes.map(lambda n: f"{n} of {N_READERS}").astype(object).rename(columns=lambda label: CODE + label)
    readers = marks["readers"].to_numpy().reshape(-1, N_READERS)
    return codes.assign(readers=["|".join(three) for three in readers]).reset_index()


def _consensus(path: Path, columns: Mapping[str, list[str]], wanted: Mapping[str, list[str]]) -> pd.DataFrame:
    """One row a test image: ``code_<label>`` "consensus 0" or "consensus 1"; nobody says who the five readers were."""
    marks = _marks(path, {"image_id": columns["image_id"]}, wanted)
    repeated = marks["image_id"].duplicated(keep=False)
    if repeated.any():
        raise UserError(
            f"{path.name}: {int(repeated.sum())} rows stand for {marks.loc[repeated, 'image_id'].nunique()} images; "
            "the release has one row, the consensus, for each test image"
        )
    codes = ("consensus " + marks[list(wanted)]).rename(columns=lambda label: CODE + label)
    return codes.assign(image_id=marks["image_id"], readers=None)


def _paths(images: pd.DataFrame, found: list[str]) -> pd.Series:
    """The picture of each image in the folder of its split."""
    of_image = {str(PurePosixPath(path).with_suffix("")): path for path in reversed(found)}
    paths = (images["split"] + "/" + images["image_id"]).map(of_image).astype(object)
    return paths.where(paths.notna(), None)


def _headers(source: Path, paths: pd.Series) -> pd.DataFrame:
    """Texts ``sex`` and ``age`` of each header, "" where there is none, and whether it could be read."""
    rows = []
    with warnings.catch_warnings(), progress_of("DICOM headers", len(paths), 0) as advance:
        warnings.simplefilter("ignore")  # pydicom warns of each value against the standard; we check and count them
        for path in paths:
            header = _header(source / path) if path else None
            rows.append((*header, True) if header else ("", "", False))
            advance(1)
    return pd.DataFrame(rows, columns=["sex", "age", "readable"], index=paths.index)


def _header(path: Path) -> tuple[str, str] | None:
    """Sex and age as written; ``None`` for a header that cannot be read or is cut off before the picture's size."""
    try:
        header = read_header(path, [SEX, AGE, ROWS])
        return (_as_written(header, SEX), _as_written(header, AGE)) if header and ROWS in header else None
    except OSError:  # the disk failed; read on, sex and age would be lost without a word
        raise
    except Exception:  # a damaged header fails anywhere in the parser; its picture is refused later
        return None


def _as_written(header: Dataset, tag: int) -> str:
    if tag not in header:
        return ""
    value = header.get_item(tag).value  # as bytes: converted, a value against the standard would raise
    return (value or b"").decode("ascii", "replace").strip(" \0")
