"""Two runs compared by DeLong's test: a check of the comparison that resamples patients."""

from __future__ import annotations

from pathlib import Path

from dpcxr_core.evaluation.comparing.delong import PairedTest, delong_test
from dpcxr_core.evaluation.comparing.paired import difference_of_draws
from dpcxr_core.evaluation.resampling.intervals import percentile_interval
from dpcxr_core.study.evaluating import draws_of
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.scores import scores_on


def beside_delong(
    first: Path, second: Path, places: StudyPlaces, finding: str
) -> tuple[tuple[float, float, float], PairedTest]:
    """AUROC of the first run minus the second on the internal test set: value, low and high, and DeLong's test.

    Args:
        first: Record folder.
        second: Record folder.
        places: Of the study.
        finding: One of ``config.FINDINGS``; DeLong's test knows no mean over findings.
    """
    home = places.private_dataset
    a, b = (draws_of(folder, places)[home] for folder in (first, second))
    draws = difference_of_draws(a, b, "auroc", finding, "all", "all")
    low, high, _ = percentile_interval(draws[1:])
    both = (scores_on(folder, home, places) for folder in (first, second))
    ours, theirs = (scores[scores["finding"] == finding].set_index("image_id") for scores in both)
    test = delong_test(ours["y_true"], ours["y_score"], theirs["y_score"].loc[ours.index])
    return (float(draws[0]), low, high), test
