import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.privacy import mechanism
from dpcxr_core.privacy.errors import PrivacyEngineError
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.streams import RandomStreams, seeded_streams

SPECIFICATION = PrivacySpecification(
    sample_rate=0.1, n_steps=1, expected_batch_size=8, max_grad_norm=2.0, noise_multiplier=1.5, delta=1e-5
)
# as in a network: small ones between large ones, and one larger than a block of noise
SHAPES = [(16, 1, 4, 4), (16,), (1,), (700, 400), (7, 3), (400,), (300, 500), (5,)]
STREAMS = seeded_streams(3)


def _parameters(fill: float = 0.0) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, fill)
    return parameters


def _noise(streams: RandomStreams = STREAMS, step: int = 0, **ranks: int) -> list[torch.Tensor]:
    """The noise of each parameter, undivided; the divisor is a power of two, so nothing is rounded."""
    parameters = _parameters()
    privatise(parameters, SPECIFICATION, streams, step, **ranks)
    return [parameter.grad * SPECIFICATION.expected_batch_size for parameter in parameters]


def _flat(parts: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.flatten() for part in parts])


def test_gradient_becomes_noisy_sum_over_expected_batch_size():
    parameters = _parameters(fill=5.0)
    privatise(parameters, SPECIFICATION, STREAMS, 0)
    for parameter, noise in zip(parameters, _noise(), strict=True):
        torch.testing.assert_close(parameter.grad, (5.0 + noise) / 8)


def test_without_noise_the_sum_is_only_divided():
    parameters = _parameters(fill=5.0)
    privatise(parameters, replace(SPECIFICATION, noise_multiplier=0.0), STREAMS, 0)
    assert all(bool((parameter.grad == 5.0 / 8).all()) for parameter in parameters)


def test_noise_is_scaled_by_the_clip_norm_also_where_nothing_is_clipped():
    parameters = _parameters()
    privatise(parameters, replace(SPECIFICATION, clipping="none"), STREAMS, 0)
    assert torch.equal(_flat([p.grad for p in parameters]) * 8, _flat(_noise()))


def test_denominator_is_the_public_constant():
    for divisor in (8, 16):
        parameters = _parameters(fill=4.0)
        privatise(parameters, replace(SPECIFICATION, expected_batch_size=divisor, noise_multiplier=1e-9), STREAMS, 0)
        torch.testing.assert_close(_flat([p.grad for p in parameters]).mean().item(), 4 / divisor)


def _z_scores(noise: list[torch.Tensor], noise_std: float) -> list[float]:
    """Mean and variance of the noise of each parameter, and their correlation with that of every other, as z."""
    parts = [part.flatten().double() / noise_std for part in noise if part.numel() >= 16]
    z = [float(part.mean()) * math.sqrt(part.numel()) for part in parts]
    z += [float(part.square().mean() - 1) * math.sqrt(part.numel() / 2) for part in parts]
    for place, part in enumerate(parts):
        for other in parts[:place]:
            n = min(part.numel(), other.numel())
            z.append(float((part[:n] * other[:n]).mean()) * math.sqrt(n))
    return [abs(value) for value in z]


def test_noise_has_the_promised_deviation_and_is_independent_between_parameters():
    assert max(_z_scores(_noise(), SPECIFICATION.noise_std)) < 5
    # forgotten clip norm; one generator seeded anew for every parameter
    assert max(_z_scores(_noise(), SPECIFICATION.noise_multiplier)) > 5
    repeated = torch.randn(300 * 1000, generator=torch.Generator().manual_seed(0)) * SPECIFICATION.noise_std
    assert max(_z_scores([repeated[: math.prod(s)].view(s) for s in SHAPES], SPECIFICATION.noise_std)) > 5


@pytest.mark.parametrize(
    "change", [{"step": 1}, {"streams": seeded_streams(4)}, {"streams": seeded_streams(3 + 2**32)}]
)
def test_noise_repeats_at_the_same_step_of_the_same_run_only(change):
    first, again, other = _flat(_noise()), _flat(_noise()), _flat(_noise(**change))
    assert torch.equal(first, again)
    n = first.numel()
    z = float((first * other).double().mean()) / SPECIFICATION.noise_std**2 * math.sqrt(n)
    assert abs(z) < 5


@pytest.mark.parametrize("world_size", [2, 3, 50])
def test_ranks_together_add_the_noise_of_one_process_exactly_once(world_size):
    of_ranks = [_flat(_noise(rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert torch.equal(torch.stack(of_ranks).sum(0), _flat(_noise()))
    assert torch.equal(torch.stack(of_ranks).ne(0).sum(0), torch.ones_like(of_ranks[0], dtype=torch.int64))
    assert sum(bool(noise.any()) for noise in of_ranks) > 1


def test_noise_does_not_depend_on_the_number_of_threads():
    alone = _flat(_noise())
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(_flat(_noise()), alone)
    finally:
        torch.set_num_threads(threads)


def test_no_stream_of_chance_serves_two_blocks():
    places = []

    class Watched(RandomStreams):
        def seed(self, purpose, step, *further):
            places.append((purpose, step, *further))
            return super().seed(purpose, step, *further)

    watched = Watched(3)
    _noise(watched)
    _noise(watched, step=1)
    assert len(set(places)) == len(places) >= 4


def test_noise_of_the_gpu_way_has_the_promised_deviation_and_is_shared_by_ranks(monkeypatch):
    monkeypatch.setattr(mechanism, "_finish_on_cpu", mechanism._finish_on_gpu)  # its operations exist on both devices
    noise = _noise()
    assert max(_z_scores(noise, SPECIFICATION.noise_std)) < 5
    assert max(_z_scores(noise, SPECIFICATION.noise_multiplier)) > 5
    assert torch.equal(_flat(_noise()), _flat(noise))
    assert not torch.equal(_flat(_noise(step=1)), _flat(noise))
    of_ranks = torch.stack([_flat(_noise(rank=rank, world_size=3)) for rank in range(3)])
    assert torch.equal(of_ranks.sum(0), _flat(noise))
    parameters = _parameters(fill=5.0)
    privatise(parameters, SPECIFICATION, STREAMS, 0)
    for parameter, part in zip(parameters, noise, strict=True):
        torch.testing.assert_close(parameter.grad, (5.0 + part) / 8)


def test_noise_is_float32_whatever_the_layout_of_the_gradient():
    plain, other = _noise()[0], nn.Parameter(torch.zeros(SHAPES[0]))
    parameters = [other, *_parameters()[1:]]
    other.grad = torch.zeros(SHAPES[0]).to(memory_format=torch.channels_last)
    privatise(parameters, SPECIFICATION, STREAMS, 0)
    assert other.grad.dtype == torch.float32
    assert torch.equal(other.grad * SPECIFICATION.expected_batch_size, plain)


def test_noise_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    _noise()
    assert torch.equal(before, torch.get_rng_state())


def test_frozen_parameters_are_skipped_and_missing_gradients_refused():
    frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
    privatise([frozen], SPECIFICATION, STREAMS, 0)
    assert frozen.grad is None
    parameters = _parameters()
    parameters[2].grad = None
    with pytest.raises(PrivacyEngineError, match="1 of 8 trainable"):
        privatise(parameters, SPECIFICATION, STREAMS, 0)
    assert not any(p.grad.any() for p in parameters if p.grad is not None)
