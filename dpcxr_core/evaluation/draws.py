"""The draws of one run on one data set: what every difference of runs, groups and levels is made of."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.comparing.grouped import GroupedDraws

DRAWN_METRICS = ("auroc", "tpr", "fpr", "selection_rate")


@dataclass(frozen=True, eq=False)
class Draws:
    """Metrics of one run by group and finding, on the data and on each resample of its patients.

    All runs scored on one data set meet the same resamples, so row r of two runs, groups or findings belongs
    together: their difference, row by row, is a draw of the difference.

    Attributes:
        run_id: The run.
        dataset: The data set.
        findings: The findings scored and, last, "macro".
        groups: ``(group_column, group_value)`` of each group.
        values: By metric, ``(1 + n_resamples, n_groups, n_findings)`` float32; row 0 is the data. NaN where
            undefined.
        n_patients: ``(n_groups, n_findings)``: patients of the rarer class, whatever the metric; 0 where nothing is
            measured.
    """

    run_id: str
    dataset: str
    findings: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    values: Mapping[str, NDArray[np.float32]]
    n_patients: NDArray[np.int64]

    def of(self, metric: str, finding: str, column: str, value: str) -> NDArray[np.float32]:
        """``(1 + n_resamples,)`` of one metric, finding and group.

        Raises:
            UserError: There is no such metric, finding or group.
        """
        self._check(metric, self.values)
        return self.values[metric][:, *self._place(finding, column, value)]

    def degrees(self, finding: str, groups: Iterable[tuple[str, str]]) -> float:
        """Degrees of freedom of how far resamples of patients scatter, where they compare ``groups``.

        Few patients tell little of how much they vary: one degree less than the rarer class of the smallest group that
        can be measured has patients. Infinite where none can.

        Raises:
            UserError: As ``of``.
        """
        counts = [int(self.n_patients[self._place(finding, *group)]) for group in groups]
        return min((count - 1.0 for count in counts if count), default=math.inf)

    def _place(self, finding: str, column: str, value: str) -> tuple[int, int]:
        self._check(finding, self.findings)
        self._check((column, value), self.groups)
        return self.groups.index((column, value)), self.findings.index(finding)

    def _check(self, name: object, there: Collection[object]) -> None:
        if name not in there:
            raise UserError(f"the draws on {self.dataset!r} hold no {name!r}; they hold {list(there)}")


def draws_of_columns(run_id: str, dataset: str, columns: Sequence[Mapping[str, GroupedDraws]]) -> Draws:
    """The ``DRAWN_METRICS`` of all group columns beside each other."""
    values = {
        metric: np.concatenate([by_metric[metric].draws for by_metric in columns], axis=1, dtype=np.float32)
        for metric in DRAWN_METRICS
    }
    parted = [by_metric["auroc"].column for by_metric in columns]
    groups = tuple((column.name, group) for column in parted for group in column.groups)
    n_patients = np.concatenate([by_metric["auroc"].n_patients for by_metric in columns])
    return Draws(run_id, dataset, columns[0]["auroc"].findings, groups, values, n_patients)


def write_draws(path: Path, draws: Draws) -> None:
    """Write ``draws`` as an npz file of plain arrays."""
    names = {"run_id": draws.run_id, "dataset": draws.dataset, "findings": draws.findings, "groups": draws.groups}
    arrays = {name: np.array(each) for name, each in names.items()}
    arrays["n_patients"] = draws.n_patients
    arrays |= {f"values/{name}": each for name, each in draws.values.items()}
    np.savez(path, allow_pickle=False, **arrays)


def read_draws(path: Path) -> Draws:
    """The draws that ``write_draws`` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        values = {name.removeprefix("values/"): stored[name] for name in stored if name.startswith("values/")}
        return Draws(
            str(stored["run_id"]),
            str(stored["dataset"]),
            tuple(stored["findings"].tolist()),
            tuple((column, value) for column, value in stored["groups"].tolist()),
            values,
            stored["n_patients"],
        )
