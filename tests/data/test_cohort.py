import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.cohort import (
    OfficialTable,
    SplitChoice,
    ages_in_years,
    codes_of_terms,
    cohort_counts,
    cohort_of,
    recorded_sex,
    view_of,
)
from dpcxr_core.data.manifests import facts_of, terms_of
from dpcxr_core.data.policies import policy_named
from dpcxr_core.data.splits import check_patient_disjoint

FACTS = facts_of("chexpert") | {"patients_drawn_from": None}
BY_PATIENT = SplitChoice(recipe="patients")
ROWS = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.sampled_from(["PA", "AP", "other", None]),
        st.sampled_from(["train", "valid", "test", None]),
        st.sampled_from(["1", "0", "-1", "blank", None]),
    ),
    min_size=1,
    max_size=60,
)


def _table(rows) -> pd.DataFrame:
    """Rows of patient, view, official split, code; image ids are row numbers."""
    patients, views, splits, codes = zip(*rows, strict=True)
    table = pd.DataFrame(
        {
            "dataset": "d",
            "image_id": [f"i{row}" for row in range(len(rows))],
            "patient_id": [None if patient is None else str(patient) for patient in patients],
            "split": splits,
            "view": views,
            "sex": None,
            "age_years": np.nan,
            "path": None,
        },
        dtype=object,
    )
    return table.assign(**{f"code_{label}": list(codes) for label in FACTS["labels"]})


def _cohort(rows, policy="u_zero", split=BY_PATIENT, **facts):
    official = rows if isinstance(rows, OfficialTable) else OfficialTable(_table(rows), {"rows": len(rows)}, ("stray",))
    return cohort_of(official, FACTS | facts, policy_named(FACTS, policy), split)


def _split_of(cohort) -> dict[str, str]:
    return dict(zip(cohort["image_id"], cohort["split"], strict=True))


MANY = [(patient, "PA", None, "1") for patient in range(10) for _ in range(3)]


def test_cohort_keeps_what_it_was_given_and_counts_what_it_leaves_out():
    rows = [*MANY, (0, "other", None, "1"), (1, None, None, "1"), (2, "AP", None, "-1"), (None, "PA", None, "1")]
    made = _cohort(rows, policy="as_published")
    assert made.unlisted == ("stray",)
    assert made.counts == {
        "rows": 34,
        "repeated_rows": 0,
        "no_patient_id": 1,
        "in_no_split": 0,
        "view_not_frontal": 1,
        "view_unknown": 0,
        "left_out_by_policy_as_published": 1,
    }
    assert len(made.cohort) == 31
    assert (made.cohort[list(FINDINGS)] == 1).all(axis=None)
    assert made.cohort.groupby("split")["patient_id"].nunique().to_dict() == {"test": 2, "train": 7, "valid": 1}
    without = _cohort(rows, keep_unknown_view=False)
    assert len(without.cohort) == 31  # the uncertain one is in, the unknown view out
    assert (without.counts["view_not_frontal"], without.counts["view_unknown"]) == (1, 1)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(ROWS, st.integers(0, 3))
def test_no_patient_is_in_two_splits_for_any_table(rows, seed):
    try:
        cohort = _cohort(rows, split=SplitChoice(recipe="patients", seed=seed)).cohort
    except UserError as error:
        assert "is left" in str(error)  # noqa: PT017
        return
    check_patient_disjoint(cohort)
    assert cohort["split"].isin(["train", "valid", "test"]).all()


@settings(derandomize=True, deadline=None, max_examples=60)
@given(ROWS)
def test_official_splits_are_kept_or_refused_where_they_share_a_patient(rows):
    table = _table(rows)
    given_split = table[table["split"].notna()]
    crossing = (given_split.groupby("patient_id")["split"].nunique() > 1).any()
    try:
        cohort = _cohort(rows, split=SplitChoice(recipe="official")).cohort
    except UserError as error:
        reason = str(error)
        assert crossing or given_split.empty or "is left" in reason  # noqa: PT017
        assert not crossing or "patients have images in more than one split" in reason  # noqa: PT017
        return
    assert not crossing
    check_patient_disjoint(cohort)
    official = table.set_index("image_id")["split"]
    moved = cohort[cohort["split"].to_numpy() != official[cohort["image_id"]].to_numpy()]
    assert set(moved["split"]) <= {"valid"}  # carved from training, and only where there was no "valid"
    assert set(official[moved["image_id"]]) <= {"train"}


