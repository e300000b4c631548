"""The errors that a run is most sure of, as pictures where these may be shown: of one finding, of all or of a group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from dpcxr_core.config import UserError
from dpcxr_core.data.describing.origins import pictures_may_be_shown
from dpcxr_core.data.store import ImageStore

_ROWS = {"false positive": "without the finding,\nhighest scores", "false negative": "with the finding,\nlowest scores"}
_NOT_SHOWN = "Errors of this data set are not shown: nothing here says that its pictures may be."


def confident_errors(
    scores: pd.DataFrame, cohort: pd.DataFrame, finding: str, decision_threshold: float, n_each: int
) -> pd.DataFrame:
    """The most confident errors, surest first: rows of ``kind image_id y_score``, at most ``n_each`` of each kind.

    A false positive has a score at or above the decision threshold, a false negative one below it.

    Args:
        scores: SCORES of one run.
        cohort: COHORT rows of the images to choose from: all of a data set, or those of a group.
        finding: One of ``config.FINDINGS``.
        decision_threshold: Of that finding; NaN, which decides nothing, gives no error.
        n_each: Greater than 0.

    Raises:
        UserError: Nothing is scored for that finding.
    """
    rows = scores[(scores["finding"] == finding) & scores["image_id"].isin(cohort["image_id"])]
    if rows.empty:
        raise UserError(
            f"no image of the cohort is scored for {finding!r}; scored are {sorted(scores['finding'].unique())}."
        )
    wrong = {
        "false positive": rows[(rows["y_true"] == 0) & (rows["y_score"] >= decision_threshold)].nlargest(
            n_each, "y_score"
        ),
        "false negative": rows[(rows["y_true"] == 1) & (rows["y_score"] < decision_threshold)].nsmallest(
            n_each, "y_score"
        ),
    }
    return pd.concat([each.assign(kind=kind) for kind, each in wrong.items()])[["kind", "image_id", "y_score"]]


def plot_errors(errors: pd.DataFrame, store: ImageStore, facts: Mapping[str, Any] | None) -> Figure:
    """A figure of the errors, false positives above false negatives, each picture under its score and no other word.

    Args:
        errors: From ``confident_errors``.
        store: Holds the pictures. Where they may not be shown, the figure says so and shows none.
        facts: Its manifest, see ``origins.facts_of_store``.
    """
    if not pictures_may_be_shown(store, dict(facts) if facts else None):
        figure = plt.figure(figsize=(7.2, 0.6))
        figure.text(0.5, 0.5, _NOT_SHOWN, ha="center", va="center", fontsize=10)
        return figure
    place = pd.Index(store.cohort["image_id"])
    ncols = max([4, *errors["kind"].value_counts()])
    figure, axes = plt.subplots(2, ncols, figsize=(7.2, 2.4 * 7.2 / (ncols + 1)), squeeze=False)
    for panels, (kind, words) in zip(axes, _ROWS.items(), strict=True):
        rows = errors[errors["kind"] == kind]
        for ax in panels:
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.grid(visible=False)
        panels[0].set_ylabel(words, fontsize=9)
        for ax, row in zip(panels, rows.itertuples(), strict=False):
            ax.imshow(store.images[place.get_loc(row.image_id)], cmap="gray", vmin=0, vmax=255)
            ax.set_title(f"{row.y_score:.2f}", fontsize=9)
        if rows.empty:
            panels[0].text(0.5, 0.5, "none", ha="center", va="center", transform=panels[0].transAxes)
    return figure


def errors_in_words(
    errors: pd.DataFrame, store: ImageStore, facts: Mapping[str, Any] | None, finding: str, decision_threshold: float
) -> str:
    """What ``plot_errors`` shows, in two sentences: the range of scores in each row, beside the threshold.

    A few scores are of a few patients: they are told where the pictures may be shown.
    """
    if not pictures_may_be_shown(store, dict(facts) if facts else None):
        return _NOT_SHOWN
    name = finding.replace("_", " ")
    above, below = (_range(errors[errors["kind"] == kind]["y_score"]) for kind in _ROWS)
    return (
        f"Above, images labelled as without *{name}* that the model is most sure have it: {above}. "
        f"Below, images labelled as with *{name}* that it is most sure have not: {below}. "
        f"The decision threshold is {decision_threshold:.2f}."
    )


def _range(values: pd.Series) -> str:
    return "none" if values.empty else f"scores from {values.min():.2f} to {values.max():.2f}"
