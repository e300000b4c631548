import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

from dpcxr_core.evaluation.group_metrics import RATE_METRICS
from dpcxr_core.evaluation.groups import unmeasurable
from dpcxr_core.evaluation.small_counts import (
    TELL_A_SHARE,
    TELLS_A_COUNT,
    hidden_by_row,
    hidden_counts,
    showable_metrics,
    without_small_cells,
)
from dpcxr_core.evaluation.statistics.rates import rates_from_counts

GROUPS = [("all", "all"), ("sex", "F"), ("sex", "M"), ("view", "AP"), ("view", "PA")]
IMAGES = [400, 220, 180, 240, 160]
NOTHING_SMALL, FEW_MEN = [100, 60, 40, 65, 35], [100, 94, 6, 65, 35]
GAPS = {"tpr_difference": "tpr", "ppv_difference": "ppv", "selection_rate_difference": "selection_rate"}


def _rows(n, positives):
    groups = {"group_column": ["all", "sex", "sex"], "group_value": ["all", "F", "M"]}
    return pd.DataFrame(
        {**groups, "n": n, "n_positive": positives, "value": 0.6, "low": 0.5, "high": 0.7, "reason": ""}
    )


@pytest.mark.parametrize("column", ["n", "n_positive"])
def test_nine_lose_value_and_interval_and_ten_keep_them(column):
    table = without_small_cells(_rows([200, 120, 80], [60, 40, 20]).assign(**{column: [200, 9, 10]}))
    assert table["value"].isna().tolist() == [False, True, False]
    assert np.isnan(table.loc[1, ["low", "high"]].to_numpy(float)).all()
    assert table.loc[1, "reason"] == "fewer than 10 images or positives"


@pytest.mark.parametrize(
    ("n", "positives", "images", "labels"),
    [
        ([200, 120, 80], [60, 40, 20], [False, False, False], [False, False, False]),
        ([200, 120, 80], [60, 54, 6], [False, False, False], [False, True, True]),  # 60 - 54
        ([200, 120, 80], [60, 40, 15], [False, False, False], [False, True, True]),  # five of unknown sex
        ([200, 195, 5], [60, 58, 2], [False, True, True], [False, True, True]),
        ([200, 120, 80], [140, 115, 25], [False, False, False], [False, True, True]),  # five negatives
    ],
)
def test_what_tells_a_small_count_is_hidden_with_it(n, positives, images, labels):
    hidden = hidden_counts(_rows(n, positives))
    assert hidden["images"].tolist() == images
    assert hidden["positives"].tolist() == labels


@pytest.mark.parametrize(("labels_of_few", "images"), [([1], False), ([0], False), ([0, 1], True)])
def test_labels_of_few_patients_hide_as_few_images_do(labels_of_few, images):
    labels = np.repeat([1, 0], 30)
    reason = unmeasurable(labels, np.where(np.isin(labels, labels_of_few), 0, np.arange(60)))
    hidden = hidden_counts(_rows([200, 120, 80], [60, 40, 20]).assign(reason=["", reason, ""]))
    assert hidden["images"].tolist() == [False, images, images]
    assert hidden["positives"].tolist() == [False, True, True]


def _rates(prevalence, tpr, fpr):
    """Every rate at that prevalence: the slow and obvious way, from shares of images in the place of counts."""
    hits, alarms = prevalence * tpr, (1 - prevalence) * fpr
    return rates_from_counts([hits, alarms, 1 - prevalence - alarms, prevalence - hits])


def _evaluated(positives, finding="pneumonia"):
    """METRICS as evaluated: AUROC, prevalence and all rates of each group, whose TPR and FPR differ, and view gaps."""
    rows = []
    for place, (group, n, k) in enumerate(zip(GROUPS, IMAGES, positives, strict=True)):
        values = {"auroc": 0.8, "prevalence": k / n, **_rates(k / n, 0.8 - 0.02 * place, 0.3 + 0.03 * place)}
        rows += [(metric, *group, n, k, value) for metric, value in values.items()]
    for gap, rate in GAPS.items():
        ap, pa = (next(row for row in rows if row[:3] == (rate, "view", view)) for view in ("AP", "PA"))
        rows.append((gap, "view", "max-min", ap[3] + pa[3], min(ap[4], pa[4]), abs(ap[5] - pa[5])))
    table = pd.DataFrame(rows, columns=["metric", "group_column", "group_value", "n", "n_positive", "value"])
    ends = {"low": table["value"] - 0.1, "high": table["value"] + 0.1, "noise_floor": 0.01}
    return table.assign(run_id="run", dataset="a", finding=finding, reason="", **ends)