@settings(derandomize=True, deadline=None, max_examples=15)
@given(ROWS, st.sampled_from(["patients", "official"]))
def test_another_policy_or_view_filter_moves_nobody(rows, recipe):
    made = []
    for policy in ("as_published", "u_zero", "u_one", "u_ignore"):
        for keep in (True, False):
            try:
                cohort = _cohort(rows, policy, SplitChoice(recipe=recipe), keep_unknown_view=keep).cohort
            except UserError:
                continue
            made.append(_split_of(cohort))
    for one in made:
        for other in made:
            assert all(other[image] == split for image, split in one.items() if image in other)


def test_a_split_drawn_after_the_view_filter_would_move_patients():
    """The mistake that the property above exists for."""
    rows = [(patient, "PA" if patient % 3 else "other", None, "1") for patient in range(60)]
    whole = _split_of(_cohort(rows).cohort)
    filtered_first = _split_of(_cohort(OfficialTable(_table(rows).query("view == 'PA'"), {})).cohort)
    assert set(whole) == set(filtered_first)
    assert whole != filtered_first


def test_patients_are_drawn_from_the_official_splits_that_the_manifest_names():
    rows = [(patient, "PA", "train" if patient < 20 else "test", "1") for patient in range(25)]
    made = _cohort(rows, patients_drawn_from=["train"])
    assert made.counts["in_no_split"] == 5
    assert cohort_counts(made.cohort)["test"]["patients"] == 4
    alone = _cohort(rows[:20], patients_drawn_from=["train"])
    assert _split_of(alone.cohort) == _split_of(made.cohort)


def test_rows_that_repeat_are_counted_and_rows_that_differ_are_refused():
    table = _table(MANY)
    twice = pd.concat([table, table.head(4)], ignore_index=True)
    assert _cohort(OfficialTable(twice, {})).counts["repeated_rows"] == 4
    twice.loc[30, "code_edema"] = "0"
    with pytest.raises(UserError, match=r"1 image ids stand in rows that differ \(first: i0\). Keep one row an image"):
        _cohort(OfficialTable(twice, {}))


@pytest.mark.parametrize("nobody", [None, "", np.nan])
def test_blank_patients_are_not_one_patient(nobody):
    table = _table(MANY)
    table.loc[[0, 7], "patient_id"] = nobody
    made = _cohort(OfficialTable(table, {}))
    assert made.counts["no_patient_id"] == 2
    assert len(made.cohort) == 28


def test_rows_without_an_image_are_refused():
    table = _table(MANY)
    table.loc[[0, 7], "image_id"] = ["", None]
    with pytest.raises(UserError, match="2 of 30 rows name no image"):
        _cohort(OfficialTable(table, {}))


def test_a_set_without_an_official_split_says_what_to_choose():
    with pytest.raises(UserError, match="no official split; choose the split recipe 'patients'"):
        _cohort(MANY, split=SplitChoice(recipe="official"))


@pytest.mark.parametrize(
    ("splits", "recipe", "drawn"),
    [
        (("train", "valid", "test"), "official", ()),
        (("train", "test"), "official", ("valid",)),
        (("train", "valid"), "patients", ("valid", "test")),
    ],
)
def test_cohort_says_which_splits_were_drawn(splits, recipe, drawn):
    rows = [(patient, "PA", splits[patient % len(splits)], "1") for patient in range(30)]
    assert _cohort(rows, split=SplitChoice(recipe=recipe)).drawn == drawn


def test_nothing_left_says_where_it_went():
    with pytest.raises(UserError, match="none of the 2 images of CheXpert is left.*'view_not_frontal': 2") as told:
        _cohort([(0, "other", None, "1"), (1, "other", None, "1")], keep_unknown_view=False)
    assert "keep_unknown_view" not in str(told.value)


def test_nothing_left_for_want_of_a_view_says_how_to_keep_it():
    with pytest.raises(UserError, match="'view_unknown': 2.* 2 of them name no view: state keep_unknown_view: true"):
        _cohort([(0, None, None, "1"), (1, None, None, "1"), (2, "other", None, "1")], keep_unknown_view=False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"recipe": "random"}, "recipe is 'official' or 'patients'; got 'random'"),
        ({"recipe": "patients", "test_fraction": 1.0}, "test_fraction must lie between 0 and 1; got 1.0"),
        ({"recipe": "patients", "valid_fraction": float("nan")}, "valid_fraction must lie between 0 and 1; got nan"),
        ({"recipe": "patients", "valid_fraction": 0.5, "test_fraction": 0.5}, "leave no one to train on"),
    ],
)
def test_split_choice_checks_itself(fields, message):
    with pytest.raises(UserError, match=message):
        SplitChoice(**fields)


