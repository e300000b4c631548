import numpy as np
import pytest
import torch

from dpcxr_core.privacy.chance_checks import check_noise, check_sampler
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.sampling import poisson_draw
from dpcxr_core.privacy.streams import RandomStreams, seeded_streams
from tests.privacy.conftest import failed_checks


@pytest.mark.parametrize("seed", [0, 1])
def test_mechanism_and_sampler_of_this_project_pass(seed):
    assert failed_checks(check_noise(seed=seed)) == set()
    assert failed_checks(check_sampler(seed=seed)) == set()


def _scaled(factor):
    def mechanism(parameters, specification, streams, step):
        privatise(parameters, specification, streams, step)
        for parameter in parameters:
            parameter.grad.mul_(factor)

    return mechanism


def _same_every_step(parameters, specification, streams, step):
    privatise(parameters, specification, streams, 0)


def _same_for_every_parameter(parameters, specification, streams, step):
    for parameter in parameters:
        privatise([parameter], specification, streams, step)


def _numbered_by_step_plus_place(parameters, specification, streams, step):
    """Each step draws anew, but the second parameter gets the noise of the next step's first one."""
    for place, parameter in enumerate(parameters):
        privatise([parameter], specification, streams, step + place)


def _same_in_every_run(parameters, specification, streams, step):
    privatise(parameters, specification, seeded_streams(7), step)


def _low_bits_of_the_secret(parameters, specification, streams, step):
    privatise(parameters, specification, RandomStreams(streams.entropy >> 32), step)


def _new_each_time(parameters, specification, streams, step):
    privatise(parameters, specification, RandomStreams(int(np.random.default_rng().integers(2**63))), step)


def _uniform(parameters, specification, streams, step):
    width = specification.noise_std * 12**0.5 / specification.expected_batch_size
    for place, parameter in enumerate(parameters):
        rng = streams.at("noise", step, place)
        parameter.grad = torch.from_numpy((rng.random(parameter.shape, np.float32) - 0.5) * np.float32(width))


@pytest.mark.parametrize(
    ("mechanism", "refused_by"),
    [
        (_scaled(0.5), "noise variance"),
        (_scaled(1.02), "noise variance"),
        (_scaled(1 / 0.7), "noise variance"),  # the clip norm forgotten
        (_same_every_step, "noise of two steps"),
        (_same_for_every_parameter, "noise of two parameters"),
        (_numbered_by_step_plus_place, "noise of two steps"),
        (_same_in_every_run, "noise of two runs"),
        (_low_bits_of_the_secret, "noise of two runs"),
        (_new_each_time, "noise of one step again"),
        (_uniform, "noise shape"),
    ],
)
def test_wrong_noise_is_refused(mechanism, refused_by):
    assert refused_by in failed_checks(check_noise(mechanism=mechanism))


def _fixed_size(specification, n_units, rng):
    return rng.choice(n_units, size=round(n_units * specification.sample_rate), replace=False)


def _shuffled():
    waiting: list[int] = []

    def sampler(specification, n_units, rng):
        size = round(n_units * specification.sample_rate)
        if len(waiting) < size:
            waiting[:] = rng.permutation(n_units).tolist()
        drawn, waiting[:] = waiting[:size], waiting[size:]
        return np.array(drawn)

    return sampler


def _rate_off(specification, n_units, rng):
    return np.flatnonzero(rng.random(n_units) < specification.sample_rate + 0.001)


def _with_replacement(specification, n_units, rng):
    return rng.integers(n_units, size=rng.binomial(n_units, specification.sample_rate))


def _always_the_first_step(specification, n_units, rng):
    return poisson_draw(specification, n_units, seeded_streams(0).at("draws", 0))


@pytest.mark.parametrize(
    ("sampler", "refused_by"),
    [
        (_fixed_size, "sampler variance"),
        (_shuffled(), "sampler evenness"),
        (_rate_off, "sampler mean"),
        (_with_replacement, "sampler repeats"),
        (_always_the_first_step, "sampler evenness"),
    ],
)
def test_wrong_samplers_are_refused(sampler, refused_by):
    assert refused_by in failed_checks(check_sampler(sampler=sampler))
