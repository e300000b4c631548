import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.accounting.values import check_n_units, check_values, rounded_up
from dpcxr_core.config import PrivacySpecification, UserError


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


def test_units_other_than_those_of_the_specification_are_refused():
    specification = PrivacySpecification(
        sample_rate=0.1, n_steps=5, expected_batch_size=20, max_grad_norm=1.0, noise_multiplier=1.0, delta=1e-5
    )
    for n_units in (196, 200, 204):  # to half a unit of the batch
        check_n_units(specification, n_units)
    for n_units in (195, 205):
        with pytest.raises(UserError, match=f"0.1 of {n_units} images is not the expected batch size of 20"):
            check_n_units(specification, n_units)


@settings(derandomize=True, deadline=None)
@given(st.floats(1e-4, 100))
def test_rounding_goes_up_to_four_decimals_by_at_most_a_step(value):
    found = rounded_up(value)
    assert found == round(found, 4)
    assert value * (1 - 1e-15) <= found <= value + 1e-4 + 1e-12  # but for the last digit of a float
