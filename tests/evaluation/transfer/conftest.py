"""Scores of one finding at one hospital, made without any model."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit

from dpcxr_core.evaluation.resampling.patients import resamples_of
from dpcxr_core.evaluation.transfer.resampled_scores import ResampledScores


def _resampled(y_true, y_score, *, patient_ids=None, case_mix=None, n_resamples=100, seed=0) -> ResampledScores:
    y_true, y_score = np.asarray(y_true, dtype=float), np.asarray(y_score, dtype=float)
    patient_ids = np.arange(y_true.size) if patient_ids is None else patient_ids
    case_mix = np.full(y_true.size, "PA, F, 0-39", dtype=object) if case_mix is None else case_mix
    rng = np.random.default_rng(seed)
    return ResampledScores(
        y_true, y_score, case_mix, resamples_of(patient_ids, np.zeros(y_true.size), n_resamples, rng)
    )


def simulated(
    *, n=1000, prevalence=0.3, signal=1.5, moved=0.0, images_per_patient=1, seed=0, n_resamples=100
) -> ResampledScores:
    """Scores whose logit is normal: ``signal`` parts the classes, ``moved`` shifts both; patients differ beside."""
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // images_per_patient
    y_true = (rng.random(n) < prevalence)[patient].astype(float)
    own = rng.normal(scale=0.9, size=n)[patient] if images_per_patient > 1 else rng.normal(scale=0.9, size=n)
    logits = signal * y_true + moved + own + rng.normal(scale=0.44, size=n)
    return _resampled(y_true, expit(logits), patient_ids=patient, n_resamples=n_resamples, seed=seed + 1)


@pytest.fixture
def make_resampled() -> Callable[..., ResampledScores]:
    return _resampled


@pytest.fixture
def simulate() -> Callable[..., ResampledScores]:
    return simulated
