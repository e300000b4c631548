import numpy as np
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.statistics.inputs import check_labels_scores_weights


@pytest.mark.parametrize(
    ("y_true", "y_score", "n_weights", "named"),
    [
        ([0, 1, -1], [0.1, 0.2, 0.3], 3, "-1"),
        ([0, 1], [0.1, np.nan], 2, "finite"),
        ([0, 1], [0.1, np.inf], 2, "finite"),
        ([0, 1], [0.1, 0.2, 0.3], 2, r"\(3,\)"),
        ([0, 1], [0.1, 0.2], 3, r"\(1, 3\)"),
    ],
)
def test_what_cannot_be_ranked_is_refused_by_name(y_true, y_score, n_weights, named):
    with pytest.raises(UserError, match=named):
        check_labels_scores_weights(np.array(y_true, dtype=float), np.array(y_score), np.ones((1, n_weights)))


def test_scores_of_unlabelled_images_may_be_missing():
    check_labels_scores_weights(np.array([0, np.nan]), np.array([0.1, np.nan]), np.ones((1, 2)))
