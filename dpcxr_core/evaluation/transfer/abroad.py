"""One finding at home and abroad: every comparison of this room, and their mean over findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.evaluation.transfer.case_mix import at_home_case_mix
from dpcxr_core.evaluation.transfer.resampled_scores import ResampledScores
from dpcxr_core.evaluation.transfer.shifts import hospitals_apart, prevalence_shift
from dpcxr_core.evaluation.transfer.transported import transported

OPERATING_POINTS, PREVALENCE, APART, CASE_MIX = "operating points", "prevalence", "hospitals apart", "case mix"
# what the parts of a key are called, by topic
TOPICS: dict[str, tuple[str, ...]] = {
    OPERATING_POINTS: ("where", "metric"),
    PREVALENCE: ("metric", "part"),
    APART: ("among",),
    CASE_MIX: ("part",),
}
NamedDraws = Mapping[Any, NDArray[np.float64]]  # by a key of texts


def compared(
    home: ResampledScores, abroad: ResampledScores, decision_threshold: float, retuned_threshold: float
) -> tuple[dict[str, NamedDraws], float]:
    """Every comparison of one finding between two hospitals, and the share of home that has a counterpart abroad.

    Args:
        home: Test images of the hospital trained on.
        abroad: Test images of the other hospital.
        decision_threshold: Chosen at home; NaN where it cannot be.
        retuned_threshold: Chosen abroad; NaN where too few images there could choose it.

    Returns:
        ``(1 + n_resamples,)`` by topic and key, see ``TOPICS``; and the share of ``case_mix.at_home_case_mix``.
    """
    mixes, covered = at_home_case_mix(home, abroad)
    return {
        OPERATING_POINTS: transported(home, abroad, decision_threshold, retuned_threshold),
        PREVALENCE: prevalence_shift(home, abroad, decision_threshold),
        APART: {(name,): draws for name, draws in hospitals_apart(home, abroad).items()},
        CASE_MIX: {(name,): draws for name, draws in mixes.items()},
    }, covered


def mean_over_findings(by_finding: Mapping[str, NamedDraws]) -> tuple[NamedDraws, list[str]]:
    """The mean of each key over the findings of which every key is defined on the data, and these findings.

    Both are empty where there is none.

    Args:
        by_finding: ``(..., 1 + n_resamples)`` by finding and key, the same keys for each finding.
    """
    whole = [
        finding
        for finding, draws in by_finding.items()
        if all(np.isfinite(each[..., 0]).all() for each in draws.values())
    ]
    keys = by_finding[whole[0]] if whole else ()
    return {key: np.mean([by_finding[finding][key] for finding in whole], axis=0) for key in keys}, whole
