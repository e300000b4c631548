"""The benchmark at scale runs on little; how long anything takes is not tested."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import at_scale
from dpcxr_core.config import UserError


def test_store_is_measured_in_every_way_and_leaves_nothing(tmp_path):
    table = pd.DataFrame(at_scale.store_rows(tmp_path, 1_100, 16, seconds=0.05))
    assert list(table["part"]) == ["store"] * 3 + ["reading"] * 8
    assert (table["value"] > 0).all()
    assert table.set_index("quantity").loc["size", "value"] == 1_100 * 16**2
    assert list(tmp_path.iterdir()) == []


def test_written_file_is_an_array_of_all_images_without_two_alike_blocks(tmp_path):
    path = tmp_path / "images.npy"
    at_scale._write(path, 1_100, 16)  # two blocks and a part of one
    images = np.load(path, mmap_mode="r")
    assert images.shape == (1_100, 16, 16)
    assert len({images[start, 0].tobytes() for start in (0, 500, 1_000)}) == 3


def test_disk_without_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=40e9))
    with pytest.raises(UserError, match="40 GB free and 805000 images of 224 px take 40 GB; give another --folder"):
        at_scale.store_rows(tmp_path, 805_000, 224)
    assert list(tmp_path.iterdir()) == []


def test_evaluation_states_its_time_rate_and_memory():
    rows = pd.DataFrame(at_scale.in_own_process(at_scale.evaluation_rows, 2_000, 5)).set_index("quantity")["value"]
    seconds = rows["every metric, 5 resamples"]
    assert rows["images times resamples"] == pytest.approx(2_000 * 6 / seconds)
    assert rows["peak memory"] > 5e7
