import pandas as pd
import pytest

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.publishing import sentences


def _differences(verdicts):
    return pd.DataFrame({"kind": ["private"] * len(verdicts), "verdict": verdicts})


def test_public_only_sentence_counts_private_conditions():
    table = _differences(["better", "worse", "not distinguishable", "not distinguishable"])
    table.loc[len(table)] = ["non_private", "better"]
    sentence = sentences.against_public_only(table)
    assert sentence.startswith("Of 4 private conditions, 1 do better than the public-only model, 1 do worse, and 2")
    assert "no private image was needed" in sentence


def test_public_only_sentence_has_no_warning_when_all_do_better():
    assert "no private image" not in sentences.against_public_only(_differences(["better", "better"]))


def test_order_sentence_names_levels_by_verdict():
    table = pd.DataFrame(
        {
            "claim": ["a > b"] * 3 + ["b > c"],
            "kind": "private",
            "target_epsilon": [1.0, 3.0, 8.0, 1.0],
            "verdict": ["better", "not distinguishable", "better", "worse"],
        }
    )
    assert sentences.order(table) == (
        "*a > b* is supported at epsilon 1 and 8, not decided at epsilon 3. *b > c* is contradicted at epsilon 1."
    )


@pytest.fixture
def gap_table():
    return pd.DataFrame(
        {
            "value": [0.01, -0.05, float("nan")],
            "low": [-0.01, -0.08, float("nan")],
            "high": [0.03, -0.02, float("nan")],
            "group_value": ["F-M", "70+ - 0-39", "F-M"],
            "init_label": ["a", "b", "c"],
        }
    )


def test_gap_sentence_counts_intervals_that_miss_zero_and_names_the_largest(gap_table):
    sentence = sentences.gaps(gap_table)
    assert sentence.startswith("1 of 2 intervals miss zero.")
    assert "-0.050 [-0.080, -0.020] (70+ - 0-39), for the initialisation *b*" in sentence
    assert sentences.gaps(gap_table.iloc[:1]) == "0 of 1 intervals miss zero."


def test_gap_sentence_says_when_there_is_nothing(gap_table):
    assert sentences.gaps(gap_table.iloc[:0]) == "There is no such gap to show here."


def test_diagnostics_are_means_over_steps():
    steps = pd.DataFrame({"n_drawn": [10, 14], "share_clipped": [0.5, 1.0], "median_norm": [1.0, 2.0]})
    specification = PrivacySpecification(
        sample_rate=0.1, n_steps=2, expected_batch_size=12, max_grad_norm=0.5, noise_multiplier=1.0, delta=1e-3
    )
    sentence = sentences.diagnostics(steps, specification)
    assert "drew 12 images on average; 12 were expected. 75% of the gradients" in sentence
    assert "3.0 times the clip norm" in sentence


def test_drop_sentence_names_least_and_greatest_and_says_when_there_is_none():
    index = pd.MultiIndex.from_tuples([("a", "epsilon 1"), ("b", "no privacy")])
    sentence = sentences.drop(pd.DataFrame({"x": [0.1, -0.02], "y": [0.2, 0.0]}, index=index))
    assert "from -0.010 (*b, no privacy*) to +0.150 (*a, epsilon 1*)" in sentence
    assert "one data set only" in sentences.drop(pd.DataFrame(index=index))
