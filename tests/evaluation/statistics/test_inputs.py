import numpy as np
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.statistics.inputs import check_labels_and_scores


@pytest.mark.parametrize(
    ("y_true", "y_score", "named"),
    [
        ([0, 1, -1], [0.1, 0.2, 0.3], "-1"),
        ([0, 1], [0.1, np.nan], "finite"),
        ([0, 1], [0.1, np.inf], "finite"),
        ([0, 1], [0.1, 0.2, 0.3], r"\(3,\)"),
    ],
)
def test_what_cannot_be_ranked_is_refused_by_name(y_true, y_score, named):
    with pytest.raises(UserError, match=named):
        check_labels_and_scores(np.array(y_true, dtype=float), np.array(y_score))


def test_scores_of_unlabelled_images_may_be_missing():
    check_labels_and_scores(np.array([0, np.nan]), np.array([0.1, np.nan]))
