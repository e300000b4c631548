import numpy as np
import pytest
import torch
from torch import nn

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.privacy.errors import PrivacyEngineError
from dpcxr_core.privacy.mechanism import privatise

SPECIFICATION = PrivacySpecification(
    sample_rate=0.1, n_steps=1, expected_batch_size=8, max_grad_norm=2.0, noise_multiplier=1.5, delta=1e-5
)


def _parameter(gradient: torch.Tensor) -> nn.Parameter:
    parameter = nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient.clone()
    return parameter


def test_gradient_becomes_noisy_sum_over_expected_batch_size():
    gradient = torch.randn(40)
    parameter = _parameter(gradient)
    privatise([parameter], SPECIFICATION, np.random.default_rng(5))
    noise = torch.from_numpy(np.random.default_rng(5).standard_normal(40, dtype=np.float32)) * 1.5 * 2.0
    torch.testing.assert_close(parameter.grad, (gradient + noise) / 8)


def test_noise_repeats_with_the_generator_and_never_within_it():
    generator = np.random.default_rng(1)
    first, second = _parameter(torch.zeros(20)), _parameter(torch.zeros(20))
    privatise([first, second], SPECIFICATION, generator)
    again = _parameter(torch.zeros(20))
    privatise([again], SPECIFICATION, np.random.default_rng(1))
    assert torch.equal(first.grad, again.grad)
    assert not torch.isclose(first.grad, second.grad).any()


def test_seeds_that_agree_in_their_low_bits_give_other_noise():
    first, second = _parameter(torch.zeros(20)), _parameter(torch.zeros(20))
    privatise([first], SPECIFICATION, np.random.default_rng(12345))
    privatise([second], SPECIFICATION, np.random.default_rng(12345 + 7 * 2**32))
    assert not torch.isclose(first.grad, second.grad).any()


def test_noise_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    privatise([_parameter(torch.zeros(20))], SPECIFICATION, np.random.default_rng(1))
    assert torch.equal(before, torch.get_rng_state())


def test_frozen_parameters_are_skipped_and_missing_gradients_refused():
    frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
    privatise([frozen], SPECIFICATION, np.random.default_rng())
    assert frozen.grad is None
    with pytest.raises(PrivacyEngineError, match="1 of 2 trainable"):
        privatise([_parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))], SPECIFICATION, np.random.default_rng())
