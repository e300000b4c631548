import math
from dataclasses import replace

import pandas as pd
import pytest

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.evaluation.comparing.delong import PairedTest
from dpcxr_core.publishing import sentences
from dpcxr_core.training.record import read_record


def _differences(verdicts):
    return pd.DataFrame({"kind": ["private"] * len(verdicts), "verdict": verdicts})


def test_public_only_sentence_counts_private_conditions():
    table = _differences(["better", "worse", "not distinguishable", "not distinguishable"])
    table.loc[len(table)] = ["non_private", "better"]
    sentence = sentences.against_public_only(table)
    assert sentence.startswith("Of 4 private conditions, 1 do better than the public-only model, 1 do worse, and 2")
    assert "do not show that private images were needed" in sentence


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
    assert sentences.gaps(gap_table.iloc[:0]) == "There is no such gap with an interval to show here."


def test_gap_sentence_counts_apart_what_has_no_interval(gap_table):
    gap_table.loc[0, ["low", "high"]] = math.nan
    assert sentences.gaps(gap_table).startswith("1 of 1 intervals miss zero. 1 more gap has no interval. The largest")


def test_family_says_when_there_are_too_few_permutations_to_call_one_test():
    tests = pd.DataFrame({"family": "gaps", "p": [0.01, 0.5], "p_adjusted": [0.02, 0.5], "n_permutations": 19})
    assert sentences.family_of_tests(tests).endswith("none is called unless 2 have the smallest p.")
    for enough in (tests.assign(n_permutations=39), tests.drop(columns="n_permutations")):
        assert sentences.family_of_tests(enough).endswith("with no true difference.")


def test_family_sentence_counts_calls_with_and_without_adjustment():
    tests = pd.DataFrame({"family": "gaps on a", "p": [0.001, 0.03, 0.5, float("nan")]})
    tests["p_adjusted"] = [0.003, 0.06, 0.5, float("nan")]
    sentence = sentences.family_of_tests(tests)
    assert "*gaps on a*, has 3 tests. 1 have an adjusted p of at most 0.05" in sentence
    assert "2 would have one without adjustment, where about 0 are" in sentence
    assert sentences.family_of_tests(tests.iloc[3:]) == "There is nothing to test here."


def test_diagnostics_are_means_over_steps():
    steps = pd.DataFrame({"n_drawn": [10, 14], "share_clipped": [0.5, 1.0], "median_norm": [1.0, 2.0]})
    specification = PrivacySpecification(
        sample_rate=0.1, n_steps=2, expected_batch_size=12, max_grad_norm=0.5, noise_multiplier=1.0, delta=1e-3
    )
    sentence = sentences.diagnostics(steps, specification)
    assert "drew 12 images on average; 12 were expected. 75% of their gradients were clipped" in sentence
    assert "3.0 times the clip norm" in sentence
    of_patients = replace(specification, privacy_unit="patient", max_images_per_patient=2, clipping="automatic")
    assert "drew 12 patients on average" in sentences.diagnostics(steps, of_patients)
    assert "were clipped" not in sentences.diagnostics(steps, of_patients)


def test_unit_cost_is_the_ratio_of_the_noise_and_says_when_there_is_none():
    noise = {"image": {1.0: 2.0, 8.0: 1.0}, "patient": {1.0: 5.0, 8.0: 1.5}}
    assert "1.50 to 2.50 times" in sentences.unit_cost(noise)
    assert "2.50 times" in sentences.unit_cost({unit: {1.0: each[1.0]} for unit, each in noise.items()})
    assert "cannot be the unit" in sentences.unit_cost({"image": noise["image"]})


def test_private_choices_name_the_unit_and_only_what_is_used(tiny_study):
    plain = next(config for config in tiny_study.configs if config.kind == "private")
    assert sentences.private_choices(plain) == "The privacy unit of this run is one image."
    privacy = replace(plain.privacy, privacy_unit="patient", max_images_per_patient=4, clipping="automatic")
    rich = sentences.private_choices(replace(plain, privacy=privacy, augmentation_multiplicity=3, ema_decay=0.9))
    for needed in ("one patient with all their images", "at most 4", "Automatic", "3 shifted copies", "decay 0.9"):
        assert needed in rich
    ordinary = next(config for config in tiny_study.configs if config.kind == "non_private")
    assert "no privacy" in sentences.private_choices(ordinary)


def test_training_time_gives_the_share_of_waiting_where_it_was_measured(tiny_study):
    record = read_record(tiny_study.folders[0])
    waited = replace(record, seconds={"training": 20.0, "loading": 0.3})
    assert sentences.training_time(waited).endswith("took 20 seconds, of which 1.5% was spent waiting for images.")
    assert sentences.training_time(replace(record, seconds={"training": 20.0})).endswith("took 20 seconds.")


def test_private_runs_of_a_comparison_add_up(tiny_study):
    configs = [read_record(folder).config for folder in tiny_study.folders]
    private = [config for config in configs if config.privacy is not None]
    assert 0 < len(private) < len(configs)
    words = sentences.all_private_runs(configs)
    epsilon, delta = sum(each.target_epsilon for each in private), sum(each.privacy.delta for each in private)
    assert f"all {len(private)} private runs sees an epsilon of at most {epsilon:g} at a delta of {delta:.2g}" in words
    of_a_patient = replace(private[0].privacy, privacy_unit="patient", max_images_per_patient=2)
    assert "have no sum" in sentences.all_private_runs([*private, replace(private[0], privacy=of_a_patient)])
    assert "have no sum" in sentences.all_private_runs([])


def test_delong_stands_beside_the_resampled_patients():
    sentence = sentences.beside_delong((0.02, 0.0, 0.04), PairedTest(0.02, 0.01, 0.0455), "no_finding")
    assert "*no finding*, the difference is +0.020 [+0.000, +0.040] where patients" in sentence
    assert "+0.020 [+0.000, +0.040] and a p of 0.045" in sentence or "a p of 0.046" in sentence
    undefined = sentences.beside_delong((math.nan,) * 3, PairedTest(math.nan, math.nan, math.nan), "no_finding")
    assert undefined.count("undefined") == 2
