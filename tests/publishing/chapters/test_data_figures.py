import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import data_figures

AGES = pd.DataFrame(
    {
        "sex": ["F"] * 3 + ["not recorded"] * 3,
        "age_from": [0, 10, 20] * 2,
        "images": [40, 12, 0, 30, 25, 90],
        "patients": [20, 3, 0, 30, 25, 9],
    }
)


@pytest.fixture(autouse=True)
def _house_style():
    with plt.rc_context():
        figures.use_house_style()
        yield
    plt.close("all")


def test_ages_have_a_panel_a_data_set_and_no_step_of_few_patients():
    figure = data_figures.plot_ages({"a": AGES, "b": AGES.head(0)})
    figure.canvas.draw()
    first, second = figure.axes
    assert [first.get_title(loc="left"), second.get_title(loc="left")] == ["a", "b"]
    women, unknown = (patch.get_data() for patch in first.patches)
    assert list(women.edges) == [0, 10, 20, 30]
    assert np.isnan(women.values[:2]).all()  # three patients, and what their sex's total less the others would tell
    assert women.values[2] == 0
    assert unknown.values[0] == 30
    assert np.isnan(unknown.values[1:]).all()  # nine patients, and the smallest other step
    crosses = [line.get_xdata().tolist() for line in first.get_lines() if line.get_marker() == "x"]
    assert crosses == [[5.0, 15.0], [15.0, 25.0]]
    assert [text.get_text() for text in second.texts] == ["no age is recorded"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["women", "men", "sex not recorded"]


def test_panels_of_many_data_sets_fit_and_reach_the_oldest():
    steps = range(0, 130, 10)
    table = pd.DataFrame(
        {"sex": "M", "age_from": steps, "images": [50] * 9 + [3, 0, 2, 0], "patients": [30] * 9 + [1] * 4}
    )
    figure = data_figures.plot_ages(dict.fromkeys("abcdefg", table))
    figure.canvas.draw()  # a layout that fails warns, and a warning is an error here
    assert len(figure.axes) == 7
    assert figure.axes[0].get_xlim() == (0, 120)
    assert [ax.get_xlabel() for ax in figure.axes] == [""] * 4 + ["age in years"] * 3
    rows = [ax.get_position() for ax in figure.axes[::3]]
    assert all(upper.y0 > lower.y1 for upper, lower in zip(rows[:-1], rows[1:], strict=True))


def test_no_age_band_tells_of_a_step_by_subtraction():
    steps = list(range(0, 130, 10))
    old = pd.DataFrame({"sex": "F", "age_from": steps, "images": 50, "patients": 30})
    old.loc[old["age_from"].isin([20, 80]), "patients"] = 6  # two are hidden among the women, one of each band
    table = pd.concat([old, old.assign(sex="M", patients=40)])
    figure = data_figures.plot_ages({"a": table})
    women, men = (np.isnan(patch.get_data().values) for patch in figure.axes[0].patches)
    for band in (slice(0, 4), slice(7, 13)):
        assert women[band].sum() + men[band].sum() >= 2
    assert women[[2, 8]].all()
    assert not women[4:7].any()


def test_images_per_patient_leaves_out_bars_of_few():
    table = pd.DataFrame({"patients": [90, 10, 5], "images": [90, 20, 200]}, index=["1", "2", "20 and more"])
    figure = data_figures.plot_images_per_patient({"a": table, "b": None})
    figure.canvas.draw()
    first, second = figure.axes
    heights = [patch.get_height() for patch in first.patches]
    assert heights[0] == pytest.approx(90 / 105)
    assert np.isnan(heights[1:]).all()  # the one less the others would tell of the five
    assert [label.get_text() for label in first.get_xticklabels()] == ["1", "2", "20+"]
    assert first.get_lines()[0].get_xdata().tolist() == [1, 2]
    assert [text.get_text() for text in second.texts] == ["no patient identifiers"]


def _prevalences():
    groups = [("all", "all"), ("view", "PA"), ("view", "not recorded"), ("age_band", "70+")]
    rows = [
        {"finding": finding, "group_column": column, "group_value": group, "value": 0.2, "low": 0.1, "high": 0.4}
        for finding in FINDINGS
        for column, group in groups
    ]
    table = pd.DataFrame(rows)
    table.loc[table["group_value"] == "70+", ["value", "low", "high"]] = np.nan
    return table


def test_prevalence_has_a_panel_a_finding_and_says_what_is_not_shown():
    figure = data_figures.plot_prevalence(_prevalences())
    figure.canvas.draw()
    assert [ax.get_title(loc="left") for ax in figure.axes] == [finding.replace("_", " ") for finding in FINDINGS]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["all images", "PA", "view not recorded", "age 70+"]
    for ax in figure.axes:
        (points,) = ax.containers
        assert points.lines[0].get_xdata().tolist() == [0.2] * 3
        assert points.lines[0].get_ydata().tolist() == [0, 1, 2]
        low, high = (caps.get_xdata()[0] for caps in points.lines[1])
        assert (low, high) == pytest.approx((0.1, 0.4))
        assert [(text.get_text(), text.get_position()[1]) for text in ax.texts] == [("not shown", 3)]


def test_prevalence_of_a_finding_without_any_number_is_drawn_empty():
    table = _prevalences()
    table.loc[table["finding"] == "pneumonia", ["value", "low", "high"]] = np.nan
    figure = data_figures.plot_prevalence(table)
    figure.canvas.draw()
    assert len(figure.axes[3].texts) == 4


def test_tables_without_what_is_drawn_are_refused():
    with pytest.raises(UserError, match="high"):
        data_figures.plot_prevalence(_prevalences().drop(columns="high"))
    with pytest.raises(UserError, match="rows"):
        data_figures.plot_prevalence(_prevalences().head(0))
    with pytest.raises(UserError, match="no data set"):
        data_figures.plot_ages({})
