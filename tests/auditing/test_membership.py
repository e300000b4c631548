from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from dpcxr_core.auditing.membership import (
    ShadowModels,
    attack_outcome,
    confidence_in_labels,
    draw_halves,
    included_units,
    likelihood_ratios,
    roc_of,
    tpr_at,
    train_shadows,
)
from dpcxr_core.config import OrdinaryBatches, UserError
from dpcxr_core.evaluation.statistics.auroc import auroc


def _simulated(shift, n_models=16, n_images=200, seed=0):
    rng = np.random.default_rng(seed)
    included = draw_halves(n_images, n_models, rng)
    confidences = rng.standard_normal((1, n_images)) * 3 + rng.standard_normal((n_models, n_images)) + shift * included
    return ShadowModels(confidences, included, np.arange(n_images))


def test_confidence_is_the_log_odds_of_all_labels():
    scores = np.array([[0.8, 0.5, 0.9, 0.1, 0.3], [1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0, 1.0]], np.float32)
    labels = np.array([[1, 0, np.nan, 0, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]], np.float32)
    found = confidence_in_labels(scores, labels)
    chance = 0.8 * 0.5 * 0.9 * 0.3
    assert found[0] == pytest.approx(np.log(chance / (1 - chance)), rel=1e-5)
    assert np.isfinite(found).all()
    assert found[1] > 20
    assert found[2] < -20


def test_attack_finds_what_is_there():
    models = _simulated(shift=2.0)
    outcome = attack_outcome(likelihood_ratios(models), models.included)
    # two known Gaussians two deviations apart have an AUROC of 0.921; 15 models know their means a little less well
    assert 0.87 < outcome.auroc < 0.922
    assert outcome.auroc_interval[0] < outcome.auroc < outcome.auroc_interval[1]
    assert outcome.tpr_interval[0] <= outcome.tpr <= outcome.tpr_interval[1]
    assert outcome.tpr > 0.2


def test_attack_finds_nothing_where_nothing_is():
    found = [
        auroc(m.included.ravel(), likelihood_ratios(m).ravel()) for m in (_simulated(0.0, seed=s) for s in range(20))
    ]
    z = (np.mean(found) - 0.5) / (np.std(found, ddof=1) / np.sqrt(len(found)))
    assert abs(z) < 5


def test_exact_halves_would_have_biased_the_attack():
    """Why halves are coins: where each image is in exactly half of the models, the others tell."""
    rng = np.random.default_rng(0)
    found = []
    for seed in range(40):
        models = _simulated(0.0, n_models=6, seed=seed)
        exact = np.stack([rng.permutation(np.arange(6) < 3) for _ in range(200)], axis=1)
        biased = replace(models, included=exact)
        found.append(auroc(exact.ravel(), likelihood_ratios(biased).ravel()))
    z = (np.mean(found) - 0.5) / (np.std(found, ddof=1) / np.sqrt(len(found)))
    assert z < -5


def test_images_of_a_unit_are_added_up():
    models = _simulated(shift=1.0, n_images=100)
    paired = np.repeat(models.included[:, ::2], 2, axis=1)
    of_pairs = ShadowModels(
        models.confidences + 1.0 * paired - 1.0 * models.included, paired, np.repeat(np.arange(50), 2)
    )
    of_images = replace(of_pairs, units=np.arange(100))
    summed = likelihood_ratios(of_images).reshape(16, 50, 2).sum(2)
    np.testing.assert_allclose(likelihood_ratios(of_pairs), summed)
    np.testing.assert_array_equal(included_units(of_pairs), paired[:, ::2])
    pairs, images = (attack_outcome(likelihood_ratios(m), included_units(m)).auroc for m in (of_pairs, of_images))
    assert pairs > images + 0.03


def test_rates_by_counting():
    scores = np.array([3.0, 2.0, 2.0, 1.0, 0.0])
    included = np.array([True, True, False, True, False])
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[included] for b in scores[~included]]
    assert attack_outcome(scores[None], included[None]).auroc == pytest.approx(np.mean(pairs))
    roc = roc_of(scores, included)
    assert roc["fpr"].tolist() == [0, 0, 0.5, 0.5, 1]  # the tie is one step
    assert roc["tpr"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])
    assert tpr_at(scores, included, 0.0) == pytest.approx(1 / 3)
    assert tpr_at(scores, included, 0.49) == pytest.approx(1 / 3)  # the tie brings an alarm along
    assert tpr_at(scores, included, 0.5) == pytest.approx(1.0)


@pytest.fixture
def memorising(config):
    """A training long enough to know twelve images by heart."""
    choice = replace(config.optimisation, optimizer="adamw", learning_rate=3e-3)
    ordinary = OrdinaryBatches(n_steps=30, batch_size=6)
    return replace(config, privacy=None, target_epsilon=None, ordinary=ordinary, optimisation=choice)


def test_models_trained_without_privacy_know_their_images(data, memorising, tmp_path):
    halves = draw_halves(12, 5, np.random.default_rng(0))
    with ThreadPoolExecutor(1) as executor:
        models = train_shadows(data, memorising, tmp_path, halves, executor)
    np.testing.assert_array_equal(models.included, halves)
    said = models.confidences
    assert said[halves].mean() > said[~halves].mean() + 2
    assert auroc(halves.ravel(), likelihood_ratios(models).ravel()) > 0.8


def test_halves_are_of_patients_where_they_are_the_unit(data, config, claim, tmp_path):
    per_patient = replace(claim, privacy_unit="patient", max_images_per_patient=2, n_steps=1)
    halves = draw_halves(6, 2, np.random.default_rng(1))
    with ThreadPoolExecutor(1) as executor:
        models = train_shadows(data, replace(config, privacy=per_patient), tmp_path, halves, executor)
        with pytest.raises(UserError, match="a coin a unit"):
            train_shadows(data, config, tmp_path, halves, executor)
    np.testing.assert_array_equal(models.included, np.repeat(halves, 2, axis=1))
