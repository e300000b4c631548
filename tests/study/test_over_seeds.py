import math

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.evaluation.comparing.multiplicity import holm
from dpcxr_core.evaluation.comparing.paired import contrasts_over_seeds
from dpcxr_core.study.over_seeds import contrasts_of_study, contrasts_with_verdicts

BY = ["dataset", "target_epsilon"]


def _pairs(*levels, datasets=("north", "south"), seeds=range(3)):
    rows = [{"dataset": name, "target_epsilon": level} for level in levels for name in datasets]
    return pd.DataFrame([{**row, "seed": seed} for row in rows for seed in seeds])


def _draws(spread, rng):
    patients = 0.002 * rng.normal(size=81)

    def contrast(pair):
        return spread(pair) * rng.normal() + patients

    return contrast


def test_seeds_are_pooled_within_a_data_set_and_a_kind_of_run():
    spread = {8.0: 1.0, 1.0: 3.0, math.inf: 0.1}
    offsets = {0: -1, 1: 0, 2: 1}
    found = contrasts_of_study(
        _pairs(8.0, math.inf, 1.0),
        BY,
        lambda pair: np.full(5, spread[pair["target_epsilon"]] * offsets[pair["seed"]]) * (pair["dataset"] == "north"),
    )
    assert found[BY].to_numpy().tolist() == [
        [name, level] for level in (8.0, math.inf, 1.0) for name in ("north", "south")
    ]
    private = math.sqrt((1 + 9) / 2 / 3)
    assert found["se_seeds"].to_list() == pytest.approx([private, 0, 0.1 / math.sqrt(3), 0, private, 0])


def test_a_public_only_model_has_no_seeds_to_vary():
    given = _pairs(math.nan, seeds=[0])
    trained = _pairs(8.0)
    found = contrasts_of_study(pd.concat([given, trained]), BY, _draws(lambda _: 0.1, np.random.default_rng(0)))
    assert found["se_seeds"].isna().to_list() == [True, True, False, False]
    assert contrasts_of_study(given[:0], BY, _draws(lambda _: 0.1, np.random.default_rng(0))).empty


def test_contrasts_are_one_family_with_a_verdict_each():
    worth = {1.0: 0.5, 4.0: -0.5, 8.0: 0.0}
    rng = np.random.default_rng(0)
    pairs = _pairs(*worth, datasets=("north",))

    def contrast(pair):
        return worth[pair["target_epsilon"]] + 0.01 * rng.normal(size=81)

    found = contrasts_with_verdicts(pairs, BY, contrast, "of this test")
    assert found["verdict"].to_list() == ["better", "worse", "not distinguishable"]
    np.testing.assert_array_equal(found["p_adjusted"], holm(found["p"].to_numpy()))
    assert found[["family", "n_in_family"]].to_numpy().tolist() == [["of this test", 3]] * 3
    assert contrasts_with_verdicts(pairs[:0], BY, contrast, "of this test")["verdict"].empty


@pytest.mark.parametrize(
    ("pairs", "is_noisy"),
    [
        (_pairs(8.0, datasets="abcdefg"), lambda pairs: pairs["dataset"] == "a"),
        (_pairs(*range(1, 7), math.inf, datasets="a"), lambda pairs: np.isinf(pairs["target_epsilon"])),
    ],
)
def test_what_varies_four_times_as_much_is_rarely_told_apart_by_chance(pairs, is_noisy):
    """30 studies of 21 comparisons where nothing differs; the wrong version pools over all of them."""
    pairs = pairs.merge(pd.DataFrame({"initialisation": list("xyz")}), how="cross")
    spread, by = np.where(is_noisy(pairs), 0.04, 0.01), [*BY, "initialisation"]
    rng, n_studies, false = np.random.default_rng(20260103), 30, np.zeros(2)
    for _ in range(n_studies):
        drawn, resampled = pairs.assign(error=spread * rng.normal(size=len(pairs))), 0.002 * rng.normal(size=41)
        for place, table_of in enumerate((contrasts_of_study, contrasts_over_seeds)):
            table = table_of(drawn, by, lambda pair, resampled=resampled: pair["error"] + resampled)
            false[place] += (holm(table["p"].to_numpy()) <= 0.05).any()
    z = (false / n_studies - 0.05) / math.sqrt(0.05 * 0.95 / n_studies)
    assert z[0] < 5 < z[1]
