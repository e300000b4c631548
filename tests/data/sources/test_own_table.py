import gzip

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.sources.own_table import read_own_table

TEXT = "Bild;Größe;Befund\na.png;1;x\n\nb.png;2; y \n"
WORKBOOK = b"PK\x03\x04\x14\x00\x06\x00" + bytes(99)
COLUMNS = {"image": "Bild", "size": "Größe"}


def _read(folder, data, *, name="t.csv", separator=";", encoding="utf-8-sig", columns=COLUMNS):
    (folder / name).write_bytes(data)
    return read_own_table(folder, {"file": name, "separator": separator, "encoding": encoding}, columns)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (TEXT.encode(), {}),
        (TEXT.encode("utf-8-sig"), {}),
        (TEXT.encode("cp1252"), {"encoding": "cp1252"}),
        (TEXT.encode("utf-16"), {"encoding": "utf-16"}),
        (TEXT.replace(";", "\t").replace("\n", "\r\n").encode(), {"separator": "\t", "name": "t.tsv"}),
        (gzip.compress(TEXT.replace(";", ",").encode()), {"separator": ",", "name": "t.csv.gz"}),
        (f"sep=;\r\n{TEXT}".encode(), {}),
        (f"sep=;;\n{TEXT}".encode("utf-8-sig"), {"encoding": "utf-8"}),
        (f'"sep=\t"\n{TEXT}'.replace(";", "\t").encode(), {"separator": "\t"}),
    ],
    ids=["utf8", "byte_order_mark", "windows", "utf16", "tabs", "gzip", "excel_line", "padded", "excel_line_tab"],
)
def test_table_is_read_whatever_its_separator_and_encoding(tmp_path, data, options):
    table = _read(tmp_path, data, **options)
    assert table.to_dict("list") == {"image": ["a.png", "b.png"], "size": ["1", "2"]}


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (
            TEXT.encode(),
            {"columns": {"image": "Bld"}},
            r"no column 'Bld' \(did you mean 'Bild'\?\); its header is \['Bi",
        ),
        (TEXT.encode(), {"separator": ","}, "no column 'Bild'.*Is the separator ';'\\? State table.separator"),
        (TEXT.encode("cp1252"), {}, "no table of text in utf-8-sig.*State table.encoding"),
        (TEXT.encode(), {"encoding": "klingon"}, "table.encoding 'klingon' is not known"),
        (b"Bild;Bild\na;b\n", {"columns": {"image": "Bild"}}, "has 2 columns 'Bild'"),
        ("Bild;Größe\n".encode(), {}, "has a header and no rows"),
        ("Bild;Größe\na.png\n".encode(), {}, "line 2: 1 fields, expected 2"),
        (b'Bild;Gr\na;b\n"a;b\n', {"columns": {"image": "Bild"}}, "marks do not pair in the row that begins in line 3"),
        (b'Bild;Gr\n"a"b;b\n', {"columns": {"image": "Bild"}}, "quotation marks do not pair .* in line 2.*twice"),
        (b'"Bild;Gr\na;b\n', {"columns": {"image": "Bild"}}, "quotation marks do not pair .* in line 1"),
        (b'sep=;\n"Bild;Gr\na;b\n', {"columns": {"image": "Bild"}}, "quotation marks do not pair .* in line 2"),
        (
            TEXT.replace("1;x", "1;x;Erguss").replace("y ", "y ;").encode(),
            {},
            r"2 rows are longer than the header \(first: line 2, 4 fields, the header has 3\).*';' must stand",
        ),
        (b"", {}, "no column 'Bild', 'Größe'; its header is \\[\\]"),
        (gzip.compress(TEXT.encode())[:-12], {"name": "t.csv.gz"}, "cut off or damaged"),
        (TEXT.encode(), {"name": "t.csv.gz"}, "cut off or damaged"),
        (WORKBOOK, {"name": "t.xlsx"}, "t.xlsx is an Excel workbook.* Save it as CSV UTF-8"),
        (WORKBOOK, {"encoding": "latin-1"}, "t.csv is an Excel workbook.* Save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0" + bytes(99), {"name": "t.xls"}, "t.xls is an Excel workbook, and"),
        (f"sep=;\n{TEXT}".encode(), {"separator": ","}, "no column 'Bild'.*Is the separator ';'\\? State table.sep"),
    ],
    ids=[
        "column",
        "separator",
        "encoding",
        "codec",
        "twice",
        "no_rows",
        "short",
        "quote",
        "inner_quote",
        "header_quote",
        "header_quote_after_excel_line",
        "long",
        "empty",
        "cut",
        "not_gzip",
        "workbook",
        "workbook_named_csv",
        "old_workbook",
        "excel_line_of_another_separator",
    ],
)
def test_table_that_does_not_fit_is_refused_with_what_was_found(tmp_path, data, options, message):
    with pytest.raises(UserError, match=message):
        _read(tmp_path, data, **options)


def test_table_outside_the_source_is_not_read(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "t.csv").write_text(TEXT)
    (source / "link.csv").symlink_to(tmp_path / "t.csv")
    for name in ("../t.csv", str(tmp_path / "t.csv"), "link.csv"):
        with pytest.raises(UserError, match="table.file must lie inside the source"):
            read_own_table(source, {"file": name, "separator": ";", "encoding": "utf-8"}, COLUMNS)


def test_name_that_no_file_can_have_is_refused(tmp_path):
    table = {"file": "a" * 300, "separator": ";", "encoding": "utf-8"}
    with pytest.raises(UserError, match="no file has a name of 300 characters: 'aaaa"):
        read_own_table(tmp_path, table, COLUMNS)


def test_missing_table_is_answered_with_the_files_there(tmp_path):
    (tmp_path / "other.csv").write_text(TEXT)
    with pytest.raises(UserError, match="has no t.csv; files there: other.csv"):
        read_own_table(tmp_path, {"file": "t.csv", "separator": ";", "encoding": "utf-8"}, COLUMNS)


def test_a_long_report_in_one_field_is_read(tmp_path):
    """Python's own limit is 131,072 characters."""
    table = _read(tmp_path, b"Bild;Bericht\na.png;" + b"x" * 200_000, columns={"report": "Bericht"})
    assert table["report"].str.len().tolist() == [200_000]
