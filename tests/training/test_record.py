import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import RunConfig, UserError
from dpcxr_core.training.record import RunRecord, read_record, read_table, without_folder, write_record_json

RECORD = RunRecord(
    run_id="a",
    config=RunConfig(dataset="sim-a", init_name="convnext_mini.standin_domain", head="kept"),
    init_label="domain supervised (stand-in)",
    data={"store": "sim-a", "split_hash": "0", "n_images_trained_on": 0},
    certificate=None,
    privacy_statement=None,
    selfcheck=[],
    versions={"python": "3.11"},
    seconds={"training": 0.5},
)


def test_record_survives_the_round_trip(tmp_path):
    write_record_json(tmp_path / "a", RECORD)
    assert read_record(tmp_path / "a") == RECORD


def test_unfinished_run_is_named(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        read_record(tmp_path / "nothing")


def test_tables_are_read_back_as_written(tmp_path):
    table = pd.DataFrame({"step": [0, 1], "noise_std": np.array([0.5, 0.5])})
    table.to_parquet(tmp_path / "ledger.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path, "ledger"), table)


def test_to_read_a_record_takes_no_torch():
    code = "import sys, dpcxr_core.training.record; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_weights_in_a_file_are_named_without_where_they_lie():
    assert without_folder("convnext_mini.file:/home/ann/mine.safetensors") == "convnext_mini.file:mine.safetensors"
    assert without_folder("convnext_mini.standin_domain@abc") == "convnext_mini.standin_domain@abc"
