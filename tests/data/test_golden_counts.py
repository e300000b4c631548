"""Counts of the whole official tables, read through our adapters, against ``data_manifests/golden_counts.json``.

The tables are those that the package torchxrayvision carries (of the test extra); nothing of it is imported. What they
hold was also counted apart from this package: shared/reference/datasets-and-fairness.md, sections 1.1 and 1.2.
"""

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.cohort import OfficialTable, SplitChoice, cohort_counts, cohort_of
from dpcxr_core.data.manifests import MANIFESTS, facts_of
from dpcxr_core.data.policies import CODE, POLICY_NAMES, policy_named
from dpcxr_core.data.sources.chestxray14 import read_chestxray14
from dpcxr_core.data.sources.chexpert import read_chexpert
from dpcxr_core.data.sources.official_csv import read_columns
from dpcxr_core.data.splits import split_hash
from tests.data.conftest import prevalence_by_policy

GOLDEN = json.loads((MANIFESTS / "golden_counts.json").read_text())
NIH, CHEXPERT = facts_of("chestxray14"), facts_of("chexpert")


def _carried(name: str) -> Path:
    """A table that torchxrayvision carries; the test skips where it is not installed."""
    found = importlib.util.find_spec("torchxrayvision")
    if found is None or not found.submodule_search_locations:
        pytest.skip("torchxrayvision is not installed: pip install -e '.[test]' brings the official tables")
    return Path(found.submodule_search_locations[0]) / "data" / name


@pytest.fixture(scope="module")
def chestxray14(tmp_path_factory) -> OfficialTable:
    """The official table; the official lists are not at hand, so every eleventh patient tests here."""
    source = tmp_path_factory.mktemp("nih")
    carried = _carried("Data_Entry_2017_v2020.csv.gz")
    entries = read_columns(carried, {"image": ["Image Index"], "patient": ["Patient ID"]})
    (source / carried.name).write_bytes(carried.read_bytes())
    tests = entries["patient"].astype(int) % 11 == 0
    for name, images in (("train_val", entries["image"][~tests]), ("test", entries["image"][tests])):
        (source / f"{name}_list.txt").write_text("\n".join(images))
    return read_chestxray14(source, NIH | {"files": NIH["files"] | {"entries": [carried.name]}})


@pytest.fixture(scope="module")
def chexpert(tmp_path_factory) -> OfficialTable:
    source = tmp_path_factory.mktemp("chexpert")
    (source / "train.csv.gz").write_bytes(_carried("chexpert_train.csv.gz").read_bytes())
    return read_chexpert(source, CHEXPERT)


def test_chestxray14_has_its_images_patients_demographics_views_and_findings(chestxray14):
    table, golden = chestxray14.table, GOLDEN["chestxray14"]["all"]
    ages = table["age_years"]
    assert golden == {
        "images": len(table),
        "patients": table["patient_id"].nunique(),
        **{f"sex_{sex}": (table["sex"] == sex).sum() for sex in "MF"},
        **{f"view_{view}": (table["view"] == view).sum() for view in ("PA", "AP")},
        "age_0_to_39": (ages < 40).sum(),
        "age_40_to_69": ages.between(40, 69).sum(),
        "age_70_to_120": (ages >= 70).sum(),
        **{finding: (table[CODE + finding] == "mentioned").sum() for finding in FINDINGS},
    }
    assert chestxray14.counts["ages_set_missing"] == chestxray14.counts["sex_set_missing"] == 0


def test_chestxray14_has_its_fifteen_terms_word_for_word(chestxray14):
    terms = chestxray14.table["raw_labels"].str.split("|").explode().value_counts()
    assert terms.to_dict() == GOLDEN["chestxray14"]["terms"]
    codes = {finding: chestxray14.table[CODE + finding].value_counts().to_dict() for finding in FINDINGS}
    assert codes == GOLDEN["chestxray14"]["codes"]
    assert chestxray14.table["patient_id"].value_counts().max() == 184


