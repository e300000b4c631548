"""One run's scores beside the patients they belong to, as aligned arrays for each data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dpcxr_core.config import FINDINGS, EvaluationChoice, UserError
from dpcxr_core.evaluation.groups import KNOWN_COLUMNS, GroupColumn, group_columns, recorded_in, strata_of
from dpcxr_core.evaluation.resampling.patients import Resamples, resamples_of, resampling_rng
from dpcxr_core.tables import COHORT, SCORES, checked


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """Scores of one run on the images of one data set, ordered by ``image_id``.

    Attributes:
        run_id: The run.
        dataset: The data set.
        findings: The findings scored, in the order of ``config.FINDINGS``; F of them.
        image_ids: ``(n_images,)``.
        patient_ids: ``(n_images,)``.
        y_true: ``(n_images, F)`` of 1, 0 and NaN (no reference label).
        y_score: ``(n_images, F)``; NaN only where ``y_true`` is.
        columns: How the images are parted into groups; "all" first.
        strata: ``(n_images,)`` of text: recorded sex and age band, within which patients are resampled.
    """

    run_id: str
    dataset: str
    findings: tuple[str, ...]
    image_ids: NDArray[np.object_]
    patient_ids: NDArray[np.object_]
    y_true: NDArray[np.float64]
    y_score: NDArray[np.float64]
    columns: tuple[GroupColumn, ...]
    strata: NDArray[np.object_]


def scored_images(scores: pd.DataFrame, cohort: pd.DataFrame, choice: EvaluationChoice) -> list[ScoredImages]:
    """The data sets of one run's scores table, each joined with its patients.

    Args:
        scores: SCORES table of one run.
        cohort: COHORT table that holds at least the images scored, of all data sets.
        choice: Names the group columns and the edges of the age bands.

    Returns:
        One entry per data set, in the order of the table.

    Raises:
        UserError: A table does not hold its contract, there is not exactly one run, an image and finding is
            scored twice, an image is missing from the cohort or belongs to another patient there, or no data set has
            one of the group columns.
    """
    scores, cohort = checked(scores, SCORES), checked(cohort, COHORT)
    _refuse_unknown_columns(cohort, choice)
    one_run_id(scores)
    repeated = scores[scores.duplicated(["image_id", "finding"])]
    if len(repeated):
        image_id, finding = repeated.iloc[0][["image_id", "finding"]]
        raise UserError(f"image {image_id!r} is scored more than once for {finding}. Keep one row of each.")
    by_image = cohort.set_index("image_id")
    return [_one_dataset(part, by_image, choice) for _, part in scores.groupby("dataset", sort=False)]


def shared_resamples(images: ScoredImages, choice: EvaluationChoice) -> Resamples:
    """The resamples of patients that every run scored on these images meets: by ``choice.seed`` and data set."""
    rng = resampling_rng(choice.seed, images.dataset)
    return resamples_of(images.patient_ids, images.strata, choice.n_resamples, rng)


def one_run_id(scores: pd.DataFrame) -> str:
    """The one run that a scores table holds.

    Raises:
        UserError: The table holds no run, or several.
    """
    run_ids = scores["run_id"].unique().tolist()
    if len(run_ids) != 1:
        raise UserError(f"the scores table must hold exactly one run; it holds {run_ids}. Pass one at a time.")
    return run_ids[0]


def _refuse_unknown_columns(cohort: pd.DataFrame, choice: EvaluationChoice) -> None:
    for name in choice.group_columns:
        if name not in KNOWN_COLUMNS and not recorded_in(cohort, name):
            raise UserError(
                f"group_columns names {name!r}, which no data set records. Take one of {', '.join(KNOWN_COLUMNS)}, "
                f"or a column of the cohort table: {', '.join(cohort.columns)}."
            )


def _one_dataset(scores: pd.DataFrame, by_image: pd.DataFrame, choice: EvaluationChoice) -> ScoredImages:
    wide = scores.pivot(index="image_id", columns="finding", values=["y_true", "y_score"])
    present = scores["finding"].unique()
    findings = tuple(finding for finding in FINDINGS if finding in present)
    missing = wide.index.difference(by_image.index)
    if len(missing):
        raise UserError(
            f"{len(missing)} scored images are not in the cohort table, {missing[0]!r} first. "
            "Pass the cohort the scores were made from."
        )
    cohort = by_image.loc[wide.index]
    recorded = cohort.loc[scores["image_id"], ["dataset", "patient_id"]].to_numpy()
    differing = (recorded != scores[["dataset", "patient_id"]].to_numpy()).any(axis=1)
    if differing.any():
        image_id = scores["image_id"].to_numpy()[differing][0]
        raise UserError(
            f"image {image_id!r} has another data set or patient in the cohort table. "
            "Pass the cohort the scores were made from."
        )
    return ScoredImages(
        run_id=str(scores["run_id"].iloc[0]),
        dataset=str(scores["dataset"].iloc[0]),
        findings=findings,
        image_ids=wide.index.to_numpy(dtype=object),
        patient_ids=cohort["patient_id"].to_numpy(dtype=object),
        y_true=wide["y_true"][list(findings)].to_numpy(dtype=float),
        y_score=wide["y_score"][list(findings)].to_numpy(dtype=float),
        columns=group_columns(cohort, choice),
        strata=strata_of(cohort, choice),
    )
