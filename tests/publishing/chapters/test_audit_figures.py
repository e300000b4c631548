import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters.audit_figures import plot_attack

CURVE = pd.DataFrame({"fpr": [0.0, 0.0, 0.01, 0.5, 1.0], "tpr": [0.0, 0.2, 0.3, 0.9, 1.0]})
ALLOWED = pd.DataFrame({"fpr": [1e-4, 0.01, 1.0], "tpr": [0.1, 0.6, 1.0]})


def test_each_attack_is_drawn_with_the_bound_and_guessing(ax):
    plot_attack({"with": CURVE, "without": CURVE}, ALLOWED, ax)
    labels = ax.get_legend_handles_labels()[1]
    assert labels == ["forbidden by the certificate", "guessing", "with", "without"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    drawn = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_array_equal(drawn["with"].get_ydata(), [0.3, 0.9, 1.0])  # a rate of zero has no logarithm
    bound = ax.get_lines()[0]
    np.testing.assert_array_equal(bound.get_ydata(), ALLOWED["tpr"])


@pytest.mark.parametrize("n_curves", [0, 5])
def test_too_few_or_too_many_attacks_are_refused(ax, n_curves):
    with pytest.raises(UserError, match="from 1 to 4"):
        plot_attack({str(number): CURVE for number in range(n_curves)}, ALLOWED, ax)
