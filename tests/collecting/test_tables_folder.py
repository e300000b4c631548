import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from dpcxr_core.collecting.tables_folder import read_tables, runs_of, write_tables
from dpcxr_core.config import UserError
from dpcxr_core.study.run_table import runs_table
from tests.conftest import PROJECT

KILLED = """
import os, signal, sys
from pathlib import Path
from dpcxr_core.collecting import tables_folder
os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
tables_folder.write_tables(Path(sys.argv[2]), tables_folder.read_tables(Path(sys.argv[1])))
"""


def test_tables_come_back_as_they_were_written(collected, tmp_path):
    found = read_tables(collected)
    again = read_tables(write_tables(tmp_path / "again", found))
    assert (again.studies, again.evaluation, again.records) == (found.studies, found.evaluation, found.records)
    for name, table in found.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], table)


def test_runs_are_those_of_the_records_but_for_the_seconds(collected, tiny_study):
    expected = runs_table(tiny_study.folders).drop(columns="seconds").sort_values("run_id", ignore_index=True)
    runs = runs_of(read_tables(collected).records.values()).sort_values("run_id", ignore_index=True)
    pd.testing.assert_frame_equal(runs, expected)


def test_what_was_there_before_is_replaced_and_nothing_is_left_beside(collected, tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "old.parquet").write_text("old")
    write_tables(folder, read_tables(collected))
    assert not (folder / "old.parquet").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_what_a_killed_call_left_is_swept_away_and_nothing_else(collected, tmp_path):
    found, folder = read_tables(collected), tmp_path / "tables"
    write_tables(folder, found)
    for other in (".tables.kept", ".tables2.x.partial"):
        (tmp_path / other).mkdir()
    before = set(tmp_path.iterdir())
    with subprocess.Popen([sys.executable, "-c", KILLED, str(collected), str(folder)], cwd=PROJECT) as killed:
        pass
    assert killed.returncode == -signal.SIGKILL
    (left,) = set(tmp_path.iterdir()) - before
    assert (left / "made" / "cells.parquet").is_file()
    write_tables(folder, found)
    assert set(tmp_path.iterdir()) == before | {left}  # for all that this call knows, another is still at it
    os.utime(left, (time.time() - 3700,) * 2)
    write_tables(folder, found)
    assert set(tmp_path.iterdir()) == before


def test_a_folder_without_tables_or_with_damaged_ones_is_refused(collected, tmp_path):
    with pytest.raises(UserError, match=r"no tables.json, cells.parquet, runs.parquet, metrics.parquet"):
        read_tables(tmp_path)
    copied = tmp_path / "copied"
    for damaged, text in (("tables.json", "{"), ("metrics.parquet", "no table"), ("tables.json", "{}")):
        shutil.copytree(collected, copied)
        (copied / damaged).write_text(text)
        with pytest.raises(UserError, match="cannot be read"):
            read_tables(copied)
        shutil.rmtree(copied)
