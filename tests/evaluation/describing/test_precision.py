import math

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.evaluation.describing.precision import auroc_standard_error, expected_precision
from dpcxr_core.evaluation.statistics.auroc import auroc


def _simulated_standard_error(rate, n_positive, n_negative, n_draws=3000):
    """Scores whose AUROC is known: exponential, the positives slower by the odds of the AUROC."""
    rng = np.random.default_rng(0)
    y_true = np.repeat([1.0, 0.0], [n_positive, n_negative])
    scale = np.repeat([rate / (1 - rate), 1.0], [n_positive, n_negative])
    return np.std([auroc(y_true, rng.exponential(scale)) for _ in range(n_draws)])


@pytest.mark.parametrize(("rate", "n_positive", "n_negative"), [(0.8, 20, 200), (0.7, 60, 60)])
def test_standard_error_is_that_of_exponential_scores(rate, n_positive, n_negative):
    simulated = _simulated_standard_error(rate, n_positive, n_negative)
    # the standard error of a standard deviation from 3000 draws is 1.3 %; five of these
    assert auroc_standard_error(rate, n_positive, n_negative) == pytest.approx(simulated, rel=0.065)
    assert auroc_standard_error(rate, 2 * n_positive, n_negative) != pytest.approx(simulated, rel=0.065)


def test_missing_class_is_undefined_and_impossible_auroc_refused():
    assert math.isnan(auroc_standard_error(0.8, 0, 10))
    with pytest.raises(UserError, match="1.2"):
        auroc_standard_error(1.2, 5, 5)


def test_expected_precision_ignores_unknown_labels():
    cohort = pd.DataFrame(dict.fromkeys(FINDINGS, [1.0, 0.0, 0.0, np.nan]))
    table = expected_precision(cohort)
    assert table.index.to_list() == list(FINDINGS)
    assert (table["positive"] == 1).all()
    assert (table["negative"] == 2).all()
