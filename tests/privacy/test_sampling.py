import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chisquare

from dpcxr_core.config import FINDINGS, SAMPLERS, OptimisationChoice, PrivacySpecification, RunConfig, UserError
from dpcxr_core.privacy.sampling import draw_units, poisson_draw, steps_per_pass
from dpcxr_core.privacy.streams import seeded_streams
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.loop import train
from dpcxr_core.training.training_set import TrainingData
from tests.conftest import PROJECT


def _specification(sample_rate: float) -> PrivacySpecification:
    return PrivacySpecification(
        sample_rate=sample_rate,
        n_steps=1,
        expected_batch_size=1,
        max_grad_norm=1.0,
        noise_multiplier=1.0,
        delta=1e-5,
    )


def _draws(sample_rate: float, n_units: int, n_draws: int, seed: int = 0) -> list[np.ndarray]:
    """One draw a step, as training takes them."""
    streams = seeded_streams(seed)
    return [poisson_draw(_specification(sample_rate), n_units, streams.at("draws", step)) for step in range(n_draws)]


@settings(derandomize=True, deadline=None)
@given(st.floats(1e-6, 1.0), st.integers(1, 200), st.integers(0, 1000))
def test_draw_holds_known_units_in_order_and_none_twice(rate, n_units, seed):
    draw = poisson_draw(_specification(rate), n_units, np.random.default_rng(seed))
    assert draw.dtype == np.int64
    assert (np.diff(draw) > 0).all()
    assert ((draw >= 0) & (draw < n_units)).all()


def test_draw_may_be_empty_and_at_rate_one_holds_every_unit():
    assert min(len(draw) for draw in _draws(1e-4, 3, 50)) == 0
    for draw in _draws(1.0, 7, 3):
        np.testing.assert_array_equal(draw, np.arange(7))


