import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import FINDINGS
from dpcxr_core.data.describing.leak import leak_report
from dpcxr_core.data.describing.summary import split_table
from dpcxr_core.data.store import ImageStore
from dpcxr_core.publishing.chapters import data_tables


def _store(tmp_path, cohort, patient_ids="recorded"):
    description = {"dataset": "toy", "recipe": {"name": "corrected"}, "patient_ids": patient_ids}
    return ImageStore(tmp_path, None, cohort, description)


@pytest.fixture
def cohort():
    """300 images of 150 patients; three patients have no sex, twenty no age; five AP views."""
    n = 300
    table = pd.DataFrame(
        {
            "dataset": "toy",
            "image_id": [f"i{row}" for row in range(n)],
            "patient_id": [f"p{row // 2}" for row in range(n)],
            "view": ["AP"] * 5 + ["PA"] * 295,
            "sex": [None] * 6 + ["F"] * 94 + ["M"] * 200,
            "age_years": [np.nan] * 40 + [30.0] * 130 + [65.0] * 130,
        }
    )
    for finding in FINDINGS:
        table[finding] = (np.arange(n) // 2 % 3 == 0).astype(float)
    table["cardiomegaly"] = (np.arange(n) < 12).astype(float)  # six patients
    table["pneumonia"] = np.nan
    return table


@pytest.fixture
def store(tmp_path, cohort):
    return _store(tmp_path, cohort)


def test_sets_say_what_they_are_and_what_is_not_known(store, tmp_path, cohort):
    bare = _store(tmp_path, cohort.assign(age_years=np.nan, patient_id=cohort["image_id"]), patient_ids="none")
    facts = {"toy": {"title": "Toy set", "licence": "free"}, "bare": None}
    table = data_tables.show_sets({"toy": store, "bare": bare}, facts)
    assert table.loc["toy"].to_dict() == {
        "what it is": "Toy set",
        "images": "300",
        "patients": "150",
        "median age": "48",
        "licence": "free",
    }
    assert table.loc["bare", "patients"] == "no patient identifiers"
    assert table.loc["bare", "median age"] == "unknown"
    assert table.loc["bare", "licence"] == "not stated"


def test_what_stands_for_a_patient_is_said(tmp_path, cohort):
    table = data_tables.show_sets({"toy": _store(tmp_path, cohort, patient_ids="admissions")}, {"toy": None})
    assert table.loc["toy", "patients"] == "150 admissions"


def test_sets_of_few_patients_do_not_say_how_few(tmp_path, cohort):
    few = _store(tmp_path, cohort.head(10))
    assert data_tables.show_sets({"few": few}, {"few": None}).loc["few", "patients"] == "fewer than 10"
    leaks = {"few": leak_report(few.cohort["patient_id"], test_fraction=0.2, rng=np.random.default_rng(0))}
    assert data_tables.show_patients({"few": few}, leaks).loc["few", "patients"] == "fewer than 10"


def test_reading_withholds_what_would_tell_how_few_were_refused():
    read = pd.DataFrame(
        {"listed": [100, 100, 3000], "in the store": [97, 100, 2950], "refused": [3, 0, 50]}, index=["a", "b", "c"]
    )
    shown = data_tables.show_reading(read)
    assert shown.loc["a"].to_list() == ["withheld", "97", "fewer than 10"]
    assert shown.loc["b"].to_list() == ["100", "100", "0"]
    assert shown.loc["c"].to_list() == ["3,000", "2,950", "50"]


@pytest.mark.parametrize(
    ("by_reason", "shown"),
    [
        ({}, {"all together": "0"}),
        ({"damaged": 4}, {"damaged": "fewer than 10", "all together": "fewer than 10"}),
        ({"damaged": 3, "empty": 15}, {"empty": "withheld", "damaged": "fewer than 10", "all together": "18"}),
        (
            {"damaged": 3, "empty": 15, "missing": 1200},
            {"missing": "1,200", "empty": "withheld", "damaged": "fewer than 10", "all together": "1,218"},
        ),
    ],
)
def test_refusals_withhold_what_their_total_would_tell(by_reason, shown):
    refused = {f"{reason} {number}": reason for reason, n in by_reason.items() for number in range(n)}
    assert data_tables.show_refusals(refused)["pictures"].to_dict() == shown


def test_counts_tell_neither_the_rows_nor_what_is_refused():
    counts = {
        "rows_in_table": 818,
        "pictures_not_found": 15,
        "pneumonia_is_not_recorded": 818,
        "rows_without_labels": 0,
    }
    shown = data_tables.show_counted(counts | {"ages_set_missing": 1200, "sex_set_missing": 3})
    assert shown["number"].to_dict() == {"ages set missing": "1,200", "sex set missing": "fewer than 10"}


def test_splits_withhold_few_patients_and_what_would_tell_them(tmp_path, cohort):
    splits = ["train"] * 240 + ["valid"] * 50 + ["test"] * 10
    stores = {
        "toy": _store(tmp_path, cohort.assign(split=splits)),
        "bare": _store(tmp_path, cohort.assign(split=splits), patient_ids="none"),
    }
    shown = data_tables.show_splits(split_table(stores))
    assert shown.loc["toy"].to_dict() == {
        ("train", "images"): "240",
        ("train", "patients"): "120",
        ("valid", "images"): "withheld",
        ("valid", "patients"): "withheld",
        ("test", "images"): "fewer than 10 patients",
        ("test", "patients"): "fewer than 10",
    }
    assert (shown.loc["bare"].xs("patients", level=1) == "not known").all()
    assert shown.loc["bare", ("test", "images")] == "10"


def test_words_say_where_nobody_knows_whose_images_are_whose(tmp_path, cohort):
    stores = {
        "toy": _store(tmp_path, cohort),
        "bare": _store(tmp_path, cohort, patient_ids="none"),
        "ward": _store(tmp_path, cohort, patient_ids="admissions"),
    }
    words = data_tables.patients_in_words(stores)
    assert "In *bare*, nothing says which images are of one patient" in words
    assert "the public and in the private part" in words
    assert "In *ward*, a patient is an admission" in words
    assert "toy" not in words
    assert data_tables.patients_in_words({"toy": stores["toy"]}).startswith("All of these data sets say")


def test_groups_of_few_patients_are_hidden_with_what_would_tell_them(store):
    row = data_tables.show_groups({"toy": store}).loc["toy"]
    # three patients have an AP view, and 295 of 300 images would say how many images that is
    assert row[("view", "AP")] == "fewer than 10 patients"
    assert row[("view", "PA")] == "withheld"
    assert row[("view", "not recorded")] == "0"
    assert row[("sex", "not recorded")] == "fewer than 10 patients"
    assert row[("sex", "F")] == "withheld"
    assert row[("sex", "M")] == "200"
    assert row[("age band", "0-39")] == "130"
    assert row[("age band", "70+")] == "0"
    assert row[("age band", "not recorded")] == "40"


def test_prevalence_has_an_interval_or_a_reason(store):
    row = data_tables.show_prevalence({"toy": store}).loc["toy"]
    assert row["atelectasis"].startswith("33.3% [")
    assert row["cardiomegaly"] == "fewer than 10 patients with it"
    assert row["pneumonia"] == "no labels"


def test_one_hidden_group_hides_the_smallest_other(store):
    table = data_tables.groups_to_show(store.cohort)
    table = table[table["finding"] == "atelectasis"].set_index("group_value")
    by_sex = table[table["group_column"] == "sex"]
    assert by_sex.loc["not recorded", "reason"] == "fewer than 10 patients"
    assert by_sex.loc["F", "reason"].startswith("withheld")
    assert np.isnan(by_sex.loc["F", ["value", "low", "high"]].astype(float)).all()
    assert by_sex.loc["M", "value"] == pytest.approx(1 / 3, abs=0.01)
    by_age = table[table["group_column"] == "age_band"]
    assert by_age.loc["not recorded", "reason"] == "fewer than 10 patients with it"  # 20 patients, a third of them ill
    assert (by_age["reason"] == "").sum() == 1
    by_view = table[table["group_column"] == "view"]
    assert (by_view["reason"] != "").all()  # with the three of AP, PA would tell them


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), min_size=3, max_size=3),
    aged=st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), min_size=4, max_size=4),
)
def test_no_groups_left_over_tell_of_few_patients(sizes, aged):
    """One image a patient; groups of both columns, each with so many patients with and without atelectasis."""
    sexes = _people(sizes, "sex", ["F", "M", None]).assign(age_years=50.0)
    ages = _people(aged, "age_years", [20.0, 50.0, 80.0, np.nan]).assign(sex="F")
    for cohort, column in ((sexes, "sex"), (ages, "age_band")):
        if cohort.empty:
            continue
        rows = data_tables.groups_to_show(cohort)
        part = rows[(rows["finding"] == "atelectasis") & (rows["group_column"] == column)]
        hidden, shown = part[part["reason"] != ""], part[part["reason"] == ""]
        assert hidden["value"].isna().all()
        for kind in ("patients_with", "patients_without"):
            left_over = hidden[kind].sum()
            assert left_over == 0 or left_over >= 10 or not shown[kind].any()
            assert np.count_nonzero(hidden[kind]) != 1 or not shown[kind].any()


