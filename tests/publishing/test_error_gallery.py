from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from dpcxr_core.config import UserError
from dpcxr_core.data.simulation.prepare_simulated import DRAWN
from dpcxr_core.data.store import ImageStore
from dpcxr_core.publishing.error_gallery import confident_errors, errors_in_words, plot_errors

Y_TRUE = [0, 0, 0, 1, 1, 1, np.nan, 0]
Y_SCORE = [0.9, 0.6, 0.1, 0.05, 0.3, 0.8, 0.99, 0.5]
COHORT = pd.DataFrame({"image_id": [f"secret-{i}" for i in range(8)], "sex": list("FMFMFMFM")})
SCORES = pd.DataFrame({"image_id": COHORT["image_id"], "finding": "pneumonia", "y_true": Y_TRUE, "y_score": Y_SCORE})


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def _store(recipe):
    """Image i is of one grey, 10 i; the cohort in another order than the scores."""
    order = np.arange(8)[::-1]
    images = np.stack([np.full((4, 4), 10 * i, np.uint8) for i in order])
    return ImageStore(Path(), images, COHORT.iloc[order].reset_index(drop=True), {"recipe": {"name": recipe}})


def _errors(cohort=COHORT, threshold=0.5, n_each=2):
    return confident_errors(SCORES, cohort, "pneumonia", threshold, n_each)


def test_surest_errors_come_first_and_unlabelled_or_right_ones_never():
    assert _errors().to_numpy().tolist() == [
        ["false positive", "secret-0", 0.9],
        ["false positive", "secret-1", 0.6],
        ["false negative", "secret-3", 0.05],
        ["false negative", "secret-4", 0.3],
    ]
    assert len(_errors(n_each=9)) == 5  # a score at the threshold is a positive prediction


def test_errors_of_a_group_are_of_that_group():
    assert _errors(COHORT[COHORT["sex"] == "F"])["image_id"].tolist() == ["secret-0", "secret-4"]


def test_without_a_threshold_there_is_no_error_and_the_figure_says_none():
    nothing = _errors(threshold=float("nan"))
    assert nothing.empty
    texts = [text.get_text() for ax in plot_errors(nothing, _store(DRAWN), None).axes for text in ax.texts]
    assert texts == ["none", "none"]


def test_finding_that_was_not_scored_is_refused():
    with pytest.raises(UserError, match="no image of the cohort is scored for 'atelectasis'.*pneumonia"):
        confident_errors(SCORES, COHORT, "atelectasis", 0.5, 2)


@pytest.mark.parametrize(("recipe", "facts"), [(DRAWN, None), ("corrected", {"pictures_may_be_shown": True})])
def test_each_picture_is_its_error_under_its_score_without_an_id(recipe, facts):
    axes = [ax for ax in plot_errors(_errors(), _store(recipe), facts).axes if ax.images]
    assert [ax.images[0].get_array().flat[0] for ax in axes] == [0, 10, 30, 40]
    assert [ax.get_title() for ax in axes] == ["0.90", "0.60", "0.05", "0.30"]
    assert not any("secret" in text.get_text() for ax in axes for text in ax.findobj(plt.Text))


@pytest.mark.parametrize("facts", [None, {}, {"pictures_may_be_shown": False}, {"pictures_may_be_shown": "yes"}])
def test_restricted_pictures_are_not_shown_and_the_figure_says_why(facts):
    figure = plot_errors(_errors(), _store("corrected"), facts)
    assert figure.axes == []
    assert "not shown" in figure.texts[0].get_text()


@pytest.mark.parametrize("facts", [None, {"pictures_may_be_shown": False}])
def test_scores_of_restricted_pictures_are_not_told(facts):
    words = errors_in_words(_errors(), _store("corrected"), facts, "pneumonia", 0.5)
    assert "not shown" in words
    assert not any(digit in words for digit in "0123456789")


def test_words_say_what_is_seen():
    words = errors_in_words(_errors(), _store(DRAWN), None, "pneumonia", 0.5)
    assert "scores from 0.60 to 0.90" in words
    assert "scores from 0.05 to 0.30" in words
    assert "threshold is 0.50" in words
    assert errors_in_words(_errors().head(0), _store(DRAWN), None, "no_finding", 0.5).count(": none.") == 2
