"""Studies whose runs were never trained: their true values are given, patients and seeds add error."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.evaluation.draws import DRAWN_METRICS, Draws
from dpcxr_core.study.scored_cells import ScoredCells

N_RESAMPLES = 80
N_PATIENTS = 1000  # of the rarer class of each group: enough to know how much they vary
GROUPS = (("all", "all"), *(("sex", each) for each in "FM"), *(("age_band", each) for each in ("0-39", "40-69", "70+")))
APART = np.array([0, -0.5, 0.5, -0.5, 0, 0.5])  # where a group lies, in gaps
# How far a value may come out from the truth, about three deviations or more. A run errs by 0.0036, of seeds and of its
# own, and a mean over three seeds by 0.002; what patients add is the same for all runs in a hospital.
OFF = 0.01  # the mean over seeds of a run, where no patients err, or of a difference
TWICE_OFF = 0.015  # a difference of two differences, or from a single run
SLOPE_OFF = 0.005  # a gain with each doubling, which halves the difference of runs two doublings apart
DEFAULTS = {
    **{"dataset": "north", "architecture": "small", "head": "reset", "unit": "image", "fraction": 1.0, "seed": 0},
    **{"grids": "main", "auroc": 0.7, "abroad": 0.6, "gap": 0.05, "has_run": True},
}


def cells_frame(*rows, **axes):
    """One cell for every combination of ``axes`` and each of ``rows``; what neither states has its default."""
    combinations = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return pd.DataFrame([{**DEFAULTS, **row, **each} for row in rows for each in combinations])


@pytest.fixture
def study_of():
    """Makes ``ScoredCells`` of a frame of cells with true ``auroc``, ``abroad`` and ``gap`` between groups."""

    def study(truth, *, rng=None, patients=0.02, own=0.002, seeds=0.003):
        rng = np.random.default_rng(0) if rng is None else rng
        truth = truth.reset_index(drop=True)
        run_ids = [f"run-{row}" for row in range(len(truth))]
        hospitals = sorted(set(truth["dataset"]))
        shape = (len(DRAWN_METRICS), 1 + N_RESAMPLES, len(GROUPS))
        shared = {name: patients * rng.normal(size=shape) for name in (*hospitals, "abroad")}

        def draws_of(run_id, hospital, auroc, gap):
            error = shared[hospital] + own * rng.normal(size=shape)
            of_seed = seeds * rng.normal(size=(len(DRAWN_METRICS), 1, len(GROUPS)))
            measured = auroc + gap * APART + of_seed + error[:, :1]
            values = np.concatenate([measured, measured + error[:, 1:]], axis=1)
            both = np.repeat(values[..., np.newaxis], 2, axis=-1).astype(np.float32)
            by_metric = dict(zip(DRAWN_METRICS, both, strict=True))
            return Draws(
                run_id, hospital, ("pneumonia", "macro"), GROUPS, by_metric, np.full((len(GROUPS), 2), N_PATIENTS)
            )

        draws = {}
        for run_id, cell in zip(run_ids, truth.to_dict("records"), strict=True):
            home = draws_of(run_id, cell["dataset"], cell["auroc"], cell["gap"])
            draws[run_id] = {cell["dataset"]: home, "abroad": draws_of(run_id, "abroad", cell["abroad"], 0.0)}
        cells = truth.drop(columns=["auroc", "abroad", "gap", "has_run"])
        cells["run_id"] = pd.Series(run_ids, dtype=object).where(truth["has_run"], None)
        home, abroad = {name: name for name in hospitals}, dict.fromkeys(hospitals, ("abroad",))
        return ScoredCells(cells, draws, home, abroad)

    return study
