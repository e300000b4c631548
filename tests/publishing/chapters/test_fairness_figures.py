import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters import fairness_figures
from dpcxr_core.publishing.forest import name_rows
from dpcxr_core.publishing.palette import init_colours
from dpcxr_core.publishing.results import metrics_with_runs


def _names(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def _values(ax):
    return [bar.lines[0].get_xdata()[0] for bar in ax.containers]


def test_gap_forest_has_a_row_a_condition_with_its_value_and_noise_floor(results, ax):
    table = metrics_with_runs(*results).query("metric == 'tpr_difference' and dataset == 'hospital_b'").copy()
    table.loc[table["kind"] == "public_only", ["value", "low", "high"]] = np.nan
    fairness_figures.plot_gap_forest(table, ax)
    assert len(_names(ax)) == 3 * 3 + 1
    assert {"random, epsilon 1", "random, no privacy"} <= set(_names(ax))
    assert [text.get_text() for text in ax.texts] == [" not shown"]
    assert _values(ax) == pytest.approx([0.04] * 9)
    floors = [line for line in ax.lines if list(line.get_xdata()) == [0.01, 0.01]]
    assert len(floors) == 9
    assert ax.get_xlabel() == "TPR difference,\nmax-min by sex"


def test_privacy_is_told_without_colour(results, ax):
    table = metrics_with_runs(*results).query("metric == 'auroc_difference' and group_column == 'sex'")
    fairness_figures.plot_gap_forest(table[table["dataset"] == "hospital_a"], ax)
    markers = {bar.lines[0].get_marker() for bar in ax.containers}
    assert markers == {"o", "s", "D"}
    without = [bar for bar, name in zip(ax.containers, _names(ax), strict=True) if name.endswith("no privacy")]
    assert {bar.lines[0].get_markerfacecolor() for bar in without} == {"white"}
    assert not [line for line in ax.lines if list(line.get_xdata()) == [0.01, 0.01]]  # signed: no floor


def test_gap_forest_refuses_mixed_and_empty_tables(results, ax):
    table = metrics_with_runs(*results)
    with pytest.raises(UserError, match="dataset"):
        fairness_figures.plot_gap_forest(table, ax)
    with pytest.raises(UserError, match="empty"):
        fairness_figures.plot_gap_forest(table.head(0), ax)


def test_contrast_forest_draws_both_intervals_and_one_only_with_one_seed(ax):
    row = {"target_epsilon": 1.0, "minuend": "F", "subtrahend": "M", "group_column": "age_band", "value": 0.01}
    row |= {"low": 0.0, "high": 0.02}
    table = pd.DataFrame(
        [
            row | {"init_label": "b", "low_with_seeds": math.nan, "high_with_seeds": math.nan},
            row | {"init_label": "a", "low_with_seeds": -0.05, "high_with_seeds": 0.07},
        ]
    )
    fairness_figures.plot_contrast_forest(table, ax)
    assert _names(ax) == ["a, epsilon 1", "b, epsilon 1"]
    wide = [line for line in ax.lines if list(line.get_xdata()) == [-0.05, 0.07]]
    assert [list(line.get_ydata()) for line in wide] == [[0, 0]]
    colours = init_colours(["a", "b"])
    assert [to_hex(bar.lines[0].get_color()) for bar in ax.containers] == [colours["a"], colours["b"]]
    assert ax.get_xlabel() == "F minus M,\nby age band"


def test_held_still_has_a_row_a_way_and_a_colour_a_level(results, ax):
    chosen = "metric == 'auroc_difference' and group_column == 'sex' and dataset == 'hospital_a'"
    plain = metrics_with_runs(*results).query(f"{chosen} and init_label == 'random' and target_epsilon != 8")
    within = plain.assign(group_column="sex within AP", value=plain["value"] / 2)
    fairness_figures.plot_held_still(pd.concat([plain, within]), ax)
    assert _names(ax) == ["sex", "sex within AP"]
    assert sorted(_values(ax)) == pytest.approx([-0.02, -0.02, -0.01, -0.01])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["epsilon 1", "no privacy"]


def test_age_windows_are_a_line_a_level_in_the_order_of_age(results, ax):
    chosen = "metric == 'auroc' and group_column == 'all' and dataset == 'hospital_a' and init_label == 'random'"
    plain = metrics_with_runs(*results).query(chosen)
    windows = [plain.assign(group_column="age_window", group_value=name) for name in ("20-34", "25-39", "30-44")]
    windows[1] = windows[1].assign(value=math.nan, low=math.nan, high=math.nan)
    fairness_figures.plot_age_windows(pd.concat(windows), ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["20-34", "25-39", "30-44"]
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert list(lines) == ["epsilon 1", "epsilon 8", "no privacy"]
    assert len({line.get_linestyle() for line in lines.values()}) == 3
    expected = plain[plain["target_epsilon"] == 1.0]["value"].mean()
    assert lines["epsilon 1"].get_ydata() == pytest.approx([expected, math.nan, expected], nan_ok=True)


def test_of_many_windows_some_are_named_and_of_none_there_is_a_word(results, ax):
    chosen = "metric == 'auroc' and group_column == 'all' and dataset == 'hospital_a' and init_label == 'random'"
    plain = metrics_with_runs(*results).query(chosen)
    windows = pd.concat([plain.assign(group_column="age_window", group_value=f"{n}-{n + 14}") for n in range(30)])
    fairness_figures.plot_age_windows(windows, ax)
    assert [label.get_text() for label in ax.get_xticklabels()][:3] == ["0-14", "3-17", "6-20"]
    ax.clear()
    fairness_figures.plot_age_windows(windows.assign(value=math.nan), ax)
    assert [text.get_text() for text in ax.texts] == ["nothing to show: no window holds enough patients"]


def test_panels_are_those_that_the_table_has(results):
    table = metrics_with_runs(*results).query("dataset == 'hospital_a' and metric.str.contains('difference')")
    figure = fairness_figures.plot_panels(table, "metric", lambda rows, ax: ax.set_title(rows["metric"].iloc[0]), 2)
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes if ax.axison] == list(
        dict.fromkeys(table["metric"])
    )
    nothing = fairness_figures.plot_panels(table[:0], "metric", fairness_figures.plot_gap_forest)
    assert [text.get_text() for ax in nothing.axes for text in ax.texts] == ["nothing to show: no gap was measured"]
    plt.close("all")


@pytest.mark.parametrize("n_rows", [2, 30])
def test_panels_leave_every_row_room_for_its_name(n_rows):
    def draw(rows, ax):
        name_rows(ax, [f"initialisation {place}" for place in range(n_rows)])

    figure = fairness_figures.plot_panels(pd.DataFrame({"metric": ["tpr", "fpr"]}), "metric", draw, 2)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) == n_rows
    assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))
    plt.close("all")


def test_curves_are_a_line_a_group(ax):
    roc = pd.DataFrame({"group": ["F", "F", "M", "M"], "fpr": [0.0, 1.0] * 2, "tpr": [0.5, 1.0, 0.2, 1.0]})
    calibration = pd.DataFrame({"group": "M", "mean_score": [0.1, 0.6], "share_positive": [0.2, 0.5]})
    other = ax.figure.add_axes((0.6, 0.2, 0.3, 0.3))
    fairness_figures.plot_curves(roc, calibration, [ax, other])
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.get_lines()[:2]}
    assert lines == {"F": [[0.0, 0.5], [1.0, 1.0]], "M": [[0.0, 0.2], [1.0, 1.0]]}
    shown = {line.get_label(): line for line in other.get_lines()}
    assert shown["M"].get_xydata().tolist() == [[0.1, 0.2], [0.6, 0.5]]
    assert shown["M"].get_color() == ax.get_lines()[1].get_color()
    other.clear()
    fairness_figures.plot_curves(roc, calibration[:0], [ax, other])
    assert "or prevalences withheld" in other.texts[0].get_text()
    assert not other.axison