def test_draws_repeat_with_the_seed_and_differ_without():
    first, again, other = (np.concatenate(_draws(0.1, 100, 20, seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def _z_of_membership(draws: list[np.ndarray], rate: float, n_units: int) -> float:
    """Largest z of how often each unit, and each pair of units, was drawn, against independent coins."""
    inside = np.zeros((len(draws), n_units), bool)
    for step, draw in enumerate(draws):
        inside[step, draw] = True
    z = []
    for size in (1, 2):
        for units in combinations(range(n_units), size):
            chance = rate**size
            found = inside[:, units].all(1).sum()
            z.append((found - len(draws) * chance) / np.sqrt(len(draws) * chance * (1 - chance)))
    return float(np.abs(z).max())


@pytest.mark.parametrize(("n_units", "rate"), [(4, 0.5), (12, 0.2)])
def test_units_enter_independently_which_in_equal_sized_batches_they_do_not(n_units, rate):
    n_draws = 6000
    assert _z_of_membership(_draws(rate, n_units, n_draws), rate, n_units) < 5
    rng = np.random.default_rng(0)
    equal_sized = [rng.permutation(n_units)[: round(rate * n_units)] for _ in range(n_draws)]
    assert _z_of_membership(equal_sized, rate, n_units) > 5


def _z_of_sizes(sizes: np.ndarray, rate: float, n_units: int) -> dict[str, float]:
    expected, variance = n_units * rate, n_units * rate * (1 - rate)
    excess = (1 - 6 * rate * (1 - rate)) / variance  # of the fourth moment of a binomial number
    return {
        "mean": float((sizes.mean() - expected) / np.sqrt(variance / len(sizes))),
        "variance": float((sizes.var() / variance - 1) / np.sqrt((2 + excess) / len(sizes))),
    }


def test_sizes_are_binomial_which_fixed_sizes_and_a_rate_slightly_off_are_not():
    n_units, rate, n_draws = 1000, 0.03, 4000
    sizes = np.array([len(draw) for draw in _draws(rate, n_units, n_draws)])
    assert max(map(abs, _z_of_sizes(sizes, rate, n_units).values())) < 5
    assert abs(_z_of_sizes(np.full(n_draws, 30), rate, n_units)["variance"]) > 5
    too_many = np.array([len(draw) for draw in _draws(rate + 0.001, n_units, n_draws)])
    assert abs(_z_of_sizes(too_many, rate, n_units)["mean"]) > 5


def test_no_units_are_refused():
    with pytest.raises(UserError, match="n_units must be at least 1; got 0"):
        draw_units(_specification(0.1), 0, seeded_streams(0), 0)


PASSING = ("shuffled", "balls_and_bins")


def _mechanism(sampler, n_units=20, batch_size=6):
    return PrivacySpecification(
        sample_rate=batch_size / n_units,
        n_steps=9,
        expected_batch_size=batch_size,
        max_grad_norm=1.0,
        noise_multiplier=1.0,
        delta=1e-5,
        sampler=sampler,
        largest_batch=batch_size + 2 if sampler == "truncated_poisson" else None,
    )


def _draws_of(specification, n_units, n_draws, seed=0):
    streams = seeded_streams(seed)
    return [draw_units(specification, n_units, streams, step) for step in range(n_draws)]


@pytest.mark.parametrize("sampler", SAMPLERS)
@settings(derandomize=True, deadline=None, max_examples=30)
@given(n_units=st.integers(1, 60), batch_size=st.integers(1, 60), step=st.integers(0, 40), seed=st.integers(0, 99))
def test_every_sampler_draws_known_units_in_order_and_none_twice(sampler, n_units, batch_size, step, seed):
    specification = _mechanism(sampler, n_units, min(n_units, batch_size))
    draw = draw_units(specification, n_units, seeded_streams(seed), step)
    assert draw.dtype == np.int64
    assert (np.diff(draw) > 0).all()
    assert ((draw >= 0) & (draw < n_units)).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_draw_of_a_step_depends_on_the_streams_and_the_step_alone(sampler):
    """So a run that goes on from a checkpoint draws what it would have drawn."""
    specification, streams = _mechanism(sampler), seeded_streams(5)
    forwards = _draws_of(specification, 20, 9, seed=5)
    backwards = [draw_units(specification, 20, streams, step) for step in reversed(range(9))][::-1]
    for first, again in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(first, again)
    other = _draws_of(specification, 20, 9, seed=6)
    assert not all(np.array_equal(*pair) for pair in zip(forwards, other, strict=True))


@pytest.mark.parametrize("sampler", ["poisson", "fixed_size", "shuffled", "balls_and_bins"])
@pytest.mark.parametrize(("n_units", "batch_size"), [(12, 4), (20, 6)])
def test_every_unit_enters_a_step_at_the_sample_rate(sampler, n_units, batch_size):
    """Also where the batches of a pass do not come out even."""
    specification, n_draws = _mechanism(sampler, n_units, batch_size), 6000
    counts = np.zeros(n_units)
    for draw in _draws_of(specification, n_units, n_draws):
        counts[draw] += 1

    def z(rate):  # draws of one pass exclude each other, which only makes counts steadier
        return np.abs(counts - n_draws * rate).max() / np.sqrt(n_draws * rate * (1 - rate))

    rate = batch_size / n_units
    assert z(rate) < 5
    assert z(1.15 * rate) > 5


@pytest.mark.parametrize("sampler", ["fixed_size", "shuffled"])
def test_batches_of_one_size(sampler):
    assert {len(draw) for draw in _draws_of(_mechanism(sampler), 20, 30)} == {6}


def test_truncated_batches_are_those_of_poisson_but_for_the_cap():
    specification, n_draws = _mechanism("truncated_poisson"), 6000
    sizes = np.array([len(draw) for draw in _draws_of(specification, 20, n_draws)])
    assert sizes.max() == specification.largest_batch
    expected = binom.pmf(np.arange(9), 20, 0.3)
    expected[8] = binom.sf(7, 20, 0.3)

    def p_value(law):
        return chisquare(
            np.bincount(sizes, minlength=9)[1:], n_draws * law[1:] / law[1:].sum() * (sizes > 0).mean()
        ).pvalue

    assert p_value(expected) > 1e-6
    too_likely = binom.pmf(np.arange(9), 20, 0.32)
    too_likely[8] = binom.sf(7, 20, 0.32)
    assert p_value(too_likely) < 1e-6


def test_which_units_a_truncated_batch_keeps_is_even():
    specification = _mechanism("truncated_poisson")
    drawn = np.bincount(np.concatenate(_draws_of(specification, 20, 6000)), minlength=20)
    assert chisquare(drawn).pvalue > 1e-6
    first_kept = [np.sort(draw)[:6] for draw in _draws_of(_mechanism("poisson"), 20, 6000)]  # the mistake
    assert chisquare(np.bincount(np.concatenate(first_kept), minlength=20)).pvalue < 1e-6


@pytest.mark.parametrize("sampler", PASSING)
@pytest.mark.parametrize(("n_units", "batch_size"), [(12, 4), (20, 6)])
def test_a_pass_has_a_unit_at_most_once_and_every_unit_if_batches_come_out_even(sampler, n_units, batch_size):
    specification = _mechanism(sampler, n_units, batch_size)
    n_steps = steps_per_pass(specification, n_units)
    assert n_steps == n_units // batch_size
    draws = _draws_of(specification, n_units, 4 * n_steps)
    for first in range(0, len(draws), n_steps):
        units = np.concatenate(draws[first : first + n_steps])
        assert len(np.unique(units)) == len(units)
        if n_units == n_steps * batch_size:
            assert len(units) == n_units
    assert not np.array_equal(draws[0], draws[n_steps])  # a new order in each pass


def test_balls_fall_on_their_own_and_shuffled_units_push_each_other_out():
    """How often two units share a step: with balls, as often as chance has it; in cut orders, less often."""
    n_passes = 3000

    def z(sampler):
        specification = _mechanism(sampler, 12, 4)
        together = sum({0, 1} <= set(draw) for draw in _draws_of(specification, 12, 3 * n_passes))
        return (together - n_passes / 3) / np.sqrt(n_passes * 2 / 9)

    assert abs(z("balls_and_bins")) < 5
    assert z("shuffled") < -5


def test_a_fixed_batch_larger_than_the_training_set_is_refused():
    for sampler in ("fixed_size", "shuffled"):
        with pytest.raises(UserError, match="there are 5"):
            draw_units(_mechanism(sampler), 5, seeded_streams(0), 0)


def toy_data():
    rng = np.random.default_rng(0)
    return TrainingData(
        rng.integers(0, 256, (20, 32, 32), np.uint8),
        (rng.random((20, len(FINDINGS))) < 0.4).astype(np.float32),
        rows=np.arange(20),
        patient_ids=np.array([f"p{number}" for number in range(20)]),
    )


def toy_run(sampler):
    specification = replace(_mechanism(sampler), n_steps=5)
    return RunConfig(
        dataset="toy",
        init_name="convnext_mini.random",
        head="reset",
        optimisation=OptimisationChoice(optimizer="sgd", learning_rate=0.1),
        privacy=specification,
        target_epsilon=9.0 if specification.promises else None,
        seed=3,
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_training_uses_the_draws_of_its_sampler(sampler):
    config = toy_run(sampler)
    start = build_initialisation(config.init_name, weights_dir=None, seed=0, head="reset")
    trace = train(start.model, toy_data(), config, start.input_transform, progress=False)
    expected = [len(draw) for draw in _draws_of(config.privacy, 20, 5, seed=3)]
    assert trace.diagnostics["n_drawn"].tolist() == expected


TOGETHER = """
from dataclasses import replace
import torch
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.loop import train
from dpcxr_core.training.ranks import gather, join_ranks
from tests.privacy.test_sampling import SAMPLERS, toy_data, toy_run

with join_ranks() as ranks:
    for sampler in SAMPLERS[3:]:
        start = build_initialisation("convnext_mini.random", weights_dir=None, seed=0, head="reset")
        trace = train(start.model, toy_data(), toy_run(sampler), start.input_transform, progress=False, ranks=ranks)
        weights = torch.cat([each.detach().flatten() for each in start.model.parameters()])
        found = gather(ranks, (float(weights.double().sum()), float(weights.abs().max())))
        assert found[0] == found[1], sampler
        if ranks.is_first:
            print(sampler, *trace.diagnostics["n_drawn"])
"""


def test_two_processes_draw_the_same_batches_of_a_pass(tmp_path):
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    for sampler in SAMPLERS[3:]:
        expected = [len(draw) for draw in _draws_of(toy_run(sampler).privacy, 20, 5, seed=3)]
        assert found[sampler] == " ".join(map(str, expected))
