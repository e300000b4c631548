import errno
import os
import zlib
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dpcxr_core.data.pictures import dicom
from dpcxr_core.data.pictures.dicom_header import read_header
from dpcxr_core.data.pictures.files import read_picture
from dpcxr_core.data.pictures.picture import UnreadableImageError
from dpcxr_core.data.sources.own_dicom import read_headers
from tests.data.sources.test_own_dicom import write_dicom

LIMIT = 100_000


def without_preamble(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[132:])
    return path


def deflated(path: Path, n_zeros: int) -> Path:
    """The DICOM file with its data set deflated, and ``n_zeros`` zeros behind it."""
    whole = path.read_bytes()
    meta_length = 12 + int.from_bytes(whole[140:144], "little")
    meta, data_set = whole[132 : 132 + meta_length], whole[132 + meta_length :]
    plain, syntax = b"1.2.840.10008.1.2.1\0", DeflatedExplicitVRLittleEndian.encode()
    longer = (len(syntax) + len(syntax) % 2).to_bytes(2, "little") + syntax + bytes(len(syntax) % 2)
    meta = meta.replace(len(plain).to_bytes(2, "little") + plain, longer)
    meta = meta[:8] + (len(meta) - 12).to_bytes(4, "little") + meta[12:]
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    content = deflater.compress(data_set + bytes(n_zeros)) + deflater.flush()
    path.write_bytes(whole[:132] + meta + content)
    return path


def test_header_without_preamble_is_read_as_its_picture_is(tmp_path):
    path = without_preamble(write_dicom(tmp_path / "a", PatientSex="F"))
    assert read_picture(path).stored.shape == (4, 4)
    assert read_header(path, ["PatientSex"]).PatientSex == "F"
    table, left_out = read_headers(tmp_path, ["a"])
    assert table["sex"].tolist() == ["F"]
    assert not any(left_out.values())


def test_deflated_header_is_read_up_to_the_limit_of_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom, "MAX_BYTES", LIMIT)
    small = deflated(write_dicom(tmp_path / "small", PatientSex="F"), 0)
    bomb = deflated(write_dicom(tmp_path / "bomb"), 50 * LIMIT)
    assert bomb.stat().st_size < LIMIT
    assert read_header(small, ["PatientSex"]).PatientSex == "F"
    with pytest.raises(UnreadableImageError, match=f"inflates to more than the limit of {LIMIT} bytes"):
        read_header(bomb, ["PatientSex"])
    table, left_out = read_headers(tmp_path, ["bomb", "small"])
    assert table["path"].tolist() == ["small"]
    assert left_out["dicom_headers_unreadable"] == 1


@pytest.mark.parametrize("content", [b"", b"no DICOM", b"\x89PNG\r\n\x1a\n" + bytes(200)])
def test_what_is_no_dicom_has_no_header(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert read_header(tmp_path / "a", ["PatientSex"]) is None


def test_a_pipe_is_not_waited_on(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadableImageError, match="not a file"):
        read_header(tmp_path / "pipe", ["PatientSex"])


def test_a_failing_disk_is_not_taken_for_a_broken_header(tmp_path, monkeypatch):
    def fail(path: Path, mode: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    write_dicom(tmp_path / "a")
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(OSError, match="Input/output error"):
        read_headers(tmp_path, ["a"])
