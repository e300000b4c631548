from itertools import product

import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.policies import labels_by, policies_of
from dpcxr_core.data.sources.graded_reports import codes_of_grades, graded_columns, grades_of, meanings_of

SETS = ("uka_cxr", "taix_ray")
FACTS = {dataset: facts_of(dataset) for dataset in SETS}
# What the radiologist wrote -> the number in each set, and how far along it is.
SIDE = {
    "kein": ("1", "0", 0),
    "(+)": ("5", "1", 1),
    "": ("0", "", 2),
    "+": ("2", "2", 3),
    "++": ("3", "3", 4),
    "+++": ("4", "4", 5),
}
HEART = {
    "normal": ("1", "0"),
    "grenzwertig": ("2", "1"),
    "": ("0", ""),
    "vergrößert": ("3", "2"),
    "massiv vergrößert": ("4", "3"),
}


def _written(dataset, sides=("kein", "kein"), heart="normal", congestion="kein"):
    """One report: both sides of pleural effusion as given, the other sides none."""
    facts, which = FACTS[dataset], SETS.index(dataset)
    row = {column: SIDE["kein"][which] for column in graded_columns(facts)}
    row |= {f"pleural_effusion_{side}": SIDE[text][which] for side, text in zip(("right", "left"), sides, strict=True)}
    row |= {facts["labels"]["cardiomegaly"][0]: HEART[heart][which], "congestion": SIDE[congestion][which]}
    return facts, pd.DataFrame([row], dtype=object)


def _labels(dataset, policy, **report):
    facts, entries = _written(dataset, **report)
    codes = codes_of_grades(grades_of(entries, facts), facts)
    return labels_by(policies_of(facts)[policy], codes).iloc[0]


@pytest.mark.parametrize("dataset", SETS)
def test_larger_side_is_the_more_severe_one_and_not_the_larger_number(dataset):
    facts = FACTS[dataset]
    for right, left in product(SIDE, SIDE):
        _, entries = _written(dataset, sides=(right, left))
        grades = grades_of(entries, facts)
        code = codes_of_grades(grades, facts)["code_pleural_effusion"].iloc[0]
        more = max((right, left), key=lambda text: SIDE[text][2])
        assert code == (SIDE[more][SETS.index(dataset)] or "blank"), (right, left)


def test_question_mark_of_uka_is_five_and_less_than_two():
    facts, entries = _written("uka_cxr", sides=("(+)", "+"))
    assert entries[["pleural_effusion_right", "pleural_effusion_left"]].iloc[0].tolist() == ["5", "2"]
    assert codes_of_grades(grades_of(entries, facts), facts)["code_pleural_effusion"].iloc[0] == "2"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        # kein, (+), not graded, +, ++, +++
        ("as_published", [0, 0, 0, 0, 1, 1]),
        ("u_zero", [0, 0, None, 1, 1, 1]),
        ("u_one", [0, 1, None, 1, 1, 1]),
        ("u_ignore", [0, None, None, 1, 1, 1]),
    ],
)
def test_same_report_gets_the_same_label_in_both_sets(policy, expected):
    for text, label in zip(SIDE, expected, strict=True):
        for dataset in SETS:
            got = _labels(dataset, policy, sides=(text, "kein"))["pleural_effusion"]
            assert pd.isna(got) if label is None else got == label, (dataset, text)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        # normal, borderline, not graded, enlarged, massively enlarged
        ("as_published", [0, 0, 0, 1, 1]),
        ("u_zero", [0, 0, None, 1, 1]),
        ("u_one", [0, 1, None, 1, 1]),
        ("u_ignore", [0, None, None, 1, 1]),
    ],
)
def test_heart_has_its_own_scale(policy, expected):
    for text, label in zip(HEART, expected, strict=True):
        for dataset in SETS:
            got = _labels(dataset, policy, heart=text)["cardiomegaly"]
            assert pd.isna(got) if label is None else got == label, (dataset, text)


def test_heart_that_cannot_be_judged_is_no_label_but_the_lab_calls_it_normal():
    facts, entries = _written("uka_cxr")
    codes = codes_of_grades(grades_of(entries.assign(cardiomegaly="5"), facts), facts)
    labels = {name: labels_by(policy, codes)["cardiomegaly"].iloc[0] for name, policy in policies_of(facts).items()}
    assert labels["as_published"] == 0
    assert all(pd.isna(labels[name]) for name in ("u_zero", "u_one", "u_ignore"))


@pytest.mark.parametrize("dataset", SETS)
@pytest.mark.parametrize(
    ("report", "by_policy"),
    [
        ({}, {"as_published": 1, "u_zero": 1, "u_one": 1, "u_ignore": 1}),
        ({"sides": ("(+)", "kein")}, {"as_published": 0, "u_zero": 1, "u_one": 0, "u_ignore": None}),
        ({"heart": "grenzwertig"}, {"as_published": 0, "u_zero": 1, "u_one": 0, "u_ignore": None}),
        ({"congestion": "+"}, dict.fromkeys(("as_published", "u_zero", "u_one", "u_ignore"), 0)),
        ({"sides": ("", "kein")}, {"as_published": 0, "u_zero": None, "u_one": None, "u_ignore": None}),
        ({"sides": ("", "kein"), "heart": "vergrößert"}, dict.fromkeys(("u_zero", "u_one", "u_ignore"), 0)),
    ],
)
def test_no_finding_follows_from_all_grades(dataset, report, by_policy):
    for policy, label in by_policy.items():
        got = _labels(dataset, policy, **report)["no_finding"]
        assert pd.isna(got) if label is None else got == label, policy


@pytest.mark.parametrize("dataset", SETS)
def test_every_policy_knows_every_code(dataset):
    facts = FACTS[dataset]
    assert {grade for scale in facts["scales"].values() for grade in scale["grades"]} <= set(facts["codes"])
    for policy in policies_of(facts).values():
        for finding in FINDINGS:
            assert set(facts["codes"]) == set(policy.values[finding])


def test_numbers_with_a_point_are_read_and_values_off_the_scale_are_refused_with_counts():
    facts, entries = _written("uka_cxr")
    entries = pd.concat([entries] * 3, ignore_index=True)
    entries["congestion"] = ["3.0", "3", ""]
    assert grades_of(entries, facts)["congestion"].tolist() == ["3", "3", "0"]
    entries["congestion"] = ["6", "6.0", "-1"]
    with pytest.raises(UserError, match=r"congestion holds '6' \(2 times\), '-1' \(1 times\); known are '1', '5'"):
        grades_of(entries, facts)


def test_meanings_name_what_was_not_graded():
    facts, entries = _written("taix_ray", sides=("", "+"))
    meanings = meanings_of(grades_of(entries, facts), facts).iloc[0]
    assert (meanings["pleural_effusion_right"], meanings["pleural_effusion_left"]) == ("not graded", "present")
