import os
import zlib

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dpcxr_core.data.sources.own_dicom import TAGS, read_headers

DX = "1.2.840.10008.5.1.4.1.1.1.1"
DICOMDIR = "1.2.840.10008.1.3.10"


def write_dicom(path, *, sop_class=DX, pixels=True, **tags):
    """A small DICOM radiograph with the given tags; a tag of None is left out."""
    dataset = Dataset()
    uid = f"1.2.{zlib.crc32(path.name.encode())}"
    stated = {"SOPClassUID": sop_class, "SOPInstanceUID": uid, "Modality": "DX", "PatientID": "P1", **tags}
    for name, value in stated.items():
        if value is not None:
            setattr(dataset, name, value)
    if pixels:
        dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 4, 4, 8, 8, 7
        dataset.SamplesPerPixel, dataset.PixelRepresentation, dataset.PhotometricInterpretation = 1, 0, "MONOCHROME2"
        dataset.PixelData = bytes(range(16))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = stated["SOPInstanceUID"] or uid
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_headers_are_read_as_text_and_absent_tags_are_blank(tmp_path):
    write_dicom(
        tmp_path / "a" / "1",
        SOPInstanceUID="1.2.3",
        StudyInstanceUID="1.2",
        AccessionNumber="A7",
        PatientSex="F",
        PatientAge="058Y",
        PatientBirthDate="19500131",
        StudyDate="20080201",
        ViewPosition="PA",
    )
    write_dicom(tmp_path / "2.dcm", SOPInstanceUID="1.2.4", PatientID="", pixels=False)
    raw, left_out = read_headers(tmp_path, ["a/1", "2.dcm"])
    expected = ["1.2.3", "P1", "1.2", "A7", "F", "058Y", "19500131", "20080201", "PA", "a/1"]
    assert raw.iloc[0].tolist() == expected
    assert raw.iloc[1].tolist() == ["1.2.4", *[""] * 8, "2.dcm"]
    assert list(raw.columns) == [*TAGS, "path"]
    assert not any(left_out.values())


def test_what_is_no_radiograph_is_left_out_and_counted(tmp_path):
    write_dicom(tmp_path / "report", Modality="SR", pixels=False)
    write_dicom(tmp_path / "ct", Modality="CT")
    write_dicom(tmp_path / "DICOMDIR", sop_class=DICOMDIR, SOPInstanceUID=None, Modality=None, pixels=False)
    write_dicom(tmp_path / "nameless", SOPInstanceUID=None)
    write_dicom(tmp_path / "stripped", Modality=None)
    whole = write_dicom(tmp_path / "cut").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:150])
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    names = sorted(os.listdir(tmp_path))
    raw, left_out = read_headers(tmp_path, names)
    assert raw["path"].tolist() == ["stripped"]
    assert sum(left_out.values()) == len(names) - 1
    assert left_out["dicom_files_of_modality_SR"] == left_out["dicom_files_of_modality_CT"] == 1
    assert left_out["dicom_files_of_modality_DICOMDIR"] == 1
    assert left_out["dicom_files_without_an_image_id"] == 2  # one of them cut off before its id
    assert left_out["files_that_are_not_dicom"] == 3


@pytest.mark.parametrize("at", [133, 140, 161, 200, 240])
def test_header_with_flipped_bytes_never_ends_the_reading(tmp_path, at):
    whole = bytearray(write_dicom(tmp_path / "x", PatientAge="058Y").read_bytes())
    whole[at] ^= 0xFF
    (tmp_path / "x").write_bytes(bytes(whole))
    write_dicom(tmp_path / "y")
    raw, left_out = read_headers(tmp_path, ["x", "y"])
    assert len(raw) + sum(left_out.values()) == 2
    assert "y" in raw["path"].tolist()
