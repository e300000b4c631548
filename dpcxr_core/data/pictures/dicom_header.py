"""The header of a DICOM file, read as safely as its picture is."""

from __future__ import annotations

import warnings
from pathlib import Path

from pydicom import FileDataset, dcmread

from dpcxr_core.data.pictures.dicom import PREAMBLE, has_preamble, looks_like_dicom, refuse_inflation
from dpcxr_core.data.pictures.files import open_regular
from dpcxr_core.data.pictures.picture import UnreadableImageError


def read_header(path: Path, tags: list[str] | list[int]) -> FileDataset | None:
    """The elements ``tags`` of a DICOM file, with or without the preamble; None where it is no DICOM file.

    Whatever ``decode_dicom`` takes for DICOM is read, and what it refuses to inflate is refused. Pixels are not read.
    The values are as they were written until they are asked for, which may raise anything.

    Raises:
        UnreadableImageError: The file cannot be opened, its header is damaged, or it inflates to too much.
        OSError: The disk failed, which says nothing about the file.
    """
    with open_regular(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a header that bends the standard is still a header
        begins = file.read(PREAMBLE)
        if not looks_like_dicom(begins):
            return None
        file.seek(0)
        try:
            refuse_inflation(file)
            return dcmread(file, stop_before_pixels=True, specific_tags=tags, force=not has_preamble(begins))
        except (OSError, UnreadableImageError):
            raise
        except Exception as error:  # damaged bytes raise anything
            raise UnreadableImageError(f"its header is damaged: {type(error).__name__}") from None
