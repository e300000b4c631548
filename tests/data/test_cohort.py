import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.cohort import (
    ages_in_years,
    cohort_counts,
    findings_from_terms,
    label_map,
    manifest,
    recorded_sex,
)


def test_ages_out_of_range_or_unreadable_are_missing_and_counted():
    ages, n_missing = ages_in_years(pd.Series(["58", "058Y", "006M", "0", "120", "121", "411", "old", "-3", "", None]))
    assert ages.tolist()[:5] == [58, 58, 0.5, 0, 120]
    assert ages[5:].isna().all()
    assert n_missing == 4  # what was given and is out of range; the last two were never given


def test_ages_of_numbers_stay():
    ages, n_missing = ages_in_years(pd.Series([1, 95]))
    assert ages.tolist() == [1, 95]
    assert n_missing == 0


def test_sex_coding_is_closed_and_counts_the_rest():
    sex, n_missing = recorded_sex(pd.Series(["M", "F", "male", "Female", " f ", "O", "Unknown", "", None]))
    assert sex.tolist()[:5] == ["M", "F", "M", "F", "F"]
    assert sex[5:].isna().all()
    assert n_missing == 2


def test_findings_match_whole_terms_only():
    raw = pd.Series(["Pneumothorax", "Pneumonia|Effusion", "No Finding", ""])
    found = findings_from_terms(raw, label_map("chestxray14"), "|")
    assert found["pneumonia"].tolist()[:3] == [0, 1, 0]
    assert found["pleural_effusion"].tolist()[:3] == [0, 1, 0]
    assert found["no_finding"].tolist()[:3] == [0, 0, 1]
    assert found.iloc[3].isna().all()


def test_label_map_covers_the_findings_and_refuses_an_unknown_data_set():
    assert tuple(label_map("chestxray14")) == FINDINGS
    with pytest.raises(UserError, match="'chestxray15'; it has .*chestxray14"):
        label_map("chestxray15")


def test_label_map_terms_are_disjoint_from_those_declared_unmapped():
    entry = manifest("labels.yml")["datasets"]["chestxray14"]
    mapped = {term for terms in entry["findings"].values() for term in terms}
    assert not mapped & set(entry["not_mapped"])
    assert len(mapped) + len(entry["not_mapped"]) == 15  # 14 findings and No Finding


def test_manifest_missing_names_the_folder():
    with pytest.raises(UserError, match="no manifest 'none.yaml' in .*data_manifests"):
        manifest("none.yaml")


def test_cohort_counts_count_positives_not_missing_values():
    table = pd.DataFrame({"split": ["train", "train", "test"], "patient_id": ["a", "a", "b"]})
    table = table.assign(**dict.fromkeys(FINDINGS, [1.0, np.nan, 0.0]))
    counts = cohort_counts(table)
    assert counts["train"] == {"images": 2, "patients": 1, **dict.fromkeys(FINDINGS, 1)}
    assert counts["test"]["pneumonia"] == 0
    assert counts["valid"]["images"] == 0
