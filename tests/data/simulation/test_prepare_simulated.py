import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.simulation.prepare_simulated import prepare_simulated
from dpcxr_core.data.store import open_store


def _simulated(out, **changed):
    choices = {"hospital": "sim-a", "n_train": 20, "n_valid": 6, "n_test": 10, "seed": 3, "size": 32}
    return prepare_simulated(out, progress=False, **(choices | changed))


def test_prepare_simulated_keeps_the_truth_beside_the_cohort(tmp_path):
    report = _simulated(tmp_path / "sim")
    store = open_store(tmp_path / "sim")
    truth = pd.read_parquet(tmp_path / "sim" / "truth.parquet")
    assert report.n_read == 36
    assert store.cohort["split"].value_counts().to_dict() == {"train": 20, "test": 10, "valid": 6}
    assert truth["image_id"].tolist() == store.cohort["image_id"].tolist()
    assert store.images.std() > 10
    assert _simulated(tmp_path / "sim").already_finished
    with pytest.raises(UserError, match="seed was 3, is now 4"):
        _simulated(tmp_path / "sim", seed=4)


def test_prepare_simulated_gives_the_same_images_for_any_number_of_jobs(tmp_path):
    _simulated(tmp_path / "one")
    _simulated(tmp_path / "three", jobs=3)
    assert (tmp_path / "one" / "images.npy").read_bytes() == (tmp_path / "three" / "images.npy").read_bytes()


def test_prepare_simulated_refuses_what_cannot_be_drawn_before_it_makes_a_folder(tmp_path):
    with pytest.raises(UserError, match="at least 32 pixels a side; got 16"):
        _simulated(tmp_path / "sim", size=16)
    with pytest.raises(UserError, match="seed"):
        _simulated(tmp_path / "sim", seed=-1)
    assert not list(tmp_path.iterdir())
    assert _simulated(tmp_path / "sim").n_read == 36