def test_chestxray14_cohort_is_every_image_and_the_same_under_each_policy(chestxray14):
    golden = GOLDEN["chestxray14"]["all"]
    for name in POLICY_NAMES:
        made = cohort_of(chestxray14, NIH, policy_named(NIH, name), SplitChoice(recipe="official"))
        counts = cohort_counts(made.cohort)
        for what in ("images", "patients", *FINDINGS):
            assert sum(of_split[what] for of_split in counts.values()) == golden[what]


def test_chexpert_has_its_images_patients_demographics_and_views(chexpert):
    table = chexpert.table
    frontal = table[table["view"] != "other"]
    assert GOLDEN["chexpert"]["all"] == {
        "images": len(table),
        "patients": table["patient_id"].nunique(),
        **{f"sex_{sex}": (table["sex"] == sex).sum() for sex in "MF"},
        "view_AP": (table["view"] == "AP").sum(),
        "view_PA": (table["view"] == "PA").sum(),
        "view_lateral": (table["view"] == "other").sum(),
        "view_missing": table["view"].isna().sum(),
        "age_90_and_over": (table["age_years"] == 90).sum(),
        "frontal_images": len(frontal),
        "frontal_patients": frontal["patient_id"].nunique(),
        "no_finding_with_a_device_frontal": (
            (frontal["code_no_finding"] == "1") & (frontal["code_support_devices"] == "1")
        ).sum(),
    }
    assert 0 < chexpert.counts["ages_that_mean_unknown"] < 10  # cells under 10 are not stated
    assert 0 < chexpert.counts["sex_set_missing"] < 10


def test_chexpert_codes_and_prevalence_by_policy_of_the_frontal_images(chexpert):
    frontal = chexpert.table[chexpert.table["view"] != "other"]
    codes = {finding: frontal[CODE + finding].value_counts().to_dict() for finding in FINDINGS}
    golden = GOLDEN["chexpert"]["codes"]
    assert {finding: {code: n for code, n in golden[finding].items() if n} for finding in FINDINGS} == codes
    prevalence = prevalence_by_policy(CHEXPERT, frontal)
    expected = pd.DataFrame.from_dict(GOLDEN["chexpert"]["prevalence"], orient="index")[prevalence.columns]
    pd.testing.assert_frame_equal(prevalence.round(4), expected.rename_axis("policy"), check_dtype=False)
    assert expected.loc[["u_zero", "u_one", "u_ignore"], "atelectasis"].round(3).tolist() == [0.156, 0.312, 0.967]
    assert expected["images"].to_dict() == {
        "as_published": 157676,
        "u_zero": 191027,
        "u_one": 191027,
        "u_ignore": 191027,
    }


@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_chexpert_split_holds_the_images_patients_and_findings_it_held(chexpert, policy):
    golden = GOLDEN["chexpert"]["policies"][policy]
    split = SplitChoice(recipe=CHEXPERT["default_split"], seed=0)
    cohort = cohort_of(chexpert, CHEXPERT, policy_named(CHEXPERT, policy), split).cohort
    assert cohort_counts(cohort) == {name: golden[name] for name in ("train", "valid", "test")}
    assert split_hash(cohort) == golden["split_sha256"]


def test_counts_of_chestxray14_add_up():
    counts = GOLDEN["chestxray14"]
    lists, whole = counts["official_list_lengths"], counts["all"]
    n_images = whole["images"]
    assert sum(lists.values()) == n_images
    assert whole["sex_M"] + whole["sex_F"] == n_images
    assert whole["view_PA"] + whole["view_AP"] == n_images
    assert sum(n for name, n in whole.items() if name.startswith("age_")) == n_images


def test_counts_of_chexpert_add_up():
    counts = GOLDEN["chexpert"]
    for codes in counts["codes"].values():
        assert sum(codes.values()) == counts["all"]["frontal_images"]
    for policy, by_split in counts["policies"].items():
        images = sum(by_split[split]["images"] for split in ("train", "valid", "test"))
        assert images == counts["prevalence"][policy]["images"]
