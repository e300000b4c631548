import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from dpcxr_core.study import curves
from dpcxr_core.study.curves import curves_by_group
from dpcxr_core.study.evaluating import cohort_tested_on
from dpcxr_core.study.scores import scores_on


def test_curves_are_of_the_groups_of_the_internal_test_set(tiny_study, monkeypatch):
    folder, places, finding = tiny_study.folders[0], tiny_study.places, "no_finding"
    assert curves_by_group(folder, places, "sex", finding)[1].empty  # an age band has so few positives that all hide
    monkeypatch.setattr(
        curves, "hidden_by_row", lambda metrics: pd.DataFrame({"positives": False}, index=metrics.index)
    )
    roc, calibration = curves_by_group(folder, places, "sex", finding)
    assert set(roc["group"]) == set(calibration["group"]) == {"F", "M"}
    scores = scores_on(folder, places.private_dataset, places).query("finding == @finding")
    joined = scores.merge(cohort_tested_on(places)[["image_id", "sex"]], on="image_id")
    for sex, curve in roc.groupby("group"):
        of = joined[joined["sex"] == sex]
        fpr, tpr, _ = roc_curve(of["y_true"], of["y_score"], drop_intermediate=False)
        expected = np.interp(curve["fpr"].iloc[1:], fpr, tpr)
        np.testing.assert_allclose(curve["tpr"].iloc[1:], expected, rtol=0, atol=1e-12)
