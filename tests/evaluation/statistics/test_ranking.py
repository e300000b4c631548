import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.statistics.ranking import rankings

# few distinct scores, so that most examples hold ties
IMAGES = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, np.nan]), st.integers(-3, 3), st.integers(0, 2), st.integers(0, 4)),
    min_size=1,
    max_size=20,
)


@settings(derandomize=True, deadline=None)
@given(IMAGES)
def test_a_ranking_counts_the_repeated_images_at_each_score(images):
    y_true, y_score, first, unit = np.array(images, dtype=float).T
    unit = unit.astype(int)
    weights = np.array([first[:5].tolist() + [1] * (5 - len(first[:5])), [1, 0, 2, 3, 1]]).astype(np.uint16)
    (ranking,) = rankings(y_true, y_score, weights, unit)
    cuts = np.unique(y_score[y_true == 1])[::-1]
    for row, of_image in enumerate(weights[:, unit]):
        true, score = np.repeat(y_true, of_image), np.repeat(y_score, of_image)
        assert ranking.positives[row].tolist() == [np.sum((true == 1) & (score == cut)) for cut in cuts]
        assert ranking.negatives[row].tolist() == [np.sum((true == 0) & (score >= cut)) for cut in cuts]
        assert ranking.n_negatives[row] == np.sum(true == 0)
        ties = sum(np.sum((true == 0) & (score == cut)) * np.sum((true == 1) & (score == cut)) for cut in cuts)
        assert ranking.tied_pairs[row] == ties


def test_chunks_cover_every_row_once_and_in_order():
    rng = np.random.default_rng(0)
    y_true, y_score = rng.integers(0, 2, 200), rng.random(200)
    weights = rng.integers(0, 3, (300, 200))
    positives = np.concatenate([ranking.positives for ranking in rankings(y_true, y_score, weights)])
    order = np.argsort(-y_score[y_true == 1])
    np.testing.assert_array_equal(positives, weights[:, y_true == 1][:, order])


def test_units_and_images_must_match():
    with pytest.raises(UserError, match="same images"):
        next(rankings([0, 1, 1], [0.1, 0.2, 0.3], np.ones((2, 2), dtype=int)))
    with pytest.raises(UserError, match="same images"):
        next(rankings([0, 1, 1], [0.1, 0.2, 0.3], np.ones((2, 2), dtype=int), np.array([0, 1])))
