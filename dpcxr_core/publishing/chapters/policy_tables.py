"""What a label policy decides, as tables: how often each code stands, and the prevalence each policy makes of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.manifests import facts_of, manifest
from dpcxr_core.data.policies import CODE, labelled_by_policies, policies_of
from dpcxr_core.data.store import ImageStore
from dpcxr_core.evaluation.describing.prevalence import overall_prevalence
from dpcxr_core.evaluation.groups import MIN_COUNT
from dpcxr_core.publishing.disclosing.small_cells import WITHHELD, shown_images
from dpcxr_core.publishing.tables import with_interval

_GOLDEN = "golden_counts.json"


def show_codes(store: ImageStore) -> pd.DataFrame:
    """Images of each code of the set's own coding: one row a code, one column a finding."""
    cohort = store.cohort
    columns = {}
    for finding in FINDINGS:
        codes = cohort[CODE + finding].astype(object)
        counts = cohort["patient_id"].groupby(codes.where(codes.notna(), "no code")).agg(["size", "nunique"])
        shown = shown_images(counts["size"], counts["nunique"])
        columns[finding.replace("_", " ")] = pd.Series(shown, index=counts.index)
    return pd.DataFrame(columns).fillna("0").rename_axis("code")


def show_policies(store: ImageStore, facts: Mapping[str, Any]) -> pd.DataFrame:
    """Prevalence of each finding by each policy of ``facts``, on the images of one store.

    Images that the policy of the store left out are not there. What two policies differ by are the images of a code:
    where one has images of fewer than ten patients, no policy is shown for that finding. The images that stay are
    withheld where they are those of fewer than ten patients, or differ by so few from all or from an earlier policy's.
    """
    few = {finding: _has_small_code(store.cohort, finding) for finding in FINDINGS}
    told = [store.cohort.index[:0], store.cohort.index]
    rows = {}
    for name, kept in labelled_by_policies(facts, store.cohort).items():
        of_all = overall_prevalence(kept)
        tells = any(_few_patients(store.cohort, kept.index.symmetric_difference(others)) for others in told)
        told += [] if tells else [kept.index]
        rows[name] = {"images": WITHHELD if tells else f"{len(kept):,}"} | {
            row["finding"].replace("_", " "): f"a code of fewer than {MIN_COUNT} patients"
            if few[row["finding"]]
            else with_interval(row["value"], row["low"], row["high"], ".1%", if_nan=row["reason"])
            for row in of_all.to_dict("records")
        }
    return pd.DataFrame(rows).T.rename_axis("policy")


def _few_patients(cohort: pd.DataFrame, rows: pd.Index) -> bool:
    return 0 < cohort.loc[rows, "patient_id"].nunique() < MIN_COUNT


def _has_small_code(cohort: pd.DataFrame, finding: str) -> bool:
    patients = cohort["patient_id"].groupby(cohort[CODE + finding]).nunique()
    return bool((patients < MIN_COUNT).any())


def tables_of_codes(store: ImageStore, facts: Mapping[str, Any] | None) -> list[pd.DataFrame]:
    """``show_codes`` and ``show_policies`` of a store that keeps its set's own codes; nothing of another."""
    return [show_codes(store), show_policies(store, facts)] if facts and _codes_are_kept(store) else []


def codes_in_words(store: ImageStore, facts: Mapping[str, Any] | None) -> str:
    """What the tables of codes are of, or why there is none."""
    name = store.description["dataset"]
    if not facts and _codes_are_kept(store):
        return f"The codes of *{name}* are not shown, as its manifest was not given: set the parameter `manifest`."
    if not facts or not _codes_are_kept(store):
        return f"The labels of *{name}* are 1 and 0 from the start: there is no code, and no policy to choose."
    codes = "; ".join(f"*{code}*: {meaning}" for code, meaning in facts["codes"].items())
    return f"The codes of *{name}*, {facts['title']}: {codes}. First its images by code, then the prevalence by policy."


def _codes_are_kept(store: ImageStore) -> bool:
    return all(CODE + finding in store.cohort for finding in FINDINGS)


def published_policies(dataset: str) -> pd.DataFrame:
    """Prevalence of each finding by each policy of a whole official set, from the counts of its codes alone.

    Returns:
        One row a policy that leaves no image out, one column a finding; NaN where a policy labels no image.

    Raises:
        UserError: The codes of the set were not counted.
    """
    codes = manifest(_GOLDEN).get(dataset, {}).get("codes")
    if not codes:
        raise UserError(f"{_GOLDEN} holds no counts of the codes of {dataset!r}")
    rows = {}
    for name, policy in policies_of(facts_of(dataset)).items():
        if not policy.left_out_code:
            rows[name] = {finding: _prevalence(codes[finding], policy.values[finding]) for finding in FINDINGS}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("policy")


def show_published(prevalences: pd.DataFrame) -> pd.DataFrame:
    """The same in words."""
    shown = prevalences.map(lambda value: "no label" if math.isnan(value) else f"{value:.1%}")
    return shown.rename(columns=lambda finding: finding.replace("_", " "))


def widest_in_words(prevalences: pd.DataFrame, dataset: str) -> str:
    """For which finding the policies differ most, and by how much."""
    finding = str((prevalences.max() - prevalences.min()).idxmax())
    column = prevalences[finding]
    said = ", ".join(f"{value:.1%} by {policy}" for policy, value in column.items())
    return f"In {dataset}, the prevalence of *{finding.replace('_', ' ')}* is {said}: the same images, other labels."


def _prevalence(counts: Mapping[str, int], values: Mapping[str, float]) -> float:
    labelled = {code: n for code, n in counts.items() if not math.isnan(values[code])}
    total = sum(labelled.values())
    return sum(n * values[code] for code, n in labelled.items()) / total if total else math.nan
