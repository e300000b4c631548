"""What differs between two hospitals: how common a finding is, or how its images score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.evaluation.resampling.patients import weighted_sums
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.evaluation.transfer.resampled_scores import ResampledScores
from dpcxr_core.evaluation.transfer.transported import operating_point

POSITIVES, NEGATIVES = "positives", "negatives"


def prevalence(scores: ResampledScores) -> NDArray[np.float64]:
    """``(1 + n_resamples,)``: share of positives among the labelled images."""
    of_labels = np.column_stack([scores.y_true, np.ones_like(scores.y_true)])
    n_positive, n = weighted_sums(scores.resamples, of_labels).T
    return n_positive / n


def ppv_and_f1(tpr: NDArray, fpr: NDArray, prevalence: NDArray) -> dict[str, NDArray[np.float64]]:
    """PPV and F1 that these rates give at this prevalence: ``(n,)`` each, NaN where nothing is predicted positive."""
    true, false = tpr * prevalence, fpr * (1 - prevalence)
    predicted = true + false
    nothing = np.full(np.shape(predicted), np.nan)
    return {
        "ppv": np.divide(true, predicted, out=nothing.copy(), where=predicted > 0),
        "f1": np.divide(2 * true, predicted + prevalence, out=nothing, where=predicted + prevalence > 0),
    }


def prevalence_shift(
    home: ResampledScores, abroad: ResampledScores, threshold: float
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """The change of PPV and F1 abroad, parted into that of prevalence alone and the rest: draws by (metric, part).

    If only prevalence differed, and positives looked like positives and negatives like negatives in both hospitals,
    TPR and FPR would be those of home, and PPV and F1 would follow from them and the prevalence abroad. "from
    prevalence" is that value minus the one at home; "left over" is the value abroad minus that one. The two add up to
    the change. What is left over has other causes: other images, other patients, or labels that mean something else.

    Args:
        home: Test images of the hospital trained on.
        abroad: Test images of the other hospital.
        threshold: The same decision threshold at both.

    Returns:
        For "ppv" and "f1": "at home", "from prevalence", "left over" and "abroad"; for "prevalence": "at home",
        "abroad" and "difference" (abroad minus home). ``(1 + n_resamples,)`` each.

    Source:
        Saerens et al. (2002), Neural Computation 14(1), on scores re-weighted to another prevalence.
    """
    here, there = operating_point(home, threshold), operating_point(abroad, threshold)
    common_here, common_there = prevalence(home), prevalence(abroad)
    expected = ppv_and_f1(here["tpr"], here["fpr"], common_there)
    draws = {
        ("prevalence", "at home"): common_here,
        ("prevalence", "abroad"): common_there,
        ("prevalence", "difference"): common_there - common_here,
    }
    for metric, at_its_prevalence in expected.items():
        draws[metric, "at home"] = here[metric]
        draws[metric, "from prevalence"] = at_its_prevalence - here[metric]
        draws[metric, "left over"] = there[metric] - at_its_prevalence
        draws[metric, "abroad"] = there[metric]
    return draws


def hospitals_apart(home: ResampledScores, abroad: ResampledScores) -> dict[str, NDArray[np.float64]]:
    """How well a score tells the hospitals apart among "positives", and among "negatives": ``(1 + n_resamples,)``.

    An AUROC: the chance that an image from abroad scores above one from home that has the same label, ties half. 0.5
    is no shift of the scores. A change of prevalence alone leaves both at 0.5. It sees only shifts that move this
    score up or down.
    """
    return {name: _abroad_above_home(home, abroad, label) for name, label in ((POSITIVES, 1), (NEGATIVES, 0))}


def _abroad_above_home(home: ResampledScores, abroad: ResampledScores, label: int) -> NDArray[np.float64]:
    here, there = home.only(home.y_true == label), abroad.only(abroad.y_true == label)
    is_abroad = np.repeat([0.0, 1.0], [here.y_true.size, there.y_true.size])
    y_score = np.concatenate([here.y_score, there.y_score])
    return weighted_aurocs(is_abroad, y_score, np.concatenate([here.weights, there.weights], axis=1))


def reading_of_shift(positives: str, negatives: str) -> str:
    """What shifts of positives and of negatives have in common with, in words; a hint, never a proof.

    Scores alone cannot tell a hospital that labels otherwise from one that images otherwise or sees other patients:
    that takes images read twice.

    Args:
        positives: "above", "below" or "not distinguishable" from 0.5, of ``hospitals_apart`` among positives.
        negatives: The same among negatives.
    """
    up = {"above": 1, "below": -1}
    of_positives, of_negatives = up.get(positives, 0), up.get(negatives, 0)
    if of_positives == of_negatives == 0:
        return "no shift within a class is seen: prevalence alone may explain what changed"
    if of_positives == of_negatives:
        direction = "higher" if of_positives > 0 else "lower"
        return f"all scores are {direction}: exposure, view or patients can do this, labels alone cannot"
    if of_positives < of_negatives:
        return "the classes move together: labels that mean something else, or harder images or patients"
    return "the classes move apart: the finding is plainer, or labelled more strictly"
