import math

import pandas as pd
import pytest

from dpcxr_core.publishing.chapters.answer_figures import VERDICT_COLOURS, plot_along, plot_contrasts
from dpcxr_core.study.verdicts import IN_FAVOUR, MISSING, UNMEASURABLE
from tests.publishing.conftest import some_contrasts

COLOURS = {"a": "#0072b2", "b": "#d55e00"}


def _rows():
    found = {"panel": "Claim 1", "heading": "x minus y", "verdict": IN_FAVOUR}
    lost = {"value": math.nan, "verdict": MISSING, "reason": "domain", "name": "no run"}
    return some_contrasts({**found, "name": "epsilon 8"}, {**found, "panel": "Claim 2", **lost})


def _names(panel):
    return [label.get_text() for label in panel.get_yticklabels()]


@pytest.mark.usefixtures("ax")
def test_a_forest_has_a_panel_a_claim_and_says_what_is_missing():
    figure = plot_contrasts(_rows(), VERDICT_COLOURS, "verdict", "gain")
    figure.canvas.draw()
    first, second = figure.axes
    assert _names(first) == ["", "epsilon 8"]
    assert [text.get_text() for text in first.texts] == ["x minus y"]
    assert first.get_title(loc="left") == "Claim 1"
    assert [text.get_text() for text in second.texts] == ["x minus y", "missing: domain"]
    lacking = _rows().assign(reason="domain, " * 30)
    assert plot_contrasts(lacking, VERDICT_COLOURS, "verdict", "gain").axes[1].texts[1].get_text().endswith(" ...")
    unheaded = plot_contrasts(_rows().assign(heading=""), VERDICT_COLOURS, "verdict", "gain")
    assert [_names(panel) for panel in unheaded.axes] == [["epsilon 8"], ["no run"]]
    points = [line for line in first.get_lines() if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in points] == [(0.03, 1)]
    assert points[0].get_color() == VERDICT_COLOURS[IN_FAVOUR]
    thin = [list(line.get_xdata()) for line in first.get_lines() if line.get_linewidth() == 1 and len(line.get_xdata())]
    assert pytest.approx([0.01, 0.05]) in thin


@pytest.mark.usefixtures("ax")
def test_without_any_run_figures_say_so():
    aurocs = some_contrasts({"initialisation": "a", "head": "reset"})
    for figure in (
        plot_contrasts(_rows()[:0], VERDICT_COLOURS, "verdict", "gain"),
        plot_along(aurocs, "fraction", "initialisation", COLOURS),  # one share makes no line
        plot_along(aurocs[:0], "fraction", "initialisation", COLOURS),
    ):
        assert "have not run" in figure.axes[0].texts[0].get_text()


def _aurocs():
    rows = [
        {"initialisation": name, "fraction": fraction, "target_epsilon": epsilon, "value": value + fraction / 10}
        for name, value in (("a", 0.7), ("b", 0.6))
        for epsilon in (1.0, 8.0)
        for fraction in (1.0, 0.25, 0.5)
    ]
    return some_contrasts(*rows, head="reset")


@pytest.mark.usefixtures("ax")
def test_lines_run_along_the_share_with_a_panel_for_what_else_differs():
    figure = plot_along(_aurocs(), "fraction", "initialisation", COLOURS)
    figure.canvas.draw()
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["epsilon 1", "epsilon 8"]
    panel = figure.axes[0]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["25%", "50%", "100%"]
    assert panel.get_xticks().tolist() == [0, 1, 2]
    lines = [line for line in panel.get_lines() if line.get_marker() in ("o", "s")]
    assert [line.get_ydata().tolist() for line in lines] == [
        pytest.approx([0.725, 0.75, 0.8]),
        pytest.approx([0.625, 0.65, 0.7]),
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


@pytest.mark.usefixtures("ax")
def test_public_only_models_are_dashed_in_the_panels_of_their_network():
    trained = [
        {"architecture": network, "target_epsilon": epsilon}
        for network in ("small", "deep")
        for epsilon in (8.0, 1.0, math.inf)
    ]
    trained = some_contrasts(*trained, initialisation="a", head="kept")
    model = {"dataset": "north", "architecture": "deep", "initialisation": "a", "value": 0.9}
    given = pd.DataFrame([model, {**model, "initialisation": "b", "value": 0.8}])
    figure = plot_along(trained, "target_epsilon", "head", {"kept": "#0072b2"}, given)
    small, deep = figure.axes
    assert [line.get_ydata()[0] for line in deep.get_lines() if line.get_linestyle() == "--"] == [0.9]
    assert not [line for line in small.get_lines() if line.get_linestyle() == "--"]
    # though the first panel has none
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["head kept", "public data only"]
    assert [label.get_text() for label in deep.get_xticklabels()] == ["epsilon 1", "epsilon 8", "no privacy"]


@pytest.mark.usefixtures("ax")
def test_a_share_has_its_place_by_doublings():
    rows = some_contrasts(*({"fraction": share} for share in (0.1, 0.2, 0.8)), initialisation="a", head="reset")
    figure = plot_along(rows, "fraction", "initialisation", COLOURS)
    assert figure.axes[0].get_xticks() == pytest.approx([0, 1, 3])


@pytest.mark.usefixtures("ax")
def test_what_was_not_tested_is_hollow_and_named_and_what_cannot_be_measured_says_so():
    rows = _rows().assign(p_adjusted=math.nan, verdict=[MISSING, UNMEASURABLE])
    first, second = plot_contrasts(rows, VERDICT_COLOURS, "verdict", "gain").axes
    assert _names(first) == ["", "epsilon 8, not tested"]
    assert [line.get_markerfacecolor() for line in first.get_lines() if line.get_marker() == "s"] == ["white"]
    assert second.texts[1].get_text() == "cannot be measured: domain"


@pytest.mark.usefixtures("ax")
def test_networks_keep_the_order_in_which_they_come():
    rows = some_contrasts({"architecture": "small"}, {"architecture": "deep"}, initialisation="a", head="reset")
    figure = plot_along(rows, "architecture", "initialisation", COLOURS)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["small", "deep"]
