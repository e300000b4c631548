from dataclasses import replace

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.prepare import DATASETS
from dpcxr_core.data.prepare import OWN as PREPARED_OWN
from dpcxr_core.study.data_choice import OWN, SIMULATED, DataChoice

SIM = DataChoice(data_source=SIMULATED)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data_source": "elsewhere"}, "data_source"),
        ({"data_source": "chestxray14"}, "source_dir"),
        ({"data_source": "padchest"}, "source_dir"),
        ({"data_source": "own"}, "manifest"),
        ({"private_hospital": "sim-source"}, "private_hospital"),
        ({"image_size": 0}, "image_size must be 32 to 2048"),
        ({"image_size": 31}, "image_size"),
        ({"image_size": 4096}, "image_size"),
        ({"data_source": "padchest", "source_dir": "x", "image_size": 15}, "image_size must be 16 to 2048"),
        ({"n_test": -5}, "n_test"),
        ({"public_fraction": 1.0}, "public_fraction"),
        ({"public_fraction": -0.1}, "public_fraction"),
    ],
)
def test_choice_that_makes_no_sense_is_refused_by_name(changes, named):
    with pytest.raises(UserError, match=named):
        replace(SIM, **changes)


def test_every_set_that_can_be_prepared_can_be_chosen():
    assert OWN == PREPARED_OWN
    for name in DATASETS:
        assert DataChoice(data_source=name, source_dir="x", manifest="y.yml").data_source == name
