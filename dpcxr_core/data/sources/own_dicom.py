"""What the headers of a folder of DICOM files say, with no table at hand."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pydicom import Dataset

from dpcxr_core.data.pictures.dicom_header import read_header
from dpcxr_core.data.progress import progress_of

TAGS = {
    "image": "SOPInstanceUID",
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "accession": "AccessionNumber",
    "sex": "PatientSex",
    "age": "PatientAge",
    "birth_date": "PatientBirthDate",
    "study_date": "StudyDate",
    "view": "ViewPosition",
}
RADIOGRAPHS = ("CR", "DX", "RG", "")  # de-identified files may lack Modality
_LEFT_OUT = ("files_that_are_not_dicom", "dicom_headers_unreadable", "dicom_files_without_an_image_id")
_DIRECTORY = "1.2.840.10008.1.3.10"  # a DICOMDIR, which lists files and is no image


def read_headers(source: Path, found: Sequence[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """One row a radiograph: text columns named as in ``TAGS``, and ``path``; and what was left out, counted.

    Pixels are not read. A tag that is absent is "".

    Args:
        source: Folder of the files.
        found: Paths relative to ``source``, of files of any kind.

    Raises:
        OSError: The disk failed.

    Source:
        DICOM PS3.3, modules Patient, General Study, CR Image and SOP Common.
    """
    rows, left_out = [], Counter(dict.fromkeys(_LEFT_OUT, 0))
    with progress_of("DICOM headers", len(found), 0) as advance:
        for path in found:
            header = _header(source / path)
            if "left_out" in header:
                left_out[header["left_out"]] += 1
            elif header["modality"] not in RADIOGRAPHS:
                left_out[f"dicom_files_of_modality_{header['modality']}"] += 1
            elif not header["image"]:
                left_out["dicom_files_without_an_image_id"] += 1
            else:
                rows.append({**{name: header[name] for name in TAGS}, "path": path})
            advance(1)
    return pd.DataFrame(rows, columns=[*TAGS, "path"], dtype=object), dict(left_out)


def _header(path: Path) -> dict[str, str]:
    """The texts of ``TAGS`` and ``modality``; ``left_out`` instead, where the file is not DICOM or is damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a value against the standard is still a value
            dataset = read_header(path, [*TAGS.values(), "Modality"])
            if dataset is None:
                return {"left_out": "files_that_are_not_dicom"}
            texts = {ours: _text(dataset, tag) for ours, tag in TAGS.items()}
            modality = _text(dataset, "Modality").upper()
    except OSError:  # the disk failed; left out, its images would be missing without a word
        raise
    except Exception:  # a damaged value raises anything; the file is counted, the folder read on
        return {"left_out": "dicom_headers_unreadable"}
    if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == _DIRECTORY:
        return {**texts, "modality": "DICOMDIR"}
    return {**texts, "modality": modality}


def _text(dataset: Dataset, tag: str) -> str:
    value = dataset.get(tag)
    return "" if value is None else str(value).strip()
