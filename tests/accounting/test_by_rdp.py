import pytest

from dpcxr_core.accounting.by_rdp import noise_multiplier_by_rdp, noise_multiplier_of_opacus
from dpcxr_core.accounting.calibration import calibrate_noise_multiplier
from dpcxr_core.accounting.poisson import epsilon_rdp_of_opacus
from dpcxr_core.config import UserError

STUDY = {"delta": 6e-6, "sample_rate": 1024 / 86524, "n_steps": 2000}


def test_opacus_needs_more_noise_than_its_own_accountant_and_that_more_than_pld():
    """2.578 is what Opacus 1.6.0 returns: it stops up to 0.01 of epsilon below the target."""
    by_opacus = noise_multiplier_of_opacus(target_epsilon=0.9, **STUDY)
    by_rdp = noise_multiplier_by_rdp(target_epsilon=0.9, **STUDY)
    assert by_opacus == pytest.approx(2.578, abs=1e-3)  # as it is reported, to three decimals
    assert calibrate_noise_multiplier(target_epsilon=0.9, **STUDY) * 1.07 < by_rdp < by_opacus


@pytest.mark.parametrize("target", [0.3, 2.9, 9.5])
def test_noise_by_rdp_is_the_least_that_rdp_accepts(target):
    noise = noise_multiplier_by_rdp(target_epsilon=target, **STUDY)
    values = (STUDY["sample_rate"], STUDY["n_steps"], STUDY["delta"])
    assert epsilon_rdp_of_opacus(noise, *values) <= target < epsilon_rdp_of_opacus(noise - 1e-4, *values)


def test_target_below_the_floor_of_the_orders_says_so():
    with pytest.raises(UserError, match=r"still gives 0\.1111"):
        noise_multiplier_by_rdp(target_epsilon=0.1, **STUDY)
    with pytest.raises(UserError, match="Opacus finds no noise"):
        noise_multiplier_of_opacus(target_epsilon=0.1, **STUDY)


@pytest.mark.parametrize("search", [noise_multiplier_by_rdp, noise_multiplier_of_opacus])
def test_values_out_of_range_are_refused(search):
    with pytest.raises(UserError, match="target_epsilon"):
        search(target_epsilon=0.0, **STUDY)
    with pytest.raises(UserError, match="sample_rate"):
        search(target_epsilon=1.0, **STUDY | {"sample_rate": 32})
