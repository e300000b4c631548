import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from dpcxr_core.auditing.canary_scores import (
    final_scores,
    replayed_weights,
    simulated_gradients,
    start_scores,
    step_scores,
    thresholds_for,
)
from dpcxr_core.config import OptimisationChoice, UserError
from dpcxr_core.privacy.streams import seeded_streams


def test_likelihood_ratio_is_that_of_the_two_densities(claim):
    gradients = np.array([[0.003, -0.01], [0.001, 0.02]])  # of a sum over an expected batch of 100
    sums = gradients * 100
    noise = claim.noise_std
    out = norm.logpdf(sums, 0, noise)
    inside = np.log(0.5 * norm.pdf(sums, 0, noise) + 0.5 * norm.pdf(sums, claim.max_grad_norm, noise))
    np.testing.assert_allclose(step_scores(gradients, claim), inside - out, rtol=1e-10)
    always = replace(claim, sample_rate=1.0)
    by_hand = norm.logpdf(sums, claim.max_grad_norm, noise) - out
    np.testing.assert_allclose(step_scores(gradients, always), by_hand, rtol=1e-10)


def test_scores_add_up_over_the_steps(claim):
    gradients = np.random.default_rng(0).standard_normal((7, 5)) / 100
    running = start_scores(claim, 5)
    np.testing.assert_array_equal(list(running.watch(gradients)), gradients)
    np.testing.assert_allclose(running.likelihood, step_scores(gradients, claim).sum(0))
    np.testing.assert_allclose(running.total, gradients.sum(0))


def test_memory_does_not_grow_with_the_steps(claim, config):
    def most(n_steps):
        longer = replace(claim, n_steps=n_steps)
        running, included = start_scores(longer, 4000), np.ones(4000, bool)
        tracemalloc.start()
        seen = running.watch(simulated_gradients(longer, included, seeded_streams(0)))
        replayed_weights(seen, config, n_canaries=4000, n_steps=n_steps)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    most(2)  # what is loaded on first use
    assert most(200) < 1.5 * most(10) < 4000 * 200 * 4  # which all gradients would take


def test_simulated_gradients_have_the_moments_of_the_mechanism(claim):
    included = np.arange(20_000) < 10_000
    gradients = np.stack(list(simulated_gradients(claim, included, seeded_streams(1)))) * 100
    assert gradients.shape == (claim.n_steps, 20_000)
    out, inside = gradients[:, ~included], gradients[:, included]
    z_noise = (out.std() / claim.noise_std - 1) * np.sqrt(2 * out.size)
    z_mean = (inside.mean() - 0.25) / (inside.std() / np.sqrt(inside.size))  # rate one half of a clip norm of one half
    assert abs(z_noise) < 5
    assert abs(z_mean) < 5
    quieter = replace(claim, noise_multiplier=0.75)
    halved = np.stack(list(simulated_gradients(quieter, included, seeded_streams(1)))) * 100
    assert abs((halved[:, ~included].std() / claim.noise_std - 1) * np.sqrt(2 * out.size)) > 5


def test_replayed_weights_are_those_of_plain_descent(config):
    gradients = np.array([[1.0, 0.0], [0.5, -1.0], [0.0, 2.0]])
    plain = OptimisationChoice(
        optimizer="sgd", learning_rate=0.1, momentum=0.0, warmup_fraction=0.0, schedule="constant"
    )
    weights = replayed_weights(gradients, replace(config, optimisation=plain), n_canaries=2, n_steps=3)
    np.testing.assert_allclose(weights, -0.1 * gradients.sum(0), atol=1e-7)
    np.testing.assert_allclose(final_scores(weights), 0.1 * gradients.sum(0), atol=1e-7)
    public = replace(config, optimisation=None, privacy=None, target_epsilon=None, head="kept")
    with pytest.raises(UserError, match="does not train"):
        replayed_weights(gradients, public, n_canaries=2, n_steps=3)


def test_thresholds_are_where_they_should_be():
    rng = np.random.default_rng(0)
    # 0.03 is three standard errors of a 5 % quantile of 50,000 Gaussians, and six of the place where errors are equal
    low_alarms, equal, few_misses = thresholds_for(rng.standard_normal(50_000) + 2, rng.standard_normal(50_000))
    assert low_alarms == pytest.approx(1.645, abs=0.03)
    assert equal == pytest.approx(1.0, abs=0.03)
    assert few_misses == pytest.approx(2 - 1.645, abs=0.03)
