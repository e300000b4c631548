"""How precisely a test set of a given size can measure an AUROC, before anything is measured."""

from __future__ import annotations

import math

import pandas as pd

from dpcxr_core.config import FINDINGS, UserError


def auroc_standard_error(auroc: float, n_positive: int, n_negative: int) -> float:
    """Standard error of an AUROC from independent images; NaN when a class is missing.

    Args:
        auroc: The true AUROC, in [0, 1].
        n_positive: Positive images.
        n_negative: Negative images.

    Raises:
        UserError: ``auroc`` is outside [0, 1].

    Source:
        Hanley and McNeil (1982), Radiology 143(1), equations 1 and 2, exponential approximation.

    Example:
        >>> round(auroc_standard_error(0.85, 20, 10_000), 3)
        0.054
    """
    if not 0 <= auroc <= 1:
        raise UserError(f"auroc must be in [0, 1]; got {auroc}")
    if n_positive == 0 or n_negative == 0:
        return math.nan
    both_below = auroc / (2 - auroc)
    both_above = 2 * auroc**2 / (1 + auroc)
    variance = (
        auroc * (1 - auroc) + (n_positive - 1) * (both_below - auroc**2) + (n_negative - 1) * (both_above - auroc**2)
    ) / (n_positive * n_negative)
    return math.sqrt(variance)


def expected_precision(cohort: pd.DataFrame, auroc: float = 0.8) -> pd.DataFrame:
    """One row a finding: positives, negatives and the standard error that an AUROC of ``auroc`` would have.

    Images of one patient are alike, so the real error is larger where patients have many images.

    Args:
        cohort: COHORT rows of one test set.
        auroc: The AUROC supposed.
    """
    rows = {}
    for finding in FINDINGS:
        n_positive, n_negative = int((cohort[finding] == 1).sum()), int((cohort[finding] == 0).sum())
        rows[finding] = {
            "positive": n_positive,
            "negative": n_negative,
            "standard error": auroc_standard_error(auroc, n_positive, n_negative),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("finding")
