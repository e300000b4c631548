"""Tables of several hospitals as one: what nobody should take on trust is checked, and what does not fit is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from dpcxr_core.collecting.certificate_checks import check_certificate
from dpcxr_core.collecting.shareable import DECIMALS, more_digits_in, shareable_claims, small_counts_in
from dpcxr_core.collecting.tables_folder import StudyTables, read_tables, record_values, runs_of, write_tables
from dpcxr_core.config import UserError, content_key
from dpcxr_core.tables import METRICS, checked

_COUNT = pa.Column("Int64", nullable=True, coerce=True)
_SHAREABLE_METRICS = METRICS.remove_columns(["n", "n_positive"]).add_columns({"n": _COUNT, "n_positive": _COUNT})
_ABOUT_ONE_PATIENT = ("patient_id", "image_id")
_ABOUT_ALL_RUNS = ("claims", "verdicts")
_ORIGIN = "tables"  # their column, once merged


def merge_tables(folders: Sequence[Path], out: Path) -> Path:
    """``out``, now holding what all of ``folders`` hold, checked; nothing is written where anything is refused.

    Runs that several folders hold, with the same weights, are there once, as one of their machines recorded them. A
    cell that one of them did is done. The runs table is made anew from the records. Claims and verdicts are those of
    each part, one below the other, with the part's name (``origins``) in the column ``tables``. None is made of all
    runs together: its tests would need draws, which stay in the hospitals.

    Raises:
        UserError: Tables cannot be read, hold counts from 1 to 9, numbers that were not rounded or rows about single
            patients, were evaluated in different ways, name runs without a record, or differ about the same run; a
            certificate is not the one that its configuration gives; or ``out`` holds something else, or is one of
            ``folders``.
        AccountantsDisagreeError: As ``certify``.
    """
    _check_out(out, folders)
    tables = {folder: _checked(folder, read_tables(folder)) for folder in folders}
    _check_same_evaluation(tables)
    _check_same_runs(tables)
    return write_tables(out, _merged(list(tables.values())))


def origins(found: StudyTables) -> list[str]:
    """Names of the tables that the claims in ``found`` are from, which are several once tables were merged.

    A name is that of the study and twelve hex digits of its runs and claims: whoever merges what, it is the same.
    """
    return list(dict.fromkeys(name for table in _with_origin(found).values() for name in table[_ORIGIN]))


def _check_out(out: Path, folders: Sequence[Path]) -> None:
    if out.resolve() in [folder.resolve() for folder in folders]:
        raise UserError(f"--out {out} is one of the folders to merge; name another, as they stay as they are")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} exists already; name a folder that does not, or delete it")


def _checked(folder: Path, found: StudyTables) -> StudyTables:
    """``found``, its metrics typed; refused where no hospital should hand it out, or its records do not bear it out."""
    for name, table in found.tables.items():
        for column in _ABOUT_ONE_PATIENT:
            if column in table:
                raise UserError(
                    f"{folder / name}.parquet has the column {column}, about single patients; do not pass it on"
                )
    metrics = checked(found.tables["metrics"], _SHAREABLE_METRICS)
    _check_shareable(folder / "metrics.parquet", metrics)
    named = {"metrics": set(metrics["run_id"]), "cells": set(found.tables["cells"]["run_id"].dropna())}
    for name, run_ids in named.items():
        if run_ids != set(found.records):
            odd = sorted(run_ids ^ set(found.records))
            raise UserError(
                f"{folder}: {name}.parquet and records/ are not about the same runs; {odd[0]} is in one only"
            )
    for run_id, record in found.records.items():
        if record.run_id != run_id:
            raise UserError(f"{folder / 'records' / run_id}.json is the record of {record.run_id}; files were renamed")
        check_certificate(record)
    return replace(found, tables={**found.tables, "metrics": metrics})


def _check_shareable(path: Path, metrics: pd.DataFrame) -> None:
    refused = {
        "counts of images, positives or negatives from 1 to 9": small_counts_in(metrics),
        f"numbers of more than {DECIMALS} decimals": more_digits_in(metrics),
    }
    for what, rows in refused.items():
        if len(rows):
            where = ", ".join(str(rows.iloc[0][name]) for name in ("dataset", "finding", "group_column", "group_value"))
            raise UserError(
                f"{path} holds {len(rows)} rows with {what} (the first: {where}), which can point at people; have it "
                "collected again by dpcxr study, which hides counts and rounds"
            )


def _check_same_evaluation(tables: Mapping[Path, StudyTables]) -> None:
    (first, reference), *others = [(folder, asdict(found.evaluation)) for folder, found in tables.items()]
    for folder, choice in others:
        differing = [
            f"{name} is {reference[name]} and {choice[name]}" for name in choice if choice[name] != reference[name]
        ]
        if differing:
            raise UserError(
                f"{first} and {folder} were not evaluated alike: {'; '.join(differing)}. Agree on the key "
                "evaluation of the study file and call dpcxr study again: nothing is trained again"
            )


def _check_same_runs(tables: Mapping[Path, StudyTables]) -> None:
    seen: dict[str, Path] = {}
    for folder, found in tables.items():
        for run_id in found.records:
            first = seen.setdefault(run_id, folder)
            if first == folder:
                continue
            for what, content in _CONTENTS.items():
                if content(tables[first], run_id) != content(found, run_id):
                    raise UserError(
                        f"{first} and {folder} have different {what} of the run {run_id}: it was made twice, with two "
                        "outcomes. Merge without one of these folders; or take the cell of that run, and those that "
                        "start from its weights, out of one study file and call dpcxr study again, which trains nothing"
                    )


def _outcome_of(found: StudyTables, run_id: str) -> dict[str, Any]:
    """What is the same wherever a run is made, if its weights are: not the machine, nor what was measured on it."""
    values = record_values(found.records[run_id])
    return {name: values[name] for name in ("config", "init_label", "data")}  # the certificate was checked with these


def _metrics_of(found: StudyTables, run_id: str) -> str:
    metrics = found.tables["metrics"]
    columns = list(METRICS.columns)
    return metrics.loc[metrics["run_id"] == run_id, columns].sort_values(columns).to_csv(index=False)


_CONTENTS: Mapping[str, Callable[[StudyTables, str], object]] = {
    "records": _outcome_of,
    "metrics": _metrics_of,
}


def _merged(parts: Sequence[StudyTables]) -> StudyTables:
    every = [record for found in parts for record in found.records.values()]
    every.sort(key=lambda record: (record.run_id, json.dumps(record_values(record), sort_keys=True)))
    records = {record.run_id: record for record in every}  # one, whichever order the parts are in
    tables = {
        "cells": _merged_cells([found.tables["cells"] for found in parts]),
        "runs": runs_of(records.values()),
        "metrics": _once([found.tables["metrics"] for found in parts], "run_id"),
    }
    with_origin = [_with_origin(found) for found in parts]
    for name in _ABOUT_ALL_RUNS:
        if of_parts := [each[name] for each in with_origin if each]:
            tables[name] = _once(of_parts, _ORIGIN)
    costs = [found.tables["costs"] for found in parts if "costs" in found.tables]
    if costs:
        tables["costs"] = _once(costs, "cell")
    studies = tuple(dict.fromkeys(name for found in parts for name in found.studies))
    return StudyTables(studies, parts[0].evaluation, tables, records)


def _with_origin(found: StudyTables) -> dict[str, pd.DataFrame]:
    """Claims and verdicts of ``found``, each row with the name of the tables it is from; nothing where it has none."""
    if not set(_ABOUT_ALL_RUNS) <= set(found.tables):
        return {}
    tables = {name: found.tables[name] for name in _ABOUT_ALL_RUNS}
    tables["claims"] = shareable_claims(tables["claims"], found.tables["metrics"])
    if all(_ORIGIN in table for table in tables.values()):
        return tables
    key = content_key(sorted(found.records), tables["claims"].to_csv(index=False))
    named = {_ORIGIN: f"{'-'.join(found.studies)}-{key}"}
    return {name: table.assign(**named)[[_ORIGIN, *table.columns]] for name, table in tables.items()}


def _once(tables: Sequence[pd.DataFrame], by: str) -> pd.DataFrame:
    """The rows of all ``tables``, each once, in an order that does not depend on that of the tables."""
    return pd.concat(tables).drop_duplicates().sort_values(by, kind="stable", ignore_index=True)


def _merged_cells(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Every cell in the state it came furthest to: done, then failed, then missing; done twice, it has two rows."""
    cells = pd.concat(tables, ignore_index=True).sort_values(["cell", "run_id"], ignore_index=True)
    rank = cells["state"].map({"done": 0, "failed": 1, "missing": 2})
    best = rank.groupby(cells["cell"]).transform("min")
    return cells[rank == best].drop_duplicates(["cell", "run_id"], ignore_index=True)
