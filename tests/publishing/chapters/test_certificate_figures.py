import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.chapters import certificate_figures


@pytest.fixture
def ax():
    with matplotlib.rc_context():
        figures.use_house_style()
        yield plt.subplots()[1]
        plt.close("all")


NEEDED = pd.DataFrame(
    [
        {
            "dataset": dataset,
            "privacy_unit": "image",
            "expected_batch_size": 128,
            "target_epsilon": target,
            "noise_multiplier": noise,
            "noise_multiplier_rdp": 1.1 * noise,
        }
        for dataset, factor in (("A", 1.0), ("B", 2.0))
        for target, noise in ((0.9, 3.0 * factor), (9.5, 0.6 * factor))
    ]
)
SPENDING = pd.DataFrame(
    [
        {
            "dataset": dataset,
            "expected_batch_size": 128,
            "calibrated_by": "RDP",
            "epoch": epoch,
            "epsilon_pld": factor * epoch**0.3,
        }
        for dataset, factor in (("A", 1.2), ("B", 2.0))
        for epoch in (1, 20, 150)
    ]
)


def test_needed_noise_has_a_row_a_training_and_two_points_a_target(ax):
    certificate_figures.plot_needed(NEEDED, ax)
    ax.figure.canvas.draw()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["A, image", "B, image"]
    points = {line.get_label(): line.get_xydata().tolist() for line in ax.lines if "epsilon" in str(line.get_label())}
    assert points["epsilon 0.9, PLD"] == [[3.0, 0], [6.0, 1]]
    assert points["epsilon 9.5, RDP"] == pytest.approx(pd.DataFrame([[0.66, 0], [1.32, 1]]).to_numpy())
    low, high = ax.get_xlim()
    assert low < 0.6
    assert high > 6.6


def test_spending_has_a_line_a_data_set_above_the_ranges(ax):
    certificate_figures.plot_spending(SPENDING, ax)
    ax.figure.canvas.draw()
    assert [line.get_label() for line in ax.lines] == ["A", "B"]
    assert ax.lines[0].get_xydata()[0].tolist() == [1, 1.2]
    assert [text.get_text() for text in ax.texts] == ["0 to 1", "1 to 3", "3 to 10"]


def test_mixed_or_empty_tables_are_refused(ax):
    with pytest.raises(UserError, match="one expected batch size"):
        certificate_figures.plot_needed(NEEDED.assign(expected_batch_size=[1, 1, 2, 2]), ax)
    with pytest.raises(UserError, match="one batch size and one way"):
        certificate_figures.plot_spending(SPENDING.head(0), ax)
