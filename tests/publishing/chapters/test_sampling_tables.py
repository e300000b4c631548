import math
from dataclasses import replace

import pandas as pd
import pytest

from dpcxr_core.accounting.samplers import SamplerGuarantee
from dpcxr_core.config import SAMPLERS
from dpcxr_core.publishing.chapters import sampling_tables
from dpcxr_core.publishing.chapters.sampling_tables import SAMPLER_WORDS

SHUFFLED = SamplerGuarantee(
    sampler="shuffled",
    neighbouring_relation="zero_out_one",
    accountant="Gaussian, one batch a pass",
    epsilon=138.2,
    epsilon_low=24.0,
    epsilon_if_poisson=8.0,
    promise="Only what would hold if the order were known.",
    privacy_unit="image",
    delta=1e-5,
)
POISSON = replace(
    SHUFFLED, sampler="poisson", neighbouring_relation="add_or_remove_one", epsilon=8.0, epsilon_low=math.nan
)


def _aurocs(values):
    return pd.DataFrame([{"name": "Poisson", "seed": seed, "value": value} for seed, value in enumerate(values)])


def _differences(**values):
    return pd.DataFrame(
        [
            {"name": name, "value": value, "low": value - 0.01, "high": value + 0.01, "verdict": verdict}
            for name, (value, verdict) in values.items()
        ]
    )


def test_every_sampler_has_words():
    assert list(SAMPLER_WORDS) == list(SAMPLERS)


@pytest.mark.parametrize(
    ("poisson", "difference", "words"),
    [
        ([0.7, 0.71], (0.02, "better"), "1 differ from it by more: shuffled (better)"),
        ([0.7, 0.73], (0.02, "better"), "none of the 1 other samplers"),
        ([0.7, 0.71], (0.02, "not distinguishable"), "none of the 1 other samplers"),
        ([0.7], (0.02, "better"), "One seed cannot tell"),
    ],
)
def test_a_difference_counts_only_beyond_that_between_seeds(poisson, difference, words):
    sentence = sampling_tables.accuracy_sentence(_aurocs(poisson), _differences(shuffled=difference))
    assert "+0.020 (shuffled)" in sentence
    assert words in sentence


def test_a_sampler_whose_runs_diverged_is_not_counted():
    differences = _differences(shuffled=(0.02, "better"), **{"balls and bins": (math.nan, "diverged")})
    sentence = sampling_tables.accuracy_sentence(_aurocs([0.7, 0.71]), differences)
    assert "Of the 1 other samplers, 1 differ" in sentence
    assert "No other sampler" in sampling_tables.accuracy_sentence(_aurocs([0.7, 0.71]), differences.iloc[1:])


def test_guarantees_name_their_neighbours_and_no_poisson_epsilon_of_another_sampler_passes_for_one():
    table = sampling_tables.show_guarantees([POISSON, SHUFFLED])
    poisson, shuffled = table.loc[("Poisson", "add or remove one")], table.loc[("shuffled", "zero out one")]
    assert poisson["epsilon, at least"] == "not known"
    assert (poisson["unit"], poisson["delta"]) == ("image", "1e-05")
    assert poisson["epsilon if it were Poisson"] == "8"
    assert shuffled["epsilon if it were Poisson"] == "8 (not a guarantee)"
    assert (shuffled["epsilon, at least"], shuffled["epsilon, at most"]) == ("24", "138")


def test_promises_are_shown_in_full():
    assert sampling_tables.show_promises([SHUFFLED])["what is promised"].tolist() == [SHUFFLED.promise]


def test_sentence_on_shuffling_says_by_how_much_the_poisson_epsilon_is_too_small_or_that_it_is_not_refuted():
    sentence = sampling_tables.shuffling_sentence([POISSON, SHUFFLED])
    assert "at least 24 and at most 138" in sentence
    assert "by a factor of at least 3.0" in sentence
    assert "not refuted, and not proved" in sampling_tables.shuffling_sentence([replace(SHUFFLED, epsilon_low=7.0)])
