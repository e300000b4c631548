"""The folder of tables that a study is collected into, and that hospitals exchange.

``tables.json`` says which studies are in it, how their runs were evaluated, and, as a key, what it is made of. Beside
it lie one Parquet file a table, and ``records/<run_id>.json``, the run records less their times. Times are in
``costs.parquet`` alone, so that all other files are the same for the same runs, whenever and however often the study
was interrupted.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.collecting.up_to_date import STATED_FILE
from dpcxr_core.config import EvaluationChoice, UserError, run_config_from_dict
from dpcxr_core.files import write_json
from dpcxr_core.study.places import evaluation_from
from dpcxr_core.study.run_table import run_row, without_folder
from dpcxr_core.training.record import RunRecord

NEEDED = ("cells", "runs", "metrics")
OPTIONAL = ("claims", "verdicts", "costs")
_HALF_DONE = ".partial"
_SECONDS_OF_A_CALL = 3600  # more than any takes


@dataclass(frozen=True, eq=False)
class StudyTables:
    """What a folder of tables holds.

    Attributes:
        studies: Names of the studies.
        evaluation: How every run was evaluated.
        tables: By name. ``cells``: as ``planning.cells.cells_table``, with ``state`` ("done", "failed" or "missing")
            and ``run_id``. ``runs``: ``runs_of`` the records. ``metrics``: as ``shareable_metrics``. ``claims``,
            ``verdicts``: as ``study.verdicts``; of merged tables ``tables`` comes first, the part that a row is about.
            ``costs``: seconds by cell.
        records: The run records by ``run_id``, without seconds.
    """

    studies: tuple[str, ...]
    evaluation: EvaluationChoice
    tables: Mapping[str, pd.DataFrame]
    records: Mapping[str, RunRecord]


def runs_of(records: Iterable[RunRecord]) -> pd.DataFrame:
    """One row a run, as ``study.run_table.runs_table`` but for the seconds."""
    return pd.DataFrame([run_row(record) for record in records]).drop(columns="seconds", errors="ignore")


def write_tables(folder: Path, found: StudyTables, made_of: str | None = None) -> Path:
    """``folder``, now holding ``found`` in place of what it held before: all of it, or, after an error, none.

    What calls that were killed left half done beside it is swept away, an hour after.

    Args:
        folder: The folder of tables.
        found: What it shall hold.
        made_of: As ``up_to_date.made_of`` the study; None for tables that are not those of one study here.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=_HALF_DONE) as beside:
        made = Path(beside) / "made"
        stated = {"studies": found.studies, "evaluation": asdict(found.evaluation), "made_of": made_of}
        write_json(made / STATED_FILE, stated)
        for name, table in found.tables.items():
            table.to_parquet(made / f"{name}.parquet", index=False)
        for run_id, record in found.records.items():
            write_json(made / "records" / f"{run_id}.json", record_values(record))
        if folder.exists():
            os.rename(folder, Path(beside) / "before")
        os.rename(made, folder)
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.*{_HALF_DONE}"):
        if leftover.stat().st_mtime < time.time() - _SECONDS_OF_A_CALL:  # others may be of a call that is at it
            shutil.rmtree(leftover)
    return folder


def read_tables(folder: Path) -> StudyTables:
    """The tables in ``folder``.

    Raises:
        UserError: A file is missing or cannot be read.
    """
    needed = [STATED_FILE, *(f"{name}.parquet" for name in NEEDED)]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder} holds no tables of a study: no {', '.join(missing)}. Name the folder that dpcxr study left"
        )
    try:
        stated = json.loads((folder / STATED_FILE).read_text())
        there = [name for name in (*NEEDED, *OPTIONAL) if (folder / f"{name}.parquet").is_file()]
        return StudyTables(
            studies=tuple(stated["studies"]),
            evaluation=evaluation_from(stated["evaluation"]),
            tables={name: pd.read_parquet(folder / f"{name}.parquet") for name in there},
            records={path.stem: _read_record(path) for path in sorted((folder / "records").glob("*.json"))},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the tables in {folder} cannot be read ({error}); have them collected again") from None


def record_values(record: RunRecord) -> dict[str, Any]:
    """``record`` as JSON values that may leave a hospital: without its seconds, and without where weights lay."""
    values = json.loads(json.dumps(asdict(record)))
    del values["seconds"]
    values["config"]["init_name"] = without_folder(record.config.init_name)
    return values


def _read_record(path: Path) -> RunRecord:
    values = json.loads(path.read_text())
    return RunRecord(**{**values, "config": run_config_from_dict(values["config"]), "seconds": {}})
