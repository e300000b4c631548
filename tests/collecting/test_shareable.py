import numpy as np
import pandas as pd
import pytest

from dpcxr_core.collecting.shareable import more_digits_in, shareable_claims, shareable_metrics, small_counts_in
from dpcxr_core.evaluation.small_counts import without_small_cells
from dpcxr_core.tables import METRICS

GROUPS = [("all", "all"), ("sex", "F"), ("sex", "M"), ("view", "AP"), ("view", "PA")]
GAP = ("sex", "F-M")
PARTS = ["selection_rate_difference", "tpr_difference"]


def _metrics(n, positives, finding="pneumonia"):
    """AUROC and prevalence of each group, and a gap between the sexes."""
    rows = [("auroc", *group, *counts) for group, *counts in zip(GROUPS, n, positives, strict=True)]
    rows += [("prevalence", *group, *counts) for group, *counts in zip(GROUPS, n, positives, strict=True)]
    rows += [("auroc_difference", *GAP, n[1] + n[2], min(positives[1:3]))]
    table = pd.DataFrame(rows, columns=["metric", "group_column", "group_value", "n", "n_positive"])
    numbers = {"value": 0.61234, "low": 0.51234, "high": 0.71234, "noise_floor": np.nan}
    return table.assign(run_id="run", dataset="a", finding=finding, reason="", **numbers)[list(METRICS.columns)]


def _of(table, metric, group):
    column, value = group
    of_group = (table["group_column"] == column) & (table["group_value"] == value)
    return table[(table["metric"] == metric) & of_group].iloc[0]


def test_large_counts_stay_and_values_are_rounded():
    metrics = _metrics([200, 120, 80, 100, 100], [60, 40, 20, 30, 30])
    shown = shareable_metrics(metrics)
    assert shown["n"].tolist() == metrics["n"].tolist()
    assert shown["n_positive"].tolist() == metrics["n_positive"].tolist()
    assert set(shown["value"]) == {0.612}
    assert (metrics["value"] == 0.61234).all()  # the argument is left alone
    assert len(more_digits_in(metrics)) == len(metrics)
    assert len(more_digits_in(shown)) == 0


def test_few_negatives_are_a_small_count_and_none_are_not():
    assert small_counts_in(pd.DataFrame({"n": [109, 110, 100], "n_positive": [100, 100, 100]})).index.tolist() == [0]
    hidden = pd.DataFrame({"n": [109, None, 9], "n_positive": [None, None, None]}, dtype="Int64")
    assert small_counts_in(hidden).index.tolist() == [2]


@pytest.mark.parametrize("number", [0.0, 0.07, 1.001, -16.384, np.nan, np.inf, 1e13 / 7])
def test_a_number_that_was_rounded_has_no_digit_too_many(number):
    shown = shareable_metrics(_metrics([200, 120, 80, 100, 100], [60, 40, 20, 30, 30]).assign(value=number))
    assert len(more_digits_in(shown)) == 0


def test_a_small_count_cannot_be_found_by_subtraction_either():
    metrics = _metrics([200, 120, 80, 100, 100], [60, 54, 6, 30, 30])
    shown = shareable_metrics(metrics)
    in_groups = shown["group_column"] != "all"
    assert shown.loc[in_groups, "n_positive"].isna().all()
    assert shown.loc[~in_groups, "n_positive"].tolist() == [60, 60]
    assert shown["n"].notna().all()
    naive = without_small_cells(metrics)  # it hides values only: 60 - 54 tells the six
    assert len(small_counts_in(naive)) > 0
    assert len(small_counts_in(shown)) == 0


def test_a_prevalence_goes_with_the_positives_that_it_tells_and_other_values_stay():
    shown = shareable_metrics(_metrics([200, 120, 80, 100, 100], [60, 54, 6, 30, 30]))
    for group in GROUPS[1:]:
        assert np.isnan(_of(shown, "prevalence", group)["value"])
    assert _of(shown, "prevalence", ("sex", "F"))["reason"].startswith("withheld")
    assert _of(shown, "prevalence", ("all", "all"))["value"] == 0.612
    assert _of(shown, "auroc", ("sex", "F"))["value"] == 0.612
    assert np.isnan(_of(shown, "auroc", ("sex", "M"))["value"])  # rests on six positives
    assert pd.isna(_of(shown, "auroc_difference", GAP)["n_positive"])


