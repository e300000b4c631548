import csv
import gzip
import os

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import UserError
from dpcxr_core.data.sources.official_csv import first_present, present, read_columns, recoded

COLUMNS = {"image": ["Image Index"], "sex": ["Patient Gender", "Patient Sex"]}
TABLE = b"Image Index,x,Patient Sex\r\na.png,1,M\r\nb.png,,\r\n"


def _file(tmp_path, content, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_columns_come_as_text_under_our_names_and_blank_is_empty(tmp_path):
    table = read_columns(_file(tmp_path, TABLE), COLUMNS)
    assert table.to_dict("list") == {"image": ["a.png", "b.png"], "sex": ["M", ""]}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TABLE,
        TABLE.replace(b"\r\n", b"\n"),
        TABLE.replace(b"Patient Sex", b" Patient Gender "),
        TABLE.replace(b"b.png", b'" b.png "'),
        TABLE + b"\r\n",
        TABLE.replace(b"Patient Sex\r\n", b"Patient Sex,\r\n"),
    ],
    ids=["byte_order_mark", "unix_lines", "padded_header", "quoted_padded_field", "blank_last_line", "trailing_comma"],
)
def test_what_copies_of_a_table_differ_in_changes_nothing(tmp_path, content):
    plain = read_columns(_file(tmp_path, TABLE), COLUMNS)
    pd.testing.assert_frame_equal(read_columns(_file(tmp_path, content, "copy.csv"), COLUMNS), plain)


def test_compressed_table_reads_as_the_plain_one(tmp_path):
    plain = read_columns(_file(tmp_path, TABLE), COLUMNS)
    packed = _file(tmp_path, gzip.compress(TABLE), "table.csv.gz")
    pd.testing.assert_frame_equal(read_columns(packed, COLUMNS), plain)


def test_header_names_with_unquoted_commas_behind_our_columns_do_no_harm(tmp_path):
    content = b'Image Index,Patient Sex,"Size[w,h]"\na.png,M,20,30\n'
    assert read_columns(_file(tmp_path, content), COLUMNS)["sex"].tolist() == ["M"]


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), min_size=1, max_size=20))
def test_what_a_csv_writer_writes_is_read_back(tmp_path_factory, rows):
    kept = [[field.replace("\0", "").strip() for field in row] for row in rows]
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    with path.open("w", encoding="utf-8", newline="", errors="surrogatepass") as lines:
        csv.writer(lines, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *kept])
    if any("\ud800" <= letter <= "\udfff" for row in kept for field in row for letter in field):
        with pytest.raises(UserError, match="not text in UTF-8"):
            read_columns(path, {"first": ["a"], "second": ["b"]})
    else:
        assert read_columns(path, {"first": ["a"], "second": ["b"]}).to_numpy().tolist() == kept


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"has no column 'Image Index'; its header is \[\]"),
        (TABLE.splitlines()[0], "has a header and no rows"),
        (TABLE.replace(b"Image Index", b"Name"), r"no column 'Image Index'; its header is \['Name', 'x'"),
        (TABLE.replace(b",x,", b",Patient Sex,"), "has 2 columns 'Patient Sex'"),
        (TABLE + b"c.png,1\r\n", "line 4: 2 fields, expected 3 to 3"),
        (TABLE + b"c,png,1,F\r\n", "line 4: 4 fields, expected 3 to 3. Is a comma not in quotes"),
        (TABLE.replace(b"a.png", b"a\xe4.png"), "not text in UTF-8"),
        (TABLE.decode().encode("utf-16"), "not text in UTF-8"),
        (TABLE.decode().encode("utf-16-le"), "line 1 holds a NUL character: damaged, or UTF-16"),
        (TABLE.replace(b"b.png", b"b\0.png"), "line 3 holds a NUL"),
        (TABLE.replace(b"b.png", b'"b.png'), "line 3: unexpected end of data. Is a quotation mark left open"),
        (TABLE.replace(b"a.png", b'"a.png').replace(b"b.png", b'"b".png'), "line 3: ',' expected after '\"'"),
        (TABLE + b'"' + b"r" * (1 << 24) + b'b",1,F', "field larger than field limit"),
    ],
)
def test_table_that_is_not_as_documented_is_refused_with_its_place(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_columns(_file(tmp_path, content), COLUMNS)


@pytest.mark.parametrize("n_left", [0, 5, 15, -9, -3])
def test_compressed_table_that_is_cut_off_is_refused(tmp_path, n_left):
    packed = gzip.compress(b"Image Index,Patient Sex\n" + b"".join(b"%d.png,M\n" % row for row in range(5000)))
    path = _file(tmp_path, packed[:n_left], "table.csv.gz")
    with pytest.raises(UserError, match="table.csv.gz (is cut off or damaged|has no column)"):
        read_columns(path, COLUMNS)


def test_compressed_table_with_flipped_bytes_is_refused(tmp_path):
    packed = bytearray(gzip.compress(TABLE * 50))
    packed[-6] ^= 0xFF  # the checksum
    for content in (bytes(packed), TABLE):
        with pytest.raises(UserError, match="is cut off or damaged"):
            read_columns(_file(tmp_path, content, "table.csv.gz"), COLUMNS)


def test_first_file_that_is_there_is_taken_and_none_is_an_error_that_names_them(tmp_path):
    _file(tmp_path, b"", "new.csv")
    _file(tmp_path, b"", "old.csv")
    assert first_present(tmp_path, ["newest.csv", "new.csv", "old.csv"], "x").name == "new.csv"
    assert present(tmp_path, ["gone.csv"]) is None
    (tmp_path / "folder.csv").mkdir()
    os.symlink(tmp_path / "loop.csv", tmp_path / "loop.csv")
    with pytest.raises(UserError, match="has no folder.csv or loop.csv. Put the official file there"):
        first_present(tmp_path, ["folder.csv", "loop.csv"], "x")
    with pytest.raises(UserError, match="no folder .*none. Expected the download, with new.csv in it"):
        first_present(tmp_path / "none", ["new.csv"], "the download")


def test_table_behind_a_link_out_of_the_source_is_refused(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    os.symlink(_file(tmp_path, TABLE, "secret.csv"), source / "table.csv")
    with pytest.raises(UserError, match="leads out of .*source to .*secret.csv. Put a copy"):
        present(source, ["table.csv"])
    _file(source, TABLE, "real.csv")
    os.symlink(source / "real.csv", source / "alias.csv")
    assert present(source, ["alias.csv"]) == source / "alias.csv"


def test_recoded_is_closed_and_names_strange_values_with_their_counts():
    coding = {"1.0": "1", "1": "1", "-1.0": "-1"}
    coded = recoded(pd.Series(["1.0", "1", "-1.0", "", None], dtype=object), coding, "Edema")
    assert coded.tolist()[:3] == ["1", "1", "-1"]
    assert coded[3:].isna().all()
    assert recoded(pd.Series(["", "1"]), {**coding, "": "blank"}, "Edema").tolist() == ["blank", "1"]
    with pytest.raises(UserError, match=r"Edema holds '2' \(3 times\), '1,0' \(1 times\); known are '1.0', '1'"):
        recoded(pd.Series(["1", "2", "2", "2", "1,0"]), coding, "Edema")
