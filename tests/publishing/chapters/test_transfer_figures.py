import matplotlib.pyplot as plt
import numpy as np
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.transfer.abroad import OPERATING_POINTS
from dpcxr_core.evaluation.transfer.conflicts import label_conflicts
from dpcxr_core.publishing.chapters import transfer_figures
from tests.publishing.conftest import FINDING, an_abroad, draws_around, some_drops


def test_each_finding_has_a_map_and_cells_near_chance_are_marked(ax):
    values = {FINDING: (0.3, 0.8), "pneumonia": (0.5, 0.9), "cardiomegaly": (np.nan, 0.7), "no_finding": (0.6, 0.8)}
    cells = {("a", there, name): draws_around(each[i]) for name, each in values.items() for i, there in enumerate("bc")}
    figure = transfer_figures.plot_transfer_by_finding(label_conflicts(cells, dict.fromkeys(cells, 50)))
    figure.canvas.draw()
    maps = {panel.get_title(loc="left"): panel for panel in figure.axes if panel.images}
    shown = {title: [text.get_text() for text in panel.texts] for title, panel in maps.items()}
    assert shown == {
        "pleural effusion": ["0.30\n!", "0.80"],
        "pneumonia": ["0.50\n?", "0.90"],
        "cardiomegaly": ["n/a", "0.70"],
        "no finding": ["0.60", "0.80"],
    }
    plt.close(figure)
    with pytest.raises(UserError, match="empty"):
        transfer_figures.plot_transfer_by_finding(label_conflicts(cells, dict.fromkeys(cells, 50))[:0])


def test_the_forest_has_a_row_a_condition_for_the_mean_of_the_hospitals(ax):
    transfer_figures.plot_drop_forest(some_drops(), ax)
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["domain:", "epsilon 8", "no privacy", "random:", "epsilon 8", "no privacy"]
    points = [line.get_xdata()[0] for line in ax.get_lines() if line.get_marker() in ("o", "s")]
    assert points == [0.03, 0.03, 0.08, 0.08]
    assert "mean of 2 hospitals" in ax.get_xlabel()


def test_losses_have_two_points_a_hospital(ax):
    transfer_figures.plot_losses(an_abroad().tables[OPERATING_POINTS], "macro", ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "c"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "not got back by re-tuning",
        "lost to the operating point",
    ]


def test_without_another_hospital_the_figures_say_so(ax):
    transfer_figures.plot_drop_forest(some_drops()[:0], ax)
    assert "no other hospital" in ax.texts[0].get_text()
    transfer_figures.plot_losses(an_abroad(hospitals=()).tables[OPERATING_POINTS], "macro", ax)
    assert "no other hospital" in ax.texts[1].get_text()
