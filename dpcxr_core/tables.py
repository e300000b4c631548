"""The three tables that join the rooms: their columns, written down once and checked on entry."""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa

from dpcxr_core.config import FINDINGS, SPLITS, UserError

_PROBABILITY = pa.Check.in_range(0, 1)
_BINARY_OR_MISSING = pa.Check.isin([0.0, 1.0])


def _text(nullable: bool = False, **checks: object) -> pa.Column:
    return pa.Column(object, nullable=nullable, coerce=True, **checks)  # type: ignore[arg-type]


COHORT = pa.DataFrameSchema(
    {
        "dataset": _text(),
        "image_id": _text(unique=True),
        "patient_id": _text(),
        "split": _text(checks=pa.Check.isin(SPLITS)),
        "view": _text(nullable=True, checks=pa.Check.isin(["PA", "AP"])),
        "sex": _text(nullable=True, checks=pa.Check.isin(["F", "M"])),
        "age_years": pa.Column(float, checks=pa.Check.in_range(0, 120), nullable=True, coerce=True),
        "path": _text(nullable=True),
        **{finding: pa.Column(float, checks=_BINARY_OR_MISSING, nullable=True, coerce=True) for finding in FINDINGS},
    },
    strict=False,
    name="cohort table",
)

SCORES = pa.DataFrameSchema(
    {
        "run_id": _text(),
        "dataset": _text(),
        "image_id": _text(),
        "patient_id": _text(),
        "finding": _text(checks=pa.Check.isin(FINDINGS)),
        "y_true": pa.Column(float, checks=_BINARY_OR_MISSING, nullable=True, coerce=True),
        "y_score": pa.Column(float, checks=_PROBABILITY, coerce=True),
    },
    strict=True,
    name="scores table",
)

METRICS = pa.DataFrameSchema(
    {
        "run_id": _text(),
        "dataset": _text(),
        "finding": _text(),
        "metric": _text(),
        "group_column": _text(),
        "group_value": _text(),
        "n": pa.Column(int, checks=pa.Check.ge(0), coerce=True),
        "n_positive": pa.Column(int, checks=pa.Check.ge(0), coerce=True),
        "value": pa.Column(float, nullable=True, coerce=True),
        "low": pa.Column(float, nullable=True, coerce=True),
        "high": pa.Column(float, nullable=True, coerce=True),
        "noise_floor": pa.Column(float, checks=pa.Check.ge(0), nullable=True, coerce=True),
        "reason": _text(),
    },
    strict=True,
    name="metrics table",
)


def checked(table: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """``table``, with the types of ``schema``.

    Raises:
        UserError: A column is missing or holds values outside its range; the first of them are named.
    """
    missing = [column for column in schema.columns if column not in table.columns]
    if missing:
        raise UserError(f"the {schema.name} lacks the columns {missing}; it has {list(table.columns)}")
    try:
        return schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases[["column", "check", "failure_case"]].drop_duplicates().head(3)
        found = "; ".join(
            f"column {row.column!r} holds {row.failure_case!r} against {row.check}" for row in cases.itertuples()
        )
        raise UserError(f"the {schema.name} does not hold its contract: {found}") from None
