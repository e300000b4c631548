"""Decision thresholds, chosen once on validation images and frozen from then on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import FINDINGS, EvaluationChoice, ThresholdRule, UserError
from dpcxr_core.evaluation.groups import MIN_COUNT
from dpcxr_core.evaluation.scored_images import one_run_id
from dpcxr_core.tables import SCORES, checked


@dataclass(frozen=True, kw_only=True)
class DecisionThresholds:
    """The score at or above which each finding is predicted, and where it comes from.

    Chosen on the images that are evaluated they would flatter the model.

    Attributes:
        rule: How they were chosen, as ``EvaluationChoice.threshold_rule``.
        fixed_tpr: The TPR asked for; None unless the rule is "fixed_tpr".
        run_id: The run whose scores were looked at.
        dataset: The data set whose validation images were looked at.
        values: By finding, a score that occurs; NaN where positives or negatives are missing.
        n: By finding, labelled images looked at; findings with fewer than 10 positives or 10 negatives are left
            out here and in ``n_positive``, as such counts can point at people.
        n_positive: By finding, the positives among them.
    """

    rule: ThresholdRule
    fixed_tpr: float | None
    run_id: str
    dataset: str
    values: dict[str, float]
    n: dict[str, int]
    n_positive: dict[str, int]


def choose_thresholds(scores_valid: pd.DataFrame, choice: EvaluationChoice) -> DecisionThresholds:
    """For each finding, the threshold that ``choice.threshold_rule`` finds best on validation images.

    Chosen on the validation images of the data set trained on, they hold unchanged for every test and external
    set. Chosen on those of a target, they say what a look at labels there would bring.

    - "youden": largest ``tpr - fpr``, which weighs both mistakes by class and ignores prevalence.
    - "fixed_tpr": the highest threshold with a TPR of at least ``choice.fixed_tpr``.
    - "max_f1": largest F1, which moves with prevalence.

    Args:
        scores_valid: SCORES table of one run and one data set: its validation images.
        choice: Names the rule.

    Returns:
        Thresholds for the findings in the table: of equally good scores, the highest.

    Raises:
        UserError: The table does not hold its contract, one run and one data set.

    Source:
        Youden (1950), "Index for rating diagnostic tests", Cancer 3(1).
    """
    scores_valid = checked(scores_valid, SCORES)
    run_id = one_run_id(scores_valid)
    datasets = scores_valid["dataset"].unique().tolist()
    if len(datasets) != 1:
        raise UserError(f"thresholds are chosen on one data set; got {datasets}. Pass the source alone.")
    by_finding = dict(iter(scores_valid.groupby("finding")))
    values, n, n_positive = {}, {}, {}
    for finding in [finding for finding in FINDINGS if finding in by_finding]:
        y_true, y_score = (by_finding[finding][column].to_numpy() for column in ("y_true", "y_score"))
        positives, negatives = np.sort(y_score[y_true == 1]), np.sort(y_score[y_true == 0])
        values[finding] = _best_score(positives, negatives, choice)
        if min(positives.size, negatives.size) >= MIN_COUNT:
            n[finding], n_positive[finding] = positives.size + negatives.size, positives.size
    return DecisionThresholds(
        rule=choice.threshold_rule,
        fixed_tpr=choice.fixed_tpr if choice.threshold_rule == "fixed_tpr" else None,
        run_id=run_id,
        dataset=datasets[0],
        values=values,
        n=n,
        n_positive=n_positive,
    )


def _best_score(positives: NDArray, negatives: NDArray, choice: EvaluationChoice) -> float:
    """Highest score of the best ones; NaN when a class is missing. Both arrays are sorted."""
    if not (positives.size and negatives.size):
        return math.nan
    candidates = np.unique(np.concatenate([positives, negatives]))[::-1]
    n_true = positives.size - np.searchsorted(positives, candidates, side="left")
    n_false = negatives.size - np.searchsorted(negatives, candidates, side="left")
    # each goodness is whole numbers or one rounded quotient of them, so that equals compare as equal
    goodness: NDArray
    match choice.threshold_rule:
        case "youden":
            goodness = n_true * negatives.size - n_false * positives.size
        case "fixed_tpr":
            goodness = n_true / positives.size >= choice.fixed_tpr
        case "max_f1":
            goodness = 2 * n_true / (n_true + n_false + positives.size)
    # candidates fall, and argmax takes the first of equals
    return float(candidates[np.argmax(goodness)])
