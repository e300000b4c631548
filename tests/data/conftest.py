"""Folders in the official layout of the sets, synthetic, with the sets' own traps planted in them."""

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.policies import labelled_by_policies

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
CHEXPERT_LABELS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
    "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices"
)
MIMIC_LABELS = ",".join(sorted(CHEXPERT_LABELS.split(",")))
MIMIC_METADATA = (
    "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,"
    "ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning"
)


def prevalence_by_policy(facts: Mapping[str, Any], table: pd.DataFrame) -> pd.DataFrame:
    """Prevalence among labelled images: a row a policy, a column a finding, and ``images`` that stay."""
    rows = {
        name: {**kept[list(FINDINGS)].mean(), "images": len(kept)}
        for name, kept in labelled_by_policies(facts, table).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("policy")


@pytest.fixture
def make_official(tmp_path: Path) -> Callable[..., Path]:
    """A folder in the official ChestX-ray14 layout: 20 patients with two images each, the last five test."""

    def make(header: str = HEADER, csv_name: str = "Data_Entry_2017_v2020.csv", age: str = "{:d}") -> Path:
        source = tmp_path / "official"
        pictures = source / "images_001" / "images"
        pictures.mkdir(parents=True)
        labels = ["No Finding", "Effusion|Pneumonia", "Pneumothorax", "Cardiomegaly|Atelectasis"]
        lines, lists = [header], {"train_val_list.txt": [], "test_list.txt": []}
        rng = np.random.default_rng(0)
        for row in range(40):
            patient = row // 2 + 1
            name = f"{patient:08d}_{row % 2:03d}.png"
            who = f"{patient},{age.format(30 + patient)},{'MF'[patient % 2]},{('PA', 'AP')[row % 2]}"
            lines.append(f"{name},{labels[row % 4]},{row % 2},{who},2500,2048,0.168,0.168")
            lists["test_list.txt" if patient > 15 else "train_val_list.txt"].append(name)
            _picture(pictures / name, rng)
        (source / csv_name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        for name, images in lists.items():
            (source / name).write_text("\n".join(images), encoding="utf-8")
        return source

    return make


@pytest.fixture
def make_chexpert(tmp_path: Path) -> Callable[..., Path]:
    """A release folder of CheXpert: ``rows`` of train.csv, two of valid.csv, and pictures for both.

    A row is path below ``train/``, sex, age, plane, projection, and a dictionary of label texts. ``prefix`` is what
    the paths in the tables begin with, ``folder`` what the release folder is called.
    """

    def make(rows: list[tuple], prefix: str = "CheXpert-v1.0-small", folder: str = "CheXpert-v1.0-small") -> Path:
        release = tmp_path / "download" / folder
        valid = [
            ("patient94541/study1/view1_frontal.jpg", "Male", "73", "Frontal", "AP", {"Cardiomegaly": "1.0"}),
            ("patient94542/study1/view1_frontal.jpg", "Female", "70", "Frontal", "PA", {}),
        ]
        for split, entries, blank in (("train", rows, ""), ("valid", valid, "0.0")):
            lines = [f"Path,Sex,Age,Frontal/Lateral,AP/PA,{CHEXPERT_LABELS}"]
            for path, *fields, labels in entries:
                texts = [labels.get(name, blank) for name in CHEXPERT_LABELS.split(",")]
                lines.append(",".join([f"{prefix}/{split}/{path}", *fields, *texts]))
                picture = release / split / path
                picture.parent.mkdir(parents=True, exist_ok=True)
                _picture(picture, np.random.default_rng(0))
            (release / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return release

    return make


@pytest.fixture
def make_mimic(tmp_path: Path) -> Callable[..., Path]:
    """A folder of MIMIC-CXR-JPG from ``images``: one dictionary an image, see the keys below.

    Keys: ``dicom subject study view code date split labels``; ``split`` is as in the official table. Of a study, the
    labels of its first image are written, unless they are None. ``compressed`` is how the tables lie.
    """

    def make(images: list[dict], compressed: bool = True) -> Path:
        source = tmp_path / "mimic-cxr-jpg"
        metadata, split, labels = [MIMIC_METADATA], ["dicom_id,study_id,subject_id,split"], {}
        for row in images:
            dicom, subject, study = row["dicom"], row["subject"], row["study"]
            views = row.get("view", "PA"), row.get("code", "postero-anterior")
            metadata.append(
                f"{dicom},{subject},{study},CHEST (PA AND LAT),{views[0]},40,32,{row.get('date', '21500101')},"
                f'120000.000,"CHEST (PA AND LAT)",{views[1]},Erect'
            )
            split.append(f"{dicom},{study},{subject},{row.get('split', 'train')}")
            labels.setdefault((subject, study), row.get("labels", {}))
            picture = source / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}" / f"{dicom}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            _picture(picture, np.random.default_rng(0))
        by_study = [f"subject_id,study_id,{MIMIC_LABELS}"] + [
            ",".join([*key, *(texts.get(name, "") for name in MIMIC_LABELS.split(","))])
            for key, texts in labels.items()
            if texts is not None
        ]
        for name, lines in (("metadata", metadata), ("split", split), ("chexpert", by_study), ("negbio", by_study)):
            write_table(source / f"mimic-cxr-2.0.0-{name}.csv", lines, compressed)
        return source

    return make


def write_table(path: Path, lines: list[str], compressed: bool) -> None:
    """The lines as CSV at ``path``, or at ``path`` with ``.gz`` behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ("\n".join(lines) + "\n").encode()
    if compressed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(text))
    else:
        path.write_bytes(text)


def _picture(path: Path, rng: np.random.Generator) -> None:
    Image.fromarray(rng.integers(0, 256, (40, 32), dtype=np.uint8)).save(path)
