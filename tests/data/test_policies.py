import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.policies import (
    CODE,
    POLICY_NAMES,
    LabelPolicy,
    labels_by,
    left_out_by,
    policies_of,
    policy_named,
)
from tests.data.conftest import prevalence_by_policy

CHEXPERT = facts_of("chexpert")
# Images by code (1, 0, -1, blank) and prevalence (U-zero, U-one, U-ignore) among the 191,027 frontal images of
# CheXpert's train.csv, counted apart from this package (shared/reference/datasets-and-fairness.md, section 1.2)
CHEXPERT_FRONTAL = {
    "atelectasis": ((29720, 1025, 29863, 130419), (0.156, 0.312, 0.967)),
    "cardiomegaly": ((23385, 7869, 6707, 153066), (0.122, 0.158, 0.748)),
    "pleural_effusion": ((76899, 25299, 9578, 79251), (0.403, 0.453, 0.752)),
    "pneumonia": ((4675, 1875, 15981, 168496), (0.024, 0.108, 0.714)),
    "no_finding": ((16974, 0, 0, 174053), (0.089, 0.089, 0.089)),  # ignoring its blanks would leave one class
}
ONE_LABEL = {"title": "one", "default_policy": "mine", "codes": {"yes": "there", "no": "not there"}}
YES_NO = {"yes": 1, "no": 0}


def _table_with(counts: dict[str, tuple[int, ...]]) -> pd.DataFrame:
    codes = {CODE + finding: np.repeat(["1", "0", "-1", "blank"], n) for finding, n in counts.items()}
    others = [CODE + label for label in CHEXPERT["policies"]["as_published"]["leave_out"]["labels"]]
    table = pd.DataFrame(codes, dtype=object)
    return table.assign(**{column: "blank" for column in others if column not in table})


def test_chexpert_prevalence_by_policy_is_as_counted_apart_from_this_package():
    table = _table_with({finding: counts for finding, (counts, _) in CHEXPERT_FRONTAL.items()})
    prevalence = prevalence_by_policy(CHEXPERT, table)
    for finding, (_, expected) in CHEXPERT_FRONTAL.items():
        assert prevalence.loc[["u_zero", "u_one", "u_ignore"], finding].round(3).tolist() == list(expected)
    assert prevalence.loc["u_zero", "images"] == 191027


def test_what_each_policy_makes_of_each_code_of_chexpert():
    codes = pd.DataFrame({CODE + finding: ["1", "0", "-1", "blank", None] for finding in FINDINGS}, dtype=object)
    expected = {
        "as_published": [1, 0, 0, 0, np.nan],
        "u_zero": [1, 0, 0, 0, np.nan],
        "u_one": [1, 0, 1, 0, np.nan],
        "u_ignore": [1, 0, np.nan, np.nan, np.nan],
    }
    for name, values in expected.items():
        labels = labels_by(policy_named(CHEXPERT, name), codes)
        np.testing.assert_array_equal(labels["atelectasis"], values)
    np.testing.assert_array_equal(labels["no_finding"], [1, 0, np.nan, 0, np.nan])  # no report says "not without"


def test_as_published_leaves_out_images_uncertain_in_five_labels_and_no_other_policy_does():
    rows = pd.DataFrame("blank", index=range(5), columns=[CODE + label for label in CHEXPERT["labels"]])
    rows.loc[0, CODE + "lung_opacity"] = "-1"
    rows.loc[1, CODE + "edema"] = "-1"
    rows.loc[2, CODE + "atelectasis"] = "-1"  # not one of the five
    rows.loc[3, CODE + "cardiomegaly"] = "1"
    assert left_out_by(policy_named(CHEXPERT, "as_published"), rows).tolist() == [True, True, False, False, False]
    for name in ("u_zero", "u_one", "u_ignore"):
        assert not left_out_by(policy_named(CHEXPERT, name), rows).any()


@pytest.mark.parametrize("dataset", ["chestxray14", "chexpert", "mimic_cxr_jpg"])
def test_every_policy_has_a_value_for_every_code_of_its_set(dataset):
    facts = facts_of(dataset)
    policies = policies_of(facts)
    assert tuple(policies) == POLICY_NAMES
    for policy in policies.values():
        assert {frozenset(values) for values in policy.values.values()} == {frozenset(facts["codes"])}


def test_mimic_and_chexpert_share_codes_and_policies():
    mimic = facts_of("mimic_cxr_jpg")
    assert mimic["policies"] == CHEXPERT["policies"]
    assert mimic["labels"] == CHEXPERT["labels"]


def test_default_policy_and_an_unknown_name():
    assert policy_named(CHEXPERT, None).name == "u_zero"
    with pytest.raises(UserError, match="CheXpert has no label policy 'u_two'; it has as_published, u_zero"):
        policy_named(CHEXPERT, "u_two")