def _people(sizes, column, values):
    rows = [
        {column: value, "atelectasis": label}
        for value, (ill, well) in zip(values, sizes, strict=True)
        for label, number in ((1.0, ill), (0.0, well))
        for _ in range(number)
    ]
    table = pd.DataFrame(rows, columns=[column, "atelectasis"])
    others = dict.fromkeys(FINDINGS[1:], 0.0)
    return table.assign(patient_id=[f"p{row}" for row in range(len(table))], view="PA", **others)


def test_two_hidden_groups_that_add_up_to_few_hide_a_third():
    cohort = _people([(3, 90), (4, 90), (40, 90), (60, 90)], "age_years", [20.0, 50.0, 80.0, np.nan]).assign(sex="F")
    rows = data_tables.groups_to_show(cohort).query("finding == 'atelectasis' and group_column == 'age_band'")
    hidden = rows.set_index("group_value")["reason"] != ""
    assert hidden.to_dict() == {"0-39": True, "40-69": True, "70+": True, "not recorded": False}


def test_groups_come_in_one_order_for_every_finding(store):
    table = data_tables.groups_to_show(store.cohort)
    orders = {
        tuple(zip(part["group_column"], part["group_value"], strict=True)) for _, part in table.groupby("finding")
    }
    assert len(orders) == 1
    (order,) = orders
    assert order[0] == ("all", "all")
    assert order.index(("view", "PA")) < order.index(("view", "AP")) < order.index(("sex", "F"))


