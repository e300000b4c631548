import pytest

from dpcxr_core.accounting.values import check_values
from dpcxr_core.config import UserError


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ((0.0, 0.1, 10, 1e-5), "noise_multiplier"),
        ((float("nan"), 0.1, 10, 1e-5), "noise_multiplier"),
        ((1.0, 32, 10, 1e-5), "sample_rate"),
        ((1.0, 0.1, 0, 1e-5), "n_steps"),
        ((1.0, 0.1, 2.5, 1e-5), "n_steps"),
        ((1.0, 0.1, 10, 1.0), "delta"),
    ],
)
def test_values_out_of_range_are_refused_by_name(setting, named):
    with pytest.raises(UserError, match=named):
        check_values(*setting)
    check_values(1.0, 1.0, 1, 0.5)