def test_codes_without_a_value_are_refused_with_their_counts():
    table = _table_with({finding: (1, 1, 1, 1) for finding in FINDINGS})
    table.loc[[0, 1], CODE + "pneumonia"] = "3"
    with pytest.raises(UserError, match=r"u_zero has no value for pneumonia coded '3' \(2 images\); it knows \['1'"):
        labels_by(policy_named(CHEXPERT, "u_zero"), table)


@pytest.mark.parametrize("value", [2, "1", True, 0.5, None, [1], "missing "])
def test_a_code_means_one_zero_or_missing_and_nothing_else(value):
    with pytest.raises(UserError, match=r"policies.mine.values.yes: a code means 1, 0 or missing; got"):
        policies_of({**ONE_LABEL, "policies": {"mine": {"values": {"yes": value}}}})


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("yes is 1", "policies.mine must hold 'key: value' lines with values, findings, leave_out; got 'yes is 1'"),
        ({}, "policies.mine.values is missing; say there what each code means: yes, no"),
        ({"vals": YES_NO}, "unknown key 'policies.mine.vals'; did you mean 'values'"),
        ({"values": []}, "policies.mine.values is missing"),
        ({"values": ["yes"]}, r"policies.mine.values must hold .* with yes, no; got \['yes'\]"),
        ({"values": {**YES_NO, "yess": 1}}, "unknown key 'policies.mine.values.yess'; did you mean 'yes'"),
        ({"values": YES_NO, "finding": {}}, "unknown key 'policies.mine.finding'; did you mean 'findings'"),
        ({"values": YES_NO, "findings": ["pneumonia"]}, "policies.mine.findings must hold 'key: value' lines"),
        ({"values": YES_NO, "findings": {"pneumona": {}}}, "findings.pneumona'; did you mean 'pneumonia'"),
        ({"values": YES_NO, "findings": {"pneumonia": "no"}}, "policies.mine.findings.pneumonia must hold"),
        ({"values": YES_NO, "findings": {"pneumonia": {"noo": 0}}}, "findings.pneumonia.noo'; did you mean 'no'"),
        ({"values": YES_NO, "leave_out": ["no"]}, "policies.mine.leave_out must hold .* with code, labels"),
        ({"values": YES_NO, "leave_out": {}}, "leave_out.code must be one of yes, no; got ''"),
        ({"values": YES_NO, "leave_out": {"code": "noo", "labels": ["edema"]}}, "must be one of yes, no; got 'noo'"),
        ({"values": YES_NO, "leave_out": {"code": "no"}}, "leave_out.labels must be a list of labels.*; got None"),
        ({"values": YES_NO, "leave_out": {"code": "no", "labels": []}}, "labels must be a list of labels"),
        ({"values": YES_NO, "leave_out": {"code": "no", "labels": "edema"}}, "must be a list of labels.*got 'edema'"),
    ],
)
def test_a_slip_in_a_policy_never_passes_in_silence(policy, message):
    with pytest.raises(UserError, match=message):
        policies_of({**ONE_LABEL, "policies": {"mine": policy}})


@pytest.mark.parametrize("policies", [["mine"], "mine", None])
def test_policies_are_named(policies):
    with pytest.raises(UserError, match="policies must map names to what codes mean; got"):
        policies_of({**ONE_LABEL, "policies": policies})


def test_codes_written_as_numbers_in_a_manifest_are_the_texts_of_the_table():
    policies = {"mine": {"values": {1: 1, 0: 0, -1: "missing"}}}
    policy = policies_of({**ONE_LABEL, "codes": {1: "", 0: "", -1: ""}, "policies": policies})["mine"]
    table = pd.DataFrame({CODE + finding: ["1", "-1"] for finding in FINDINGS})
    np.testing.assert_array_equal(labels_by(policy, table)["pneumonia"], [1, np.nan])


def test_leaving_out_by_a_label_without_codes_is_refused():
    policy = LabelPolicy("mine", {}, left_out_code="-1", left_out_labels=("edema",))
    with pytest.raises(UserError, match="leaves images out by code_edema; the table has no such column"):
        left_out_by(policy, pd.DataFrame({CODE + "pneumonia": ["1"]}))


def test_prevalence_of_what_nobody_labelled_is_undefined_not_zero():
    table = _table_with({finding: (0, 0, 3, 0) for finding in FINDINGS})
    prevalence = prevalence_by_policy(CHEXPERT, table)
    assert prevalence.loc["u_ignore"].drop("images").isna().all()
    assert prevalence.loc["as_published", "images"] == 0
    assert prevalence.loc["as_published"].drop("images").isna().all()
    assert prevalence.loc["u_one", "atelectasis"] == 1
