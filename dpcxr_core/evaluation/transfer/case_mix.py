"""AUROC abroad if the hospital there saw the mix of views, sexes and ages that home sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.evaluation.groups import MIN_COUNT, age_band
from dpcxr_core.evaluation.resampling.patients import weighted_sums
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.evaluation.transfer.resampled_scores import ResampledScores

PARTS = ("at home", "abroad", "abroad, mix of home", "from case mix", "left over")


def case_mix_cells(cohort: pd.DataFrame, age_band_edges: Sequence[int]) -> NDArray[np.object_]:
    """Each image's cell of view x recorded sex x age band, such as "PA, F, 40-69"; None where one is not recorded."""
    bands = age_band(cohort["age_years"].to_numpy(), age_band_edges)
    parts = np.column_stack([cohort["view"].to_numpy(object), cohort["sex"].to_numpy(object), bands])
    cells = np.full(len(cohort), None, dtype=object)
    recorded = pd.notna(parts).all(axis=1)
    cells[recorded] = [", ".join(each) for each in parts[recorded]]
    return cells


def at_home_case_mix(home: ResampledScores, abroad: ResampledScores) -> tuple[dict[str, NDArray[np.float64]], float]:
    """The difference of AUROC between two hospitals, parted into that of their case mix and the rest.

    Images abroad are weighted so that each cell has the share it has at home, positives and negatives alike: a
    prevalence within a cell that differs abroad stays. In every resample anew. Only cells with
    10 images or more at both hospitals take part, at home too.

    Returns:
        ``(draws, covered)``. ``draws``, ``(1 + n_resamples,)`` each: AUROC "at home", "abroad" and "abroad, mix
        of home"; "from case mix" (mix of home minus abroad: positive where the patients abroad are harder) and "left
        over" (at home minus mix of home). The last two add up to home minus abroad. ``covered`` is the share of the
        images at home that have a counterpart abroad. All draws are NaN where the cells in common have too few
        images of a class.

    Source:
        Miettinen (1972), "Standardization of risk ratios", American Journal of Epidemiology 96(6): direct
        standardisation, here of an AUROC.
    """
    cells = _cells_in_common(home, abroad)
    columns = pd.Index(cells, dtype=object)
    here, there = (columns.get_indexer(pd.Index(scores.case_mix)) for scores in (home, abroad))
    covered = float(np.mean(here >= 0)) if here.size else 0.0
    home, abroad = home.only(here >= 0), abroad.only(there >= 0)
    if home.too_few or abroad.too_few:
        return dict.fromkeys(PARTS, np.full(len(home.resamples.weights), np.nan)), covered
    shares_home, shares_abroad = _shares(home, cells), _shares(abroad, cells)
    # a cell that a resample abroad lost cannot be weighted up: it leaves that resample
    factor = np.divide(shares_home, shares_abroad, out=np.zeros_like(shares_home), where=shares_abroad > 0)
    at_home, as_it_is = (
        weighted_aurocs(each.y_true, each.y_score, each.resamples.weights, each.resamples.patient_of_image)
        for each in (home, abroad)
    )
    mixed = weighted_aurocs(abroad.y_true, abroad.y_score, abroad.weights * factor[:, there[there >= 0]])
    parts = (at_home, as_it_is, mixed, mixed - as_it_is, at_home - mixed)
    return dict(zip(PARTS, parts, strict=True)), covered


def _cells_in_common(home: ResampledScores, abroad: ResampledScores) -> list[str]:
    here, there = (pd.Series(scores.case_mix).value_counts() for scores in (home, abroad))
    enough = set(here.index[here >= MIN_COUNT]) & set(there.index[there >= MIN_COUNT])
    return sorted(enough)


def _shares(scores: ResampledScores, cells: list[str]) -> NDArray[np.float64]:
    """``(1 + n_resamples, n_cells)``: the share of images in each cell."""
    counts = weighted_sums(scores.resamples, scores.case_mix[:, np.newaxis] == np.array(cells, dtype=object))
    return counts / counts.sum(axis=1, keepdims=True)
