import shutil

import pytest

from dpcxr_core import cli
from dpcxr_core.collecting.tables_folder import read_tables
from tests.collecting.conftest import collected, study  # noqa: F401


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["collect", "--help"])
    assert stop.value.code == 0
    assert "dpcxr collect" in capsys.readouterr().out.split("example:")[1]


def test_collect_says_what_it_merged(collected, tmp_path, capsys):  # noqa: F811
    copy = shutil.copytree(collected, tmp_path / "copy")
    assert cli.main(["collect", str(collected), str(copy), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "14 runs, every certificate computed anew; cells: 14 done, 0 failed, 1 missing" in said
    assert "none is made of all runs together" in said
    name = read_tables(tmp_path / "out").tables["claims"]["tables"].unique().item()
    assert [line for line in said.splitlines() if name in line] == [f"  {name}: of {at}" for at in (collected, copy)]


def test_what_is_no_folder_of_tables_is_one_line(tmp_path, capsys):
    assert cli.main(["collect", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("dpcxr: ")
    assert "holds no tables of a study" in shown
