import pytest

from dpcxr_core.accounting.poisson import epsilon_rdp
from dpcxr_core.accounting.quick_rdp import quick_epsilons_rdp, quick_noise_multiplier_rdp
from dpcxr_core.config import UserError

DELTAS = [1e-3, 6e-6, 1e-8]


@pytest.mark.parametrize(
    ("noise", "rate", "n_steps"),
    [
        (10.0, 1.0, 100),
        (1.5, 0.04, 2250),
        (0.6, 1e-4, 10_000),
        (0.3, 3e-4, 3000),  # moments too large to add up as they are
        (50.0, 3e-4, 1_000_000),  # moments that differ from one by 1e-11
        (1.0, 0.9, 1),
    ],
)
def test_epsilons_are_those_of_dp_accounting(noise, rate, n_steps):
    found = quick_epsilons_rdp([noise, 2 * noise], rate, n_steps, DELTAS)
    for row, each in zip(found, (noise, 2 * noise), strict=True):
        assert row == pytest.approx([epsilon_rdp(each, rate, n_steps, delta) for delta in DELTAS], rel=2e-3)


def test_noise_multiplier_is_what_the_paper_would_have_needed():
    """``get_noise_multiplier`` of Opacus 1.6.0, whose orders end sooner, returns 2.578 for the same."""
    asked = {"target_epsilon": 0.9, "delta": 6e-6, "sample_rate": 1024 / 86524, "n_steps": 2000}
    noise = quick_noise_multiplier_rdp(**asked)
    assert noise == pytest.approx(2.57, abs=0.02)
    assert epsilon_rdp(noise, asked["sample_rate"], 2000, 6e-6) == pytest.approx(0.9, rel=1e-3)


@pytest.mark.parametrize(("target", "named"), [(0.0, "target_epsilon"), (1e-9, "by RDP")])
def test_targets_out_of_reach_are_refused(target, named):
    with pytest.raises(UserError, match=named):
        quick_noise_multiplier_rdp(target_epsilon=target, delta=1e-8, sample_rate=0.01, n_steps=100)
