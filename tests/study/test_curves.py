import numpy as np
from sklearn.metrics import roc_auc_score

from dpcxr_core.study.curves import curves_by_group
from dpcxr_core.study.evaluating import cohort_tested_on
from dpcxr_core.training.record import read_table


def test_curves_are_of_the_groups_of_the_internal_test_set(tiny_study):
    folder, places, finding = tiny_study.folders[0], tiny_study.places, "no_finding"
    roc, calibration = curves_by_group(folder, places, "sex", finding)
    assert set(roc["group"]) == set(calibration["group"]) == {"F", "M"}
    scores = read_table(folder, "scores").query("finding == @finding and dataset == @places.private_dataset")
    joined = scores.merge(cohort_tested_on(places)[["image_id", "sex"]], on="image_id")
    for sex, curve in roc.groupby("group"):
        of = joined[joined["sex"] == sex]
        area = np.trapezoid(curve["tpr"], curve["fpr"])
        assert abs(area - roc_auc_score(of["y_true"], of["y_score"])) < 0.08