def _solved(table):
    """The prevalence of each group but all that its shown TPR, FPR and each further shown rate tell."""
    solved = {}
    shown = table.dropna(subset="value")
    for group, rows in shown[shown["group_column"] != "all"].groupby(["group_column", "group_value"]):
        values = rows.set_index("metric")["value"]
        for metric in [name for name in RATE_METRICS if name in values and name not in ("tpr", "fpr")]:

            def apart(p, metric=metric, values=values):
                return _rates(p, values["tpr"], values["fpr"])[metric] - values[metric]

            solved[*group, metric] = brentq(apart, 1e-6, 1 - 1e-6, xtol=1e-12)
    return solved


def _positives_told_by_gap(table, metric):
    """Numbers of positives among AP images that the shown gap between views allows, given the rates and the total."""
    values = table.set_index(["metric", "group_value"])["value"]

    def gap(k):
        ap, pa = ((k, IMAGES[3], "AP"), (100 - k, IMAGES[4], "PA"))
        return np.ptp([_rates(k / n, values["tpr", g], values["fpr", g])[GAPS[metric]] for k, n, g in (ap, pa)])

    return [k for k in range(1, 100) if abs(gap(k) - values[metric, "max-min"]) < 1e-9]


def test_attack_by_solving_for_the_prevalence_finds_no_hidden_positives():
    metrics = _evaluated(FEW_MEN)
    found = _solved(without_small_cells(metrics).query("metric != 'prevalence'"))  # the wrong version: four ways
    truth = {group: k / n for group, n, k in zip(GROUPS, IMAGES, FEW_MEN, strict=True)}
    assert {key[:2] for key in found} == {("sex", "F"), ("view", "AP"), ("view", "PA")}
    assert len(found) == 3 * 4
    assert all(p == pytest.approx(truth[key[:2]], abs=1e-9) for key, p in found.items())
    assert _solved(showable_metrics(metrics)) == {}


@pytest.mark.parametrize("metric", ["ppv_difference", "selection_rate_difference"])
def test_attack_by_gaps_finds_no_hidden_positives(metric):
    metrics = _evaluated(FEW_MEN)
    assert 65 in _positives_told_by_gap(without_small_cells(metrics), metric)
    assert len(_positives_told_by_gap(without_small_cells(metrics), metric)) <= 2  # a gap has no sign
    assert _positives_told_by_gap(showable_metrics(metrics), metric) == []


def test_what_tells_a_share_is_withheld_with_its_reason_and_all_else_stays():
    metrics = _evaluated(FEW_MEN)
    shown = showable_metrics(metrics)
    withheld = shown["reason"] == TELLS_A_COUNT
    assert set(shown.loc[withheld, "metric"]) == {*TELL_A_SHARE} & {*metrics["metric"]}
    assert shown.loc[withheld, ["value", "low", "high", "noise_floor"]].isna().all(axis=None)
    assert not (withheld & (shown["group_column"] == "all")).any()
    pd.testing.assert_frame_equal(shown[~withheld], without_small_cells(metrics)[~withheld])


def test_table_without_small_cells_stays_as_it_is():
    metrics = pd.concat([_evaluated(NOTHING_SMALL, finding) for finding in ("pneumonia", "macro")], ignore_index=True)
    pd.testing.assert_frame_equal(showable_metrics(metrics), metrics)


def test_mean_over_findings_and_no_other_finding_is_hidden_with_one():
    positives = {"pneumonia": FEW_MEN, "cardiomegaly": NOTHING_SMALL, "macro": NOTHING_SMALL}
    metrics = pd.concat([_evaluated(k, finding) for finding, k in positives.items()], ignore_index=True)
    shown = showable_metrics(metrics)
    assert set(shown.loc[shown["reason"] == TELLS_A_COUNT, "finding"]) == {"pneumonia", "macro"}


def test_what_no_row_of_auroc_judges_is_hidden():
    metrics = pd.concat([_evaluated(NOTHING_SMALL), _evaluated(NOTHING_SMALL, "other")], ignore_index=True)
    unjudged = metrics[(metrics["metric"] != "auroc") | (metrics["finding"] != "other")]
    assert (hidden_by_row(unjudged)["positives"] == (unjudged["finding"] == "other")).all()
    assert hidden_by_row(metrics[metrics["metric"] != "auroc"]).all(axis=None)
