import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.store import ImageStore
from dpcxr_core.publishing.chapters import policy_tables

FACTS = {
    "title": "Toy set",
    "codes": {"yes": "seen", "no": "not seen", "maybe": "uncertain"},
    "policies": {
        "u_zero": {"values": {"yes": 1, "no": 0, "maybe": 0}},
        "u_one": {"values": {"yes": 1, "no": 0, "maybe": 1}},
        "strict": {"values": {"yes": 1, "no": 0, "maybe": 0}, "leave_out": {"code": "maybe", "labels": ["pneumonia"]}},
    },
}


@pytest.fixture
def store(tmp_path):
    """200 patients with an image each; forty have a finding coded maybe, nine of atelectasis, and twenty no code."""
    cohort = pd.DataFrame(
        {"patient_id": [f"p{row}" for row in range(200)], "view": "PA", "sex": "F", "age_years": 50.0}
    )
    for finding in FINDINGS:
        cohort["code_" + finding] = ["yes"] * 60 + ["no"] * 80 + ["maybe"] * 40 + [None] * 20
    cohort.loc[149:179, "code_atelectasis"] = "no"
    return ImageStore(tmp_path, None, cohort, {"dataset": "toy"})


def test_chexpert_by_policy_is_as_published():
    table = policy_tables.published_policies("chexpert")
    found = table["atelectasis"]
    assert (found["u_zero"], found["u_one"], found["u_ignore"]) == pytest.approx((0.156, 0.312, 0.967), abs=5e-4)
    assert table.loc["u_ignore", "pneumonia"] == pytest.approx(0.714, abs=5e-4)
    assert "as_published" not in table.index  # it leaves images out, which counts of codes do not say
    shown = policy_tables.show_published(table)
    assert shown.loc["u_one", "pleural effusion"] == "45.3%"
    words = policy_tables.widest_in_words(table, "CheXpert")
    assert "*atelectasis* is 15.6% by u_zero, 31.2% by u_one, 96.7% by u_ignore" in words


def test_policy_that_labels_no_image_has_no_prevalence(monkeypatch):
    only_blank = {finding: {"1": 0, "0": 0, "-1": 0, "blank": 50} for finding in FINDINGS}
    monkeypatch.setattr(policy_tables, "manifest", lambda name: {"chexpert": {"codes": only_blank}})
    table = policy_tables.published_policies("chexpert")
    assert np.isnan(table.loc["u_ignore", "pneumonia"])
    assert policy_tables.show_published(table).loc["u_ignore", "pneumonia"] == "no label"
    assert table.loc["u_zero", "pneumonia"] == 0


def test_set_whose_codes_were_not_counted_is_refused():
    with pytest.raises(UserError, match="no counts of the codes of 'elsewhere'"):
        policy_tables.published_policies("elsewhere")


def test_codes_are_counted_and_few_patients_hidden(store):
    table = policy_tables.show_codes(store)
    assert table["pneumonia"].to_dict() == {"maybe": "40", "no": "80", "no code": "20", "yes": "60"}
    assert table.loc["maybe", "atelectasis"] == "fewer than 10 patients"
    assert table.loc["no code", "atelectasis"] == "withheld"


def test_policies_show_what_each_makes_of_the_codes(store):
    table = policy_tables.show_policies(store, FACTS)
    assert table.loc["u_zero", "pneumonia"].startswith("33.3% [")
    assert table.loc["u_one", "pneumonia"].startswith("55.6% [")
    assert table.loc["strict", "pneumonia"].startswith("42.9% [")
    assert table["images"].to_dict() == {"u_zero": "200", "u_one": "200", "strict": "160"}


def _policies_leaving(*labels):
    leaving = {label: {"leave_out": {"code": "maybe", "labels": [label]}} for label in labels}
    values = FACTS["policies"]["u_zero"]
    return FACTS | {"policies": {"u_zero": values} | {label: values | out for label, out in leaving.items()}}


def _images_by_policy(cohort, *labels):
    store = ImageStore(None, None, cohort, {"dataset": "toy"})
    return policy_tables.show_policies(store, _policies_leaving(*labels))["images"].tolist()


def test_images_left_out_are_not_told_where_they_are_of_few_patients(store):
    """Nine patients may be told by subtraction from all images, ten may not; many images of few patients are few."""
    cohort = store.cohort.assign(code_pneumonia=["maybe"] * 9 + ["no"] * 191)
    assert _images_by_policy(cohort, "pneumonia") == ["200", "withheld"]
    cohort.loc[9, "code_pneumonia"] = "maybe"
    assert _images_by_policy(cohort, "pneumonia") == ["200", "190"]
    cohort.loc[:9, "patient_id"] = "p0"
    assert _images_by_policy(cohort, "pneumonia") == ["200", "withheld"]


def test_images_that_stay_are_not_told_where_they_are_of_few_patients(store):
    cohort = store.cohort.assign(code_pneumonia=["no"] * 9 + ["maybe"] * 191)
    assert _images_by_policy(cohort, "pneumonia") == ["200", "withheld"]
    cohort.loc[9, "code_pneumonia"] = "no"
    assert _images_by_policy(cohort, "pneumonia") == ["200", "10"]


def test_two_policies_do_not_tell_few_patients_by_their_difference(store):
    codes = {"code_pneumonia": ["maybe"] * 40 + ["no"] * 160, "code_atelectasis": ["maybe"] * 43 + ["no"] * 157}
    assert _images_by_policy(store.cohort.assign(**codes), "pneumonia", "atelectasis") == [
        "200",
        "160",
        "withheld",
    ]


def test_policies_that_differ_by_few_patients_are_not_shown(store):
    assert (policy_tables.show_policies(store, FACTS)["atelectasis"] == "a code of fewer than 10 patients").all()


def test_store_without_codes_or_manifest_has_no_tables(store, tmp_path):
    assert len(policy_tables.tables_of_codes(store, FACTS)) == 2
    assert "*maybe*: uncertain" in policy_tables.codes_in_words(store, FACTS)
    assert policy_tables.tables_of_codes(store, None) == []
    assert "its manifest was not given" in policy_tables.codes_in_words(store, None)
    bare = ImageStore(tmp_path, None, store.cohort.drop(columns="code_pneumonia"), {"dataset": "toy"})
    assert policy_tables.tables_of_codes(bare, FACTS) == []
    assert "no policy to choose" in policy_tables.codes_in_words(bare, facts_of("simulated"))