def test_missing_shares_are_of_images_and_small_ones_in_words(store, tmp_path, cohort):
    nearly = cohort.assign(sex=[None] * 294 + ["F"] * 6)
    table = data_tables.show_missing({"toy": store, "nearly": _store(tmp_path, nearly)})
    assert table.loc["toy", "view"] == "none"
    assert table.loc["toy", "sex"] == "fewer than 10 patients"
    assert table.loc["toy", "age"] == "13.3%"
    assert table.loc["toy", "pneumonia"] == "100.0%"
    assert table.loc["nearly", "sex"] == "all but fewer than 10 patients"


def _ill_without_age(cohort):
    rng = np.random.default_rng(0)
    ill = np.repeat(rng.random(150) < 0.4, 2)
    absent = np.where(ill, rng.random(300) < 0.6, rng.random(300) < 0.2)
    return cohort.assign(atelectasis=ill.astype(float), age_years=np.where(absent, np.nan, 50.0), sex="F")


def test_label_mix_names_what_is_not_missing_at_random(store, tmp_path, cohort):
    stores = {"toy": store, "ill": _store(tmp_path, _ill_without_age(cohort))}
    mix = data_tables.label_mix(stores)
    shown = data_tables.show_label_mix(mix)
    assert list(shown.columns) == [finding.replace("_", " ") for finding in FINDINGS]
    assert list(shown.index) == [("toy", "sex"), ("toy", "age"), ("ill", "age")]
    assert shown.loc[("toy", "sex"), "atelectasis"].startswith("missing: fewer than 10 patients")
    row = mix.query("dataset == 'ill' and finding == 'atelectasis'").iloc[0]
    low, high = 100 * row["low"], 100 * row["high"]
    assert shown.loc[("ill", "age"), "atelectasis"] == f"{100 * row['value']:+.1f} [{low:+.1f}, {high:+.1f}]"
    words = data_tables.label_mix_in_words(mix)
    assert "*atelectasis* where the age is missing, in *ill*" in words
    nothing = data_tables.label_mix_in_words(mix.assign(value=np.nan))
    assert nothing == "Nothing is missing in enough patients to compare."


