import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.sources.optional_columns import read_with_optional

REQUIRED, OPTIONAL = {"image": ["image_id"]}, {"healthy": ["healthy", "normal"], "fold": ["Fold"]}


def test_optional_columns_are_read_where_they_are_and_absent_elsewhere(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\ufeffimage_id, normal,x\n1,0,\n2,,\n", encoding="utf-8")
    table = read_with_optional(path, REQUIRED, OPTIONAL)
    assert list(table) == ["image", "healthy"]
    assert table["healthy"].tolist() == ["0", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Fold\n1\n", "has no column 'image_id'"),
        (b"\xff\xfe\x00\n", "not text in UTF-8"),
        (b"", "has no column"),
        (b"image_id,Fold,Fold\n1,2,3\n", "2 columns 'Fold'"),
    ],
)
def test_file_that_cannot_be_read_is_refused_with_its_reason(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_with_optional(path, REQUIRED, OPTIONAL)
