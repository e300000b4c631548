"""From a set's own label codes to 1, 0 or unknown: every choice a named policy, kept as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.counted import counted
from dpcxr_core.data.manifests import with_known_keys

CODE = "code_"  # the column "code_pneumonia" holds the set's own coding of pneumonia
POLICY_NAMES = ("as_published", "u_zero", "u_one", "u_ignore")
_VALUES: dict[int | str, float] = {1: 1.0, 0: 0.0, "missing": np.nan}


@dataclass(frozen=True)
class LabelPolicy:
    """What each code means. An image without a code has no label under any policy.

    Attributes:
        name: As the manifest says; every set with codes has those of ``POLICY_NAMES``, and may have more.
        values: Finding -> code -> 1, 0 or NaN.
        left_out_code: Code that makes an image leave the study ...
        left_out_labels: ... if one of these labels carries it.
    """

    name: str
    values: Mapping[str, Mapping[str, float]]
    left_out_code: str = ""
    left_out_labels: Sequence[str] = ()


def policies_of(facts: Mapping[str, Any]) -> dict[str, LabelPolicy]:
    """The policies that a data set's manifest states, by name.

    The manifest's ``policies`` maps a name to ``values`` (code -> 1, 0 or missing, for all findings), ``findings``
    (finding -> codes that differ there) and ``leave_out`` (``code`` and ``labels``).

    Raises:
        UserError: A key, a finding or a code is unknown, a value is not 1, 0 or missing, or something is not stated.
    """
    if not isinstance(facts["policies"], Mapping):
        raise UserError(f"policies must map names to what codes mean; got {facts['policies']!r}")
    codes = tuple(map(str, facts["codes"]))
    return {name: _policy(name, stated, codes) for name, stated in facts["policies"].items()}


def _policy(name: str, stated: object, codes: Sequence[str]) -> LabelPolicy:
    where = f"policies.{name}"
    keys = with_known_keys(where, stated, ("values", "findings", "leave_out"))
    if not keys.get("values"):
        raise UserError(f"{where}.values is missing; say there what each code means: {', '.join(codes)}")
    values = _values(f"{where}.values", keys["values"], codes)
    findings = with_known_keys(f"{where}.findings", keys.get("findings", {}), FINDINGS)
    differing = {finding: _values(f"{where}.findings.{finding}", each, codes) for finding, each in findings.items()}
    code, labels = _left_out(f"{where}.leave_out", keys["leave_out"], codes) if "leave_out" in keys else ("", ())
    return LabelPolicy(
        name=name,
        values={finding: {**values, **differing.get(finding, {})} for finding in FINDINGS},
        left_out_code=code,
        left_out_labels=labels,
    )


def _values(where: str, stated: object, codes: Sequence[str]) -> dict[str, float]:
    values = with_known_keys(where, stated, codes)
    for code, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | str) or value not in _VALUES:
            raise UserError(f"{where}.{code}: a code means 1, 0 or missing; got {value!r}")
    return {code: _VALUES[value] for code, value in values.items()}


def _left_out(where: str, stated: object, codes: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    keys = with_known_keys(where, stated, ("code", "labels"))
    code, labels = str(keys.get("code", "")), keys.get("labels")
    if code not in codes:
        raise UserError(f"{where}.code must be one of {', '.join(codes)}; got {code!r}")
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise UserError(f"{where}.labels must be a list of labels, such as [pneumonia]; got {labels!r}")
    return code, tuple(labels)


def policy_named(facts: Mapping[str, Any], name: str | None) -> LabelPolicy:
    """The policy ``name`` of a manifest; its ``default_policy`` if no name is given.

    Raises:
        UserError: The manifest has no such policy.
    """
    policies = policies_of(facts)
    name = name or facts["default_policy"]
    if name not in policies:
        raise UserError(f"{facts['title']} has no label policy {name!r}; it has {', '.join(policies)}")
    return policies[name]


def labels_by(policy: LabelPolicy, table: pd.DataFrame) -> pd.DataFrame:
    """One float column a finding, 1, 0 or NaN, from the ``code_`` columns of ``table``.

    Raises:
        UserError: A code is not covered by the policy; names codes and counts.
    """
    labels = {}
    for finding in FINDINGS:
        codes, values = table[CODE + finding], policy.values[finding]
        unknown = codes[codes.notna() & ~codes.isin(list(values))]
        if len(unknown):
            raise UserError(
                f"policy {policy.name} has no value for {finding} coded {counted(unknown, 'images')}; "
                f"it knows {list(values)}"
            )
        labels[finding] = codes.map(values).astype(float)
    return pd.DataFrame(labels, index=table.index)


def left_out_by(policy: LabelPolicy, table: pd.DataFrame) -> pd.Series:
    """Whether each image leaves the study under ``policy``: boolean, by row of ``table``.

    Raises:
        UserError: A label that decides it has no column of codes.
    """
    columns = [CODE + label for label in policy.left_out_labels]
    absent = [column for column in columns if column not in table]
    if absent:
        raise UserError(f"policy {policy.name} leaves images out by {', '.join(absent)}; the table has no such column")
    return (table[columns] == policy.left_out_code).any(axis=1) if columns else pd.Series(False, index=table.index)


def labelled_by(policy: LabelPolicy, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``table`` that stay in the study, with their labels by ``policy``; errors as of ``labels_by``."""
    kept = table[~left_out_by(policy, table)]
    return kept.assign(**labels_by(policy, kept))


def labelled_by_policies(facts: Mapping[str, Any], table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each policy of a manifest, the rows of ``table`` that stay in the study, with their labels beside them."""
    return {name: labelled_by(policy, table) for name, policy in policies_of(facts).items()}