def test_label_mix_of_complete_sets_is_empty_and_can_be_shown(store, tmp_path, cohort):
    complete = _store(tmp_path, cohort.assign(sex="F", age_years=50.0))
    mix = data_tables.label_mix({"toy": complete})
    assert data_tables.show_label_mix(mix).empty
    assert "Nothing is missing" in data_tables.label_mix_in_words(mix)


def test_patients_table_gives_no_number_of_one_patient(tmp_path, cohort):
    crowded = cohort.assign(patient_id=[f"p{row // 2}" for row in range(200)] + ["the same"] * 100)
    stores = {"crowded": _store(tmp_path, crowded), "bare": _store(tmp_path, cohort, patient_ids="none")}
    rng = np.random.default_rng(0)
    leaks = {name: leak_report(each.cohort["patient_id"], test_fraction=0.2, rng=rng) for name, each in stores.items()}
    table = data_tables.show_patients(stores, leaks)
    row = table.loc["crowded"]
    assert row["10 patients have at least"] == "2"
    assert row["effective patients"] == f"{300**2 / (100 * 4 + 100**2):.0f}"
    assert row["images a patient, mean"] == "2.97"
    assert row["leaked by a split of images"] == f"{(200 * 0.8 + 100) / 300:.0%}"
    assert table.loc["bare", "effective patients"] == "unknown"
    numbers = data_tables.numbers_of_images(stores)
    assert numbers["bare"] is None
    assert numbers["crowded"].loc["20 and more", "patients"] == 1


def test_leak_table_withholds_bands_of_few_patients(tmp_path, cohort):
    ids = pd.Series([f"a{row}" for row in range(500)] + [f"b{row // 2}" for row in range(400)] + ["the same"] * 100)
    report = leak_report(ids, test_fraction=0.2, rng=np.random.default_rng(0))
    shown = data_tables.show_leak(report)
    assert shown.loc["20 and more", "patients"] == "fewer than 10"
    assert (shown.loc["20 and more"].iloc[1:] == "withheld").all()
    assert shown.loc["2", "patients"] == "withheld"  # else the total would tell the one above
    assert shown.loc["1", "leaked, images split"] == "0%"
    assert shown.loc["all", "patients"] == "701"
    words = data_tables.leak_in_words(report)
    assert f"{report.loc['all', 'leaked_share']:.0%} of" in words
    assert "Split by patient, 0% do." in words


def test_words_say_whose_pictures_are_kept_back(store):
    facts = {"a": {"pictures_may_be_shown": True}, "b": None}
    assert "may be shown" in data_tables.pictures_in_words({"a": store}, {"a": store}, facts)
    some = data_tables.pictures_in_words({"a": store, "b": store}, {"a": store}, facts)
    assert "*b* are not shown: no manifest" in some
    assert "stand in" not in some
    none = data_tables.pictures_in_words({"a": store, "b": store}, {"drawn": store}, facts)
    assert "*a* are not shown: this run was told to show none." in none
    assert "*b* are not shown: no manifest says that they may be." in none
    assert "Simulated pictures stand in" in none
