"""What differs between two hospitals: how common a finding is, or how its images score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.evaluation.resampling.patients import weighted_sums
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.evaluation.statistics.ratio import ratio
from dpcxr_core.evaluation.transfer.resampled_scores import ResampledScores
from dpcxr_core.evaluation.transfer.transported import operating_point

POSITIVES, NEGATIVES = "positives", "negatives"


def prevalence(scores: ResampledScores) -> NDArray[np.float64]:
    """``(1 + n_resamples,)``: share of positives among the labelled images; NaN without any."""
    of_labels = np.column_stack([scores.y_true, np.ones_like(scores.y_true)])
    n_positive, n = weighted_sums(scores.resamples, of_labels).T
    return ratio(n_positive, n)


def ppv_and_f1(tpr: NDArray, fpr: NDArray, prevalence: NDArray) -> dict[str, NDArray[np.float64]]:
    """PPV and F1 that these rates give at this prevalence: ``(n,)`` each, NaN where nothing is predicted positive."""
    true, false = tpr * prevalence, fpr * (1 - prevalence)
    predicted = true + false
    return {"ppv": ratio(true, predicted), "f1": ratio(2 * true, predicted + prevalence)}


def prevalence_shift(
    home: ResampledScores, abroad: ResampledScores, decision_threshold: float
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """The change of PPV and F1 abroad, parted into that of prevalence alone and the rest: draws by (metric, part).

    If only prevalence differed, and positives looked like positives and negatives like negatives in both hospitals,
    TPR and FPR would be those of home, and PPV and F1 would follow from them and the prevalence abroad. "from
    prevalence" is that value minus the one at home; "left over" is the value abroad minus that one. The two add up to
    the change. What is left over has other causes: other images, other patients, or labels that mean something else.

    Args:
        home: Test images of the hospital trained on.
        abroad: Test images of the other hospital.
        decision_threshold: The same at both.

    Returns:
        For "ppv" and "f1": "at home", "from prevalence", "left over" and "abroad"; for "prevalence": "at home",
        "abroad" and "difference" (abroad minus home). ``(1 + n_resamples,)`` each.

    Source:
        Saerens et al. (2002), Neural Computation 14(1), on scores re-weighted to another prevalence.
    """
    here, there = (operating_point(scores, decision_threshold) for scores in (home, abroad))
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
    patients_here, patients_there = here.resamples.weights, there.resamples.weights
    patient = [here.resamples.patient_of_image, there.resamples.patient_of_image + patients_here.shape[1]]
    weights = np.concatenate([patients_here, patients_there], axis=1)
    return weighted_aurocs(is_abroad, y_score, weights, np.concatenate(patient))


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
        # a mild case called negative raises both classes: the positives left are plainer, the negatives less plain
        direction, cut = ("higher", "stricter") if of_positives > 0 else ("lower", "laxer")
        return f"all scores are {direction}: exposure, view, patients or a {cut} label can do this"
    if of_positives < of_negatives:
        return "the classes move together: labels that mean something else, or harder images or patients"
    return "the classes move apart: the finding is plainer, or labelled with less error"
