"""Where a study's images, weights and runs are, and which data set plays which part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class StudyPlaces:
    """Where the runs of a study find and leave things.

    Attributes:
        stores: Folder of image stores, each named as its data set.
        weights: Folder of the cached stand-in weights.
        runs: Folder of the run records.
        public_dataset: Data set of the domain pretraining; nothing about it is protected.
        private_dataset: Data set that is trained on with privacy; its test split is the internal set.
        external_datasets: Data sets that are only tested on.
        null_dataset: Test images of the private hospital in the world without group effects, if any.
        n_resamples: Bootstrap resamples of every interval.
    """

    stores: Path
    weights: Path
    runs: Path
    public_dataset: str
    private_dataset: str
    external_datasets: tuple[str, ...] = ()
    null_dataset: str | None = None
    n_resamples: int = 300

    @property
    def test_datasets(self) -> tuple[str, ...]:
        """Every data set whose test images each run scores, the internal one first."""
        null = (self.null_dataset,) if self.null_dataset else ()
        return (self.private_dataset, *self.external_datasets, *null)

    def store(self, dataset: str) -> Path:
        """Folder of the image store of ``dataset``."""
        return self.stores / dataset
