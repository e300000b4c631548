import math

import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters import representation_figures as drawn

NAN = math.nan
LEVELS = {("before_training", NAN): 0.5, ("non_private", NAN): 0.9, ("private", 8.0): 0.7, ("private", 1.0): 0.6}


@pytest.fixture
def table():
    rows = [
        {
            "init_label": label,
            "kind": kind,
            "target_epsilon": epsilon,
            "measure": measure,
            "value": value + shift,
            "low": value + shift - 0.02,
            "high": value + shift + 0.03,
        }
        for label, shift in (("random", 0.0), ("domain supervised (stand-in)", 0.05))
        for (kind, epsilon), value in LEVELS.items()
        for measure in ("effective_dimension", "probe_auroc", "end_to_end_auroc")
        if not (kind == "before_training" and measure == "end_to_end_auroc")
    ]
    return pd.DataFrame(rows)


def test_a_line_an_initialisation_in_the_order_of_levels(table, ax):
    drawn.plot_measure_over_levels(table, "effective_dimension", ax)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        "before training",
        "epsilon 1",
        "epsilon 8",
        "no privacy",
    ]
    lines = [container.lines[0] for container in ax.containers]
    assert [line.get_ydata().tolist() for line in lines] == [
        pytest.approx([0.5, 0.6, 0.7, 0.9]),
        pytest.approx([0.55, 0.65, 0.75, 0.95]),
    ]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 2
    for line in lines:
        assert abs(line.get_xdata() - [0, 1, 2, 3]).max() < 0.1
    (ends, *_) = ax.containers[0].lines[2]
    assert ends.get_segments()[0][:, 1] == pytest.approx([0.48, 0.53])


def test_measure_of_trained_models_starts_with_the_least_epsilon(table, ax):
    drawn.plot_measure_over_levels(table, "end_to_end_auroc", ax)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["epsilon 1", "epsilon 8", "no privacy"]
    assert ax.containers[0].lines[0].get_ydata().tolist() == pytest.approx([0.6, 0.7, 0.9])


def test_probe_and_head_of_a_model_share_its_row(table, ax):
    table.loc[table["measure"] == "probe_auroc", ["value", "low", "high"]] += 0.01
    drawn.plot_probe_and_head(table, ax)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names[:3] == ["random, epsilon 1", "random, epsilon 8", "random, no privacy"]
    assert len(names) == 6
    points = [(c.lines[0].get_xdata()[0], round(c.lines[0].get_ydata()[0])) for c in ax.containers]
    heads, probes = points[:6], points[6:]
    assert [place for _, place in heads] == [place for _, place in probes] == list(range(6))
    assert [at for at, _ in heads] == pytest.approx([0.6, 0.7, 0.9, 0.65, 0.75, 0.95])
    assert [at for at, _ in probes] == pytest.approx([0.61, 0.71, 0.91, 0.66, 0.76, 0.96])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["own head", "linear probe"]


def test_measure_that_is_not_there_is_refused(table, ax):
    with pytest.raises(UserError, match="displacement"):
        drawn.plot_measure_over_levels(table, "displacement", ax)
