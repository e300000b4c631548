import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from dpcxr_core.config import UserError
from dpcxr_core.publishing import figures
from dpcxr_core.publishing.palette import init_colours
from dpcxr_core.publishing.results import metrics_with_runs


@pytest.fixture
def aurocs(results):
    table = metrics_with_runs(*results)
    return table[(table["metric"] == "auroc") & (table["group_column"] == "all")]


def test_auroc_lines_hold_the_means_of_their_seeds(aurocs, ax):
    table = aurocs[aurocs["dataset"] == "hospital_a"]
    figures.plot_auroc_over_epsilon(table, ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "8", "no privacy"]
    for label, colour in init_colours(table["init_label"].unique()).items():
        (bars,) = [c for c in ax.containers if c.get_label() == label]
        rows = table[(table["init_label"] == label) & (table["kind"] != "public_only")]
        expected = rows.groupby("target_epsilon", dropna=False)["value"].mean()
        assert bars.lines[0].get_ydata() == pytest.approx(expected.to_numpy())
        assert to_hex(bars.lines[0].get_color()) == colour
    dashed = [line for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == [0.86]


def test_auroc_figure_refuses_mixed_tables(aurocs, ax):
    with pytest.raises(UserError, match="dataset"):
        figures.plot_auroc_over_epsilon(aurocs, ax)
    with pytest.raises(UserError, match="empty"):
        figures.plot_auroc_over_epsilon(aurocs.head(0), ax)


def test_a_figure_of_nothing_says_why(ax):
    figure = figures.nothing_to_show("no cell has run")
    assert [text.get_text() for text in figure.axes[0].texts] == ["nothing to show: no cell has run"]
    figures.write_nothing_to_show("no hospital", ax)
    assert not ax.axison


def test_gallery_shows_each_image_under_its_title_on_one_grey_scale(ax):
    images = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    figure = figures.plot_gallery(images, list("abcde"), ncols=3)
    shown = [a for a in figure.axes if a.get_images()]
    assert [a.get_title(loc="left") or a.get_title() for a in shown] == list("abcde")
    assert all(a.get_images()[0].get_clim() == (0, 255) for a in shown)
    with pytest.raises(UserError, match="5 images, 2 titles"):
        figures.plot_gallery(images, ["a", "b"])


def test_loss_shows_steps_and_their_running_mean(ax):
    ledger = pd.DataFrame({"step": range(40), "loss": [1.0, 0.0] * 20})
    figures.plot_loss(ledger, ax)
    steps, running = ax.get_lines()
    assert list(steps.get_ydata()) == list(ledger["loss"])
    assert running.get_ydata()[1:] == pytest.approx([0.5] * 39)
    with pytest.raises(UserError, match="loss"):
        figures.plot_loss(ledger[["step"]], ax)


@pytest.mark.parametrize(("n_steps", "labels"), [(39, ["one step"]), (40, ["one step", "mean of 2 steps"])])
def test_loss_of_few_steps_has_no_mean_of_one(ax, n_steps, labels):
    figures.plot_loss(pd.DataFrame({"step": range(n_steps), "loss": 1.0}), ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == labels


def test_epsilon_against_noise_has_a_line_an_accountant(ax):
    table = pd.DataFrame(
        {"noise_multiplier": [2.0, 1.0, 1.0], "epsilon": [1.0, 3.0, 4.0], "accountant": ["pld", "pld", "rdp"]}
    )
    figures.plot_epsilon_vs_noise(table, ax)
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.get_lines()}
    assert lines == {"pld": [[1.0, 3.0], [2.0, 1.0]], "rdp": [[1.0, 4.0]]}
    with pytest.raises(UserError, match="accountant"):
        figures.plot_epsilon_vs_noise(table.drop(columns="accountant"), ax)
