"""Where a study's images, weights and runs are, which data set plays which part, and how runs are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from dpcxr_core.config import EvaluationChoice, UserError

FOLDERS = ("stores", "weights", "runs", "scores", "evaluations")  # the attributes that are folders


@dataclass(frozen=True, kw_only=True)
class StudyPlaces:
    """Where the runs of a study find and leave things.

    Attributes:
        stores: Folder of image stores, each named as its data set.
        weights: Folder of the cached stand-in weights.
        runs: Folder of the run records.
        scores: Folder of what the models of runs say of images.
        evaluations: Folder of what the scores of runs amount to.
        public_dataset: Data set of the domain pretraining; nothing about it is protected.
        private_dataset: Data set that is trained on with privacy; its test split is the internal set.
        external_datasets: Data sets that are only tested on.
        null_dataset: Test images of the private hospital in the world without group effects, if any.
        evaluation: How every run is evaluated.
    """

    stores: Path
    weights: Path
    runs: Path
    scores: Path
    evaluations: Path
    public_dataset: str
    private_dataset: str
    external_datasets: tuple[str, ...] = ()
    null_dataset: str | None = None
    evaluation: EvaluationChoice = EvaluationChoice()

    @property
    def test_datasets(self) -> tuple[str, ...]:
        """Every data set whose test images each run scores, the internal one first."""
        null = (self.null_dataset,) if self.null_dataset else ()
        return (self.private_dataset, *self.external_datasets, *null)

    @property
    def at_home(self) -> StudyPlaces:
        """The same, with the internal test set alone: for questions that other hospitals do not matter to."""
        return replace(self, external_datasets=(), null_dataset=None)

    def store(self, dataset: str) -> Path:
        """Folder of the image store of ``dataset``."""
        return self.stores / dataset


def evaluation_from(changes: Mapping[str, Any]) -> EvaluationChoice:
    """The default evaluation with ``changes``, by field; lists, as JSON and YAML have them, become tuples.

    Raises:
        UserError: A field is unknown or its value makes no sense.
    """
    known = [field.name for field in fields(EvaluationChoice)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise UserError(f"an evaluation has no {unknown}; its fields are {known}")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()
    }
    return EvaluationChoice(**values)
