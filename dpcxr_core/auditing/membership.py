"""A membership attack from outside: was this image trained on, judged by what models say about it.

Shadow models are trained on random halves of the images. What each says about an image is compared with what models
say that had it and models that had not. Each model is attacked in turn with the help of all others.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dpcxr_core.config import RunConfig, UserError
from dpcxr_core.evaluation.statistics.auroc import auroc
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.loop import predict, train
from dpcxr_core.training.training_set import TrainingData

_LARGEST_LOGIT = 30.0  # of a score so near 0 or 1 that float32 rounds it off


@dataclass(frozen=True)
class ShadowModels:
    """What models trained on random halves say about every image.

    Attributes:
        confidences: ``(n_models, n_images)`` float64 of ``confidence_in_labels``.
        included: ``(n_models, n_images)`` bool: what each was trained on.
        units: ``(n_images,)`` int64 number of the privacy unit of each image.
    """

    confidences: np.ndarray
    included: np.ndarray
    units: np.ndarray


@dataclass(frozen=True)
class AttackOutcome:
    """How well an attack does, over all models and units.

    Attributes:
        auroc: Chance that a unit that was trained on scores above one that was not; one half is guessing.
        auroc_interval: 95 % interval by resampling the models.
        tpr: At the false positive rate ``fpr``.
        tpr_interval: As for ``auroc_interval``.
        fpr: The rate asked for.
        roc: Table ``fpr tpr`` of all thresholds, ascending.
    """

    auroc: float
    auroc_interval: tuple[float, float]
    tpr: float
    tpr_interval: tuple[float, float]
    fpr: float
    roc: pd.DataFrame


def draw_halves(n_units: int, n_models: int, rng: np.random.Generator) -> np.ndarray:
    """``(n_models, n_units)`` bool: a fair coin for each model and unit.

    Coins, not exact halves: of an exact half the other models would tell what the attacked one was trained on.
    """
    return rng.random((n_models, n_units)) < 0.5


def train_shadows(
    data: TrainingData, config: RunConfig, weights_dir: Path, halves: np.ndarray, executor: Executor
) -> ShadowModels:
    """Shadow models of ``config``, each trained on its half of ``data`` with a seed of its own.

    Args:
        data: All images, small enough to send to processes; with patients where they are the privacy unit.
        config: Of every model; ``seed`` is that of the first.
        weights_dir: Where initialisations keep their weights.
        halves: ``(n_models, n_units)`` bool; units are patients where ``config.privacy`` says so, else images.
        executor: Where to train.

    Raises:
        UserError: ``halves`` does not fit the units.
    """
    per_patient = config.privacy is not None and config.privacy.privacy_unit == "patient"
    if per_patient and data.patient_ids is None:
        raise UserError("privacy_unit 'patient' needs to know whose images they are; give TrainingData patient_ids")
    names = data.patient_ids if per_patient and data.patient_ids is not None else np.arange(data.n_images)
    found, units = np.unique(names, return_inverse=True)
    if halves.ndim != 2 or halves.shape[1] != len(found):
        raise UserError(f"halves must be (n_models, {len(found)}), a coin a unit; got {halves.shape}")
    included = halves[:, units]
    jobs = [
        executor.submit(_shadow, data, replace(config, seed=config.seed + number), weights_dir, half)
        for number, half in enumerate(included)
    ]
    return ShadowModels(np.stack([job.result() for job in jobs]), included, units)


def _shadow(data: TrainingData, config: RunConfig, weights_dir: Path, half: np.ndarray) -> np.ndarray:
    """``(n_images,)`` confidences of one model trained on ``half``."""
    torch.set_num_threads(1)
    size = data.images.shape[1]
    start = build_initialisation(
        config.init_name, weights_dir=weights_dir, seed=config.seed, head=config.head, image_size=size
    )
    rows = np.arange(data.n_images) if data.rows is None else data.rows
    patients = None if data.patient_ids is None else data.patient_ids[half]
    train(
        start.model,
        TrainingData(data.images, data.labels[half], rows=rows[half], patient_ids=patients),
        config,
        start.input_transform,
        progress=False,
    )
    scores = predict(start.model, data.images, start.input_transform, rows=rows)
    return confidence_in_labels(scores, data.labels)


def confidence_in_labels(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``(n_images,)`` log-odds that all known labels of an image are as they are, by a model's scores.

    Nearly Gaussian over models, as losses are not.

    Args:
        scores: ``(n_images, 5)`` probabilities.
        labels: ``(n_images, 5)``: 1, 0 or NaN where unknown.

    Source:
        Carlini et al. (2022), Section IV-C, arXiv:2112.03570, for one label; for several, their chances multiply.
    """
    chance = np.where(labels == 1, scores, 1 - scores.astype(float))
    logs = np.log(np.clip(np.where(np.isnan(labels), 1.0, chance), np.exp(-_LARGEST_LOGIT), 1.0)).sum(1)
    return np.clip(logs - np.log(-np.expm1(np.minimum(logs, -np.exp(-_LARGEST_LOGIT)))), -150.0, _LARGEST_LOGIT)


