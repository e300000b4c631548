import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from dpcxr_core.config import RunConfig, UserError
from dpcxr_core.training.record import (
    RunRecord,
    read_record,
    read_table,
    record_folder,
    write_record_json,
    write_weights_of,
)

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
    with record_folder(tmp_path, "a") as folder:
        write_record_json(folder, RECORD)
    assert read_record(tmp_path / "a") == RECORD


def _fail_halfway(runs_dir):
    with record_folder(runs_dir, "a") as folder:
        write_record_json(folder, RECORD)
        raise RuntimeError("stop")


def test_failed_run_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        _fail_halfway(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_second_finisher_of_the_same_run_keeps_the_first(tmp_path):
    for text in ("first", "second"):
        with record_folder(tmp_path, "a") as folder:
            write_record_json(folder, RECORD)
            (folder / "note").write_text(text)
    assert (tmp_path / "a" / "note").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_incomplete_folder_of_the_same_name_is_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    with record_folder(tmp_path, "a") as folder:
        write_record_json(folder, RECORD)
    assert read_record(tmp_path / "a") == RECORD


def test_unfinished_run_is_named(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        read_record(tmp_path / "nothing")


def test_tables_and_weights_are_read_back_as_written(tmp_path):
    table = pd.DataFrame({"step": [0, 1], "noise_std": np.array([0.5, 0.5])})
    table.to_parquet(tmp_path / "ledger.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path, "ledger"), table)
    model = torch.nn.Linear(2, 3)
    write_weights_of(tmp_path, model)
    assert torch.equal(load_file(tmp_path / "weights.safetensors")["weight"], model.weight)