@pytest.mark.parametrize("metric", ["selection_rate", "ppv", "npv", "f1"])
def test_a_rate_that_tells_the_prevalence_goes_with_it(metric):
    for positives, few in (([60, 54, 6, 30, 30], True), ([60, 40, 20, 30, 30], False)):
        metrics = _metrics([200, 120, 80, 100, 100], positives)
        rates = [metrics[metrics["metric"] == "prevalence"].assign(metric=name) for name in (metric, "tpr", "fpr")]
        shown = shareable_metrics(pd.concat([metrics, *rates], ignore_index=True))
        for group in (("sex", "F"), ("view", "AP")):
            assert np.isnan(_of(shown, metric, group)["value"]) == few
            assert _of(shown, metric, group)["reason"].startswith("withheld") == few
            assert _of(shown, "tpr", group)["value"] == _of(shown, "fpr", group)["value"] == 0.612
        assert _of(shown, metric, ("all", "all"))["value"] == 0.612


def test_the_mean_over_findings_hides_what_any_finding_hides():
    several = [
        _metrics([200, 120, 80, 100, 100], [60, 54, 6, 30, 30]),
        _metrics([200, 120, 80, 100, 100], [90, 50, 40, 45, 45], "cardiomegaly"),
        _metrics([200, 120, 80, 100, 100], [60, 40, 20, 30, 30], "macro"),
    ]
    shown = shareable_metrics(pd.concat(several, ignore_index=True))
    by_finding = {name: rows for name, rows in shown.groupby("finding")}
    assert _of(by_finding["cardiomegaly"], "auroc", ("view", "AP"))["n_positive"] == 45
    assert pd.isna(_of(by_finding["macro"], "auroc", ("view", "AP"))["n_positive"])


def test_of_claims_what_was_measured_is_rounded_and_neither_regime_nor_p():
    exact = {"fraction": 0.00125, "target_epsilon": np.inf, "value": -0.0004, "se_seeds": np.nan, "p": 0.01234}
    row = {**exact, "part": "at home", "p_adjusted": 0.04936, "n_seeds": 2, "verdict": "in favour", "reason": ""}
    claims = pd.DataFrame([row])
    shown = shareable_claims(claims, shareable_metrics(_metrics([200, 120, 80, 100, 100], [90, 50, 40, 45, 45])))
    pd.testing.assert_frame_equal(shown, claims.assign(value=0.0))
    assert not np.signbit(shown["value"].item())
    assert claims["value"].item() == -0.0004


@pytest.mark.parametrize(("positive_men", "withheld"), [(6, True), (40, False)])
def test_claim_on_a_gap_that_is_withheld_is_withheld_but_for_its_verdict(positive_men, withheld):
    metrics = _metrics([200, 120, 80, 100, 100], [54 + positive_men, 54, positive_men, 30, 24 + positive_men])
    gap = metrics[metrics["metric"] == "auroc_difference"]
    further = [gap.assign(metric=name, group_value="max-min", n_positive=54) for name in PARTS]
    measured = {"value": 0.05, "low": 0.01, "p": 0.01, "p_adjusted": 0.02, "verdict": "in favour", "reason": ""}
    regime = {"fraction": 1.0, "target_epsilon": 8.0}
    claims = pd.DataFrame([{"part": f"{name} by sex", **regime, **measured} for name in PARTS])
    shown = shareable_claims(claims, shareable_metrics(pd.concat([metrics, *further], ignore_index=True)))
    assert shown["value"].isna().to_list() == shown["low"].isna().to_list() == [withheld, False]
    assert (shown["reason"] != "").to_list() == [withheld, False]
    assert shown[["verdict", "p", "p_adjusted"]].equals(claims[["verdict", "p", "p_adjusted"]])


@pytest.mark.parametrize("seed", range(20))
def test_no_count_from_one_to_nine_is_shown_or_told_whatever_the_groups(seed):
    rng = np.random.default_rng(seed)
    women, ap = rng.integers(0, 60), rng.integers(0, 60)
    positive_women, positive_ap = rng.integers(0, women + 1), rng.integers(0, ap + 1)
    positives = max(positive_women, positive_ap) + int(rng.integers(0, 30))
    n = max(60, positives) + int(rng.integers(0, 20))
    counts = [n, women, n - women, ap, n - ap]
    of_positives = [positives, positive_women, positives - positive_women, positive_ap, positives - positive_ap]
    shown = shareable_metrics(_metrics(counts, of_positives))
    assert len(small_counts_in(shown)) == 0
    aurocs = shown[shown["metric"] == "auroc"]
    for name in ("n", "n_positive"):
        whole = aurocs.loc[aurocs["group_column"] == "all", name].iloc[0]
        for _, parts in aurocs[aurocs["group_column"] != "all"].groupby("group_column"):
            for part in parts[name].dropna():
                assert pd.isna(whole) or not 0 < whole - part < 10
