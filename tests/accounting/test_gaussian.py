import pytest

from dpcxr_core.accounting.gaussian import epsilon_gaussian, gaussian_delta


def test_epsilon_matches_the_value_of_one_gaussian_of_noise_one():
    """Noise 10 over 100 steps is one Gaussian of noise 1; Balle & Wang (2018), Theorem 8."""
    assert epsilon_gaussian(10.0, 100, 1e-5) == pytest.approx(4.377178, abs=1e-6)
    assert epsilon_gaussian(1.0, 1, 1e-5) == pytest.approx(epsilon_gaussian(10.0, 100, 1e-5), abs=1e-9)


def test_gaussian_delta_inverts_epsilon_and_epsilon_is_zero_when_delta_covers_all():
    assert gaussian_delta(epsilon_gaussian(2.0, 9, 1e-6), 1.5) == pytest.approx(1e-6, rel=1e-6)
    assert epsilon_gaussian(1000.0, 1, 0.1) == 0.0
