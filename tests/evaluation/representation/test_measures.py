from dataclasses import replace

import numpy as np
import pytest

from dpcxr_core.config import FINDINGS
from dpcxr_core.evaluation.representation.geometry import unit_normalised
from dpcxr_core.evaluation.representation.jackknife import jackknife_groups
from dpcxr_core.evaluation.representation.linear_probe import probe_scores
from dpcxr_core.evaluation.representation.measures import ComparedImages, Embedded, measures_after, measures_before
from dpcxr_core.evaluation.resampling.patients import resamples_of


def _case(n_images=400, n_features=6):
    """Images of 200 patients whose findings are five of the embedded directions."""
    rng = np.random.default_rng(0)
    train, test = (unit_normalised(rng.normal(size=(n_images, n_features))) for _ in range(2))

    def labels(embeddings):
        noise = rng.normal(scale=0.3, size=(n_images, 5))
        return (embeddings[:, :5] + noise > 0).astype(np.float32)

    ids = np.arange(n_images) // 2
    resamples, groups = resamples_of(ids, np.zeros(n_images), 100, rng), jackknife_groups(ids, 30, rng)
    return Embedded(train, test), ComparedImages(labels(train), labels(test), resamples, groups)


def _by_measure(rows):
    return {row.pop("measure"): row for row in rows}


def test_without_change_nothing_moves_and_pairing_leaves_no_doubt():
    embedded, images = _case()
    own_head = probe_scores(embedded.train, images.train_labels, embedded.test)
    found = _by_measure(measures_after(embedded, embedded, own_head, images))
    for measure in ("displacement", "effective_dimension_change", "utilisation_gap"):
        assert found[measure]["value"] == 0
        assert found[measure]["reason"] in ("", "all resamples agree: no interval")
    before = _by_measure(measures_before(embedded, images))
    assert list(before) == ["effective_dimension", "probe_auroc", "standardised_probe_auroc"]
    assert {measure: found[measure] for measure in before} == before


def test_head_that_ignores_what_is_there_leaves_a_gap():
    embedded, images = _case()
    blind = np.random.default_rng(1).random((400, 5))
    found = _by_measure(measures_after(embedded, embedded, blind, images))
    assert found["utilisation_gap"]["low"] > 0.2
    difference = found["probe_auroc"]["value"] - found["end_to_end_auroc"]["value"]
    assert found["utilisation_gap"]["value"] == pytest.approx(difference)


def test_what_differs_little_is_read_only_after_standardising():
    """The penalty of the published probe hides a direction that standardising lays open."""
    rng = np.random.default_rng(0)
    _, images = _case()
    signal = np.concatenate([images.train_labels[:, 0], images.test_labels[:, 0]]) - 0.5
    hidden = np.column_stack([np.ones(800), 0.3 * rng.normal(size=800), 0.01 * (signal + 0.3 * rng.normal(size=800))])
    embedded = Embedded(*np.split(unit_normalised(hidden), 2))
    one = replace(images, train_labels=images.train_labels[:, :1], test_labels=images.test_labels[:, :1])
    found = _by_measure(measures_after(embedded, embedded, np.zeros((400, 1)), one))
    assert found["standardised_probe_auroc"]["low"] > found["probe_auroc"]["high"] + 0.1
    assert found["standardised_utilisation_gap"]["value"] == pytest.approx(
        found["standardised_probe_auroc"]["value"] - 0.5
    )


def test_collapse_onto_one_direction_moves_images_and_loses_dimensions():
    before, images = _case()
    shrunk = unit_normalised(before.test * [1, 0.1, 0.1, 0.1, 0.1, 0.1])
    after = Embedded(before.train, shrunk)
    found = _by_measure(measures_after(after, before, np.zeros((400, 5)), images))
    assert found["displacement"]["low"] > 0.1
    assert found["effective_dimension"]["high"] < 2
    change = found["effective_dimension_change"]
    assert change["high"] < -3
    # six equal directions before: the sphere's covariance is I / 6
    assert change["value"] == pytest.approx(found["effective_dimension"]["value"] - 6, abs=0.1)


def test_finding_with_few_positives_is_left_out_of_both_aurocs():
    embedded, images = _case()
    rare = images.test_labels.copy()
    rare[:, 1] = np.arange(400) < 9
    named = f"mean over {', '.join(np.delete(FINDINGS, 1))}"
    found = _by_measure(measures_after(embedded, embedded, np.zeros((400, 5)), replace(images, test_labels=rare)))
    assert all(found[each]["reason"].startswith(named) for each in ("probe_auroc", "end_to_end_auroc"))
    assert found["utilisation_gap"]["reason"] == named
    assert found["end_to_end_auroc"]["value"] == 0.5


def test_undefined_is_nan_with_a_reason():
    embedded, images = _case()
    unlabelled = replace(images, test_labels=np.full((400, 5), np.nan, np.float32))
    row = _by_measure(measures_before(embedded, unlabelled))["probe_auroc"]
    assert np.isnan([row["value"], row["low"], row["high"]]).all()
    assert row["reason"].startswith("no finding can be measured")
