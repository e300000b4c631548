import json
from dataclasses import replace

import pytest

from dpcxr_core.publishing.explorers.explorer_axes import METRICS_SHOWN
from dpcxr_core.publishing.explorers.live_answers import LIVE_RESAMPLES, answer
from dpcxr_core.publishing.explorers.live_explorer import LiveExplorer, show_live_explorer
from dpcxr_core.study.evaluating import thresholds_of
from tests.publishing.conftest import QUESTION, make_material


@pytest.fixture
def explorer():
    return LiveExplorer(make_material(n=400))


def test_each_control_changes_the_question_and_the_answer(explorer):
    changes = {
        "finding": "no_finding",
        "metric": "f1",
        "column": "age_band",
        "age_bands": "0, 50, 120",
        "threshold_rule": "by_hand",
        "decision_threshold": 0.3,
        "policy": "u_one",
    }
    for name, value in changes.items():
        before = explorer.chart.answer
        explorer.controls[name].value = value
        assert explorer.chart.answer != before, name
    expected = replace(
        QUESTION,
        finding="no_finding",
        metric="f1",
        column="age_band",
        age_band_edges=(0, 50, 120),
        threshold_rule="by_hand",
        decision_threshold=0.3,
        policy="u_one",
    )
    assert explorer.question == expected
    assert explorer.chart.answer["groups"] == answer(make_material(n=400), expected)["groups"]
    assert f"{LIVE_RESAMPLES} resamples" in explorer.chart.answer["words"]


def test_every_metric_on_offer_is_answered_and_says_which_values_are_good(explorer):
    offered = dict(explorer.controls["metric"].options)
    assert {"AUROC", "Brier score", "ECE", "calibration slope", "calibration in the large"} < set(offered)
    for label, metric in offered.items():
        explorer.controls["metric"].value = metric
        answered = explorer.chart.answer
        assert answered["title"] == f"macro {label}"
        assert answered["reading"] == METRICS_SHOWN[metric].reading
        assert all(row["estimate"]["value"] is not None for row in answered["groups"])


def test_control_that_decides_nothing_is_disabled(explorer):
    def disabled():
        return [explorer.controls[name].disabled for name in ("fixed_tpr", "decision_threshold")]

    assert disabled() == [True, True]
    explorer.controls["threshold_rule"].value = "fixed_tpr"
    assert disabled() == [False, True]
    explorer.controls["threshold_rule"].value = "by_hand"
    assert disabled() == [True, False]


@pytest.mark.parametrize(("text", "told"), [("old", "whole years"), ("0, 70, 40", "rising"), ("", "rising")])
def test_age_bands_that_cannot_be_are_told_and_not_raised(explorer, text, told):
    explorer.controls["age_bands"].value = text
    assert told in explorer.chart.answer["refusal"]
    explorer.controls["age_bands"].value = "0, 60, 120"
    assert "refusal" not in explorer.chart.answer


def test_set_without_codes_offers_no_policy():
    material = make_material(n=100)
    assert "policy" not in LiveExplorer(replace(material, policies={})).controls


def test_browser_gets_no_score_and_the_page_a_sentence(explorer):
    bundle = explorer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"].startswith("<p>")
    state = json.dumps(explorer.chart.get_state(["answer"]))
    assert "image-" not in state
    assert len(state) < 5_000


def test_recorded_runs_answer_as_the_metrics_table_says(tiny_study):
    folders = tiny_study.folders[:2]
    explorer = show_live_explorer(folders, tiny_study.places, dict.fromkeys(tiny_study.places.test_datasets))
    assert list(explorer.controls["dataset"].options) == list(tiny_study.places.test_datasets)
    explorer.controls["finding"].value = "no_finding"
    explorer.controls["run"].value = explorer.controls["run"].options[1]
    cut = thresholds_of(folders[1], tiny_study.places).values["no_finding"]
    assert f"Decision threshold {cut:.3f}." in explorer.chart.answer["words"]
    assert len(set(explorer.controls["run"].options)) == 2