def test_ages_out_of_range_or_unreadable_are_missing_and_counted():
    given_ages = ["58", "058Y", "006M", "0", "120", "121", "411", "old", "-3", "1e2", "9" * 30, "٥٨", "", None]
    ages, n_missing = ages_in_years(pd.Series(given_ages))
    assert ages.tolist()[:5] == [58, 58, 0.5, 0, 120]
    assert ages[5:].isna().all()
    assert n_missing == 7  # what was given and is out of range; the last two were never given


def test_ages_of_numbers_stay():
    ages, n_missing = ages_in_years(pd.Series([1, 95]))
    assert ages.tolist() == [1, 95]
    assert n_missing == 0


@settings(derandomize=True, deadline=None)
@given(st.lists(st.one_of(st.floats(allow_infinity=True), st.integers(), st.text(max_size=6), st.none()), max_size=30))
def test_any_age_is_within_the_limits_or_missing_and_never_another_number(values):
    ages, n_missing = ages_in_years(pd.Series(values, dtype=object))
    assert (ages.isna() | ages.between(0, 120)).all()
    blank = [value is None or value != value or str(value).strip() == "" for value in values]
    assert n_missing == int(ages.isna().sum()) - sum(blank)
    for value, age in zip(values, ages, strict=True):
        if isinstance(value, int) and age == age:
            assert age == value  # 130 is not 120


def test_sex_coding_is_closed_and_counts_the_rest():
    sex, n_missing = recorded_sex(pd.Series(["M", "F", "male", "Female", " f ", "O", "Unknown", "", None]))
    assert sex.tolist()[:5] == ["M", "F", "M", "F", "F"]
    assert sex[5:].isna().all()
    assert n_missing == 2


def test_views_are_coded_other_or_missing():
    view = view_of(pd.Series(["AP", "POSTEROANTERIOR", "LL", "ap", "", None]), {"AP": "AP", "POSTEROANTERIOR": "PA"})
    assert view.tolist()[:4] == ["AP", "PA", "other", "other"]
    assert view[4:].isna().all()


def test_terms_count_as_a_whole_only():
    raw = pd.Series(["Pneumothorax", "Pneumonia| Effusion", "No Finding", " "])
    codes = codes_of_terms(raw, terms_of(facts_of("chestxray14")), "|")
    assert codes["code_pneumonia"].tolist()[:3] == ["not mentioned", "mentioned", "not mentioned"]
    assert codes["code_pleural_effusion"].tolist()[:3] == ["not mentioned", "mentioned", "not mentioned"]
    assert codes["code_no_finding"].tolist()[:3] == ["not mentioned", "not mentioned", "mentioned"]
    assert codes.iloc[3].isna().all()


def test_cohort_counts_count_positives_not_missing_values():
    table = pd.DataFrame({"split": ["train", "train", "test"], "patient_id": ["a", "a", "b"]})
    table = table.assign(**dict.fromkeys(FINDINGS, [1.0, np.nan, 0.0]))
    counts = cohort_counts(table)
    assert counts["train"] == {"images": 2, "patients": 1, **dict.fromkeys(FINDINGS, 1)}
    assert counts["test"]["pneumonia"] == 0
    assert counts["valid"]["images"] == 0


def test_a_share_that_plays_no_part_is_not_checked_and_a_seed_is():
    assert SplitChoice(recipe="official", valid_fraction=0.85).valid_fraction == 0.85
    with pytest.raises(UserError, match="leave no one to train on"):
        SplitChoice(recipe="patients", valid_fraction=0.85)
    with pytest.raises(UserError, match="seed of the split must be 0 or more; got -1"):
        SplitChoice(recipe="official", seed=-1)


@pytest.mark.parametrize(
    ("said", "facts", "expected"),
    [
        (None, {}, "recorded"),
        (None, {"patient_ids": "admissions"}, "admissions"),
        ("recorded", {"patient_ids": "admissions"}, "recorded"),
    ],
)
def test_what_a_patient_id_names_is_said_by_the_copy_or_else_by_the_facts(said, facts, expected):
    official = OfficialTable(_table(MANY), {}, patient_ids=said)
    assert _cohort(official, **facts).patient_ids == expected