def likelihood_ratios(models: ShadowModels) -> np.ndarray:
    """``(n_models, n_units)`` log-likelihood ratios of "was trained on", each model attacked with all others.

    Two Gaussians an image, their means from the other models, their variances pooled over images. An image that all
    others had, or none, gives zero. The images of a unit are added up.

    Source:
        Carlini et al. (2022), Algorithm 1 with the global variance of Section VI-C, arXiv:2112.03570.
    """
    n_models, n_units = len(models.confidences), int(models.units.max()) + 1
    found = np.zeros((n_models, n_units))
    for target in range(n_models):
        others = np.arange(n_models) != target
        said, had = models.confidences[others], models.included[others]
        of_image = _log_density(models.confidences[target], said, had) - _log_density(
            models.confidences[target], said, ~had
        )
        known = had.any(0) & ~had.all(0)
        np.add.at(found[target], models.units, np.where(known, of_image, 0.0))
    return found


def _log_density(x: np.ndarray, said: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Of ``x`` ``(n_images,)`` under a Gaussian an image, fitted to the ``chosen`` entries of ``said``."""
    counts = chosen.sum(0)
    means = np.where(chosen, said, 0.0).sum(0) / np.maximum(counts, 1)
    residuals = np.where(chosen, said - means, 0.0)
    freedom = max(1, int(np.maximum(counts - 1, 0).sum()))
    variance = float((residuals**2).sum()) / freedom + 1e-12
    return -((x - means) ** 2) / (2 * variance) - 0.5 * np.log(variance)


def included_units(models: ShadowModels) -> np.ndarray:
    """``(n_models, n_units)`` bool: which units each model was trained on."""
    _, first = np.unique(models.units, return_index=True)
    return models.included[:, first]


def attack_outcome(
    scores: np.ndarray, included: np.ndarray, *, fpr: float = 0.01, n_resamples: int = 500, seed: int = 0
) -> AttackOutcome:
    """How well ``scores`` tell what was ``included``, both ``(n_models, n_units)``."""
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(scores), size=len(scores)) for _ in range(n_resamples)]
    resampled = [(scores[draw].ravel(), included[draw].ravel()) for draw in draws]
    low, high = np.quantile([(auroc(i, s), tpr_at(s, i, fpr)) for s, i in resampled], [0.025, 0.975], axis=0)
    flat, truth = scores.ravel(), included.ravel()
    return AttackOutcome(
        auroc=auroc(truth, flat),
        auroc_interval=(float(low[0]), float(high[0])),
        tpr=tpr_at(flat, truth, fpr),
        tpr_interval=(float(low[1]), float(high[1])),
        fpr=fpr,
        roc=roc_of(flat, truth),
    )


def tpr_at(scores: np.ndarray, included: np.ndarray, fpr: float) -> float:
    """The largest TPR whose false positive rate is at most ``fpr``."""
    roc = roc_of(scores, included)
    return float(roc.loc[roc["fpr"] <= fpr, "tpr"].max())


def roc_of(scores: np.ndarray, included: np.ndarray) -> pd.DataFrame:
    """Table ``fpr tpr`` of all thresholds, ascending; equal scores, ``(n,)``, are said to be members together."""
    order = np.argsort(-scores, kind="stable")
    hits, alarms = np.cumsum(included[order]), np.cumsum(~included[order])
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # the last of equal scores
    tpr = np.append(0.0, hits[ends] / max(1, hits[-1]))
    return pd.DataFrame({"fpr": np.append(0.0, alarms[ends] / max(1, alarms[-1])), "tpr": tpr})
