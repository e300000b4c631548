import math
from dataclasses import replace

import pandas as pd
import pytest

from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.accounting.tuning import TuningCost
from dpcxr_core.config import PrivacySpecification
from dpcxr_core.publishing import sentences
from dpcxr_core.publishing.chapters import mechanism_tables
from dpcxr_core.study import claims
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.training.record import read_record, read_table

SPECIFICATION = PrivacySpecification(
    sample_rate=0.2, n_steps=4, expected_batch_size=32, max_grad_norm=0.5, noise_multiplier=0.9, delta=1e-3
)
COST = TuningCost(
    privacy_unit="image",
    delta=1e-5,
    mean_runs=30,
    distribution="geometric",
    epsilon_once=8.0,
    epsilon_once_rdp=9.0,
    epsilon_tuned=21.0,
    epsilon_composed=math.inf,
    noise_multiplier=0.7,
    noise_multiplier_rdp=0.8,
    noise_multiplier_tuned=1.6,
)


@pytest.fixture
def named(tiny_study):
    """Two seeds of two finished trainings under names, and one that diverged."""
    private = [
        folder
        for folder in tiny_study.folders
        if read_record(folder).config.kind == "private" and read_record(folder).config.head == "reset"
    ]
    by_seed = {seed: [each for each in private if read_record(each).config.seed == seed] for seed in (0, 1)}
    folders = {(name, seed): by_seed[seed][place] for place, name in enumerate("ab") for seed in (0, 1)}
    return {**folders, ("lost", 0): None, ("lost", 1): None}


def test_named_trainings_are_compared_seed_by_seed_and_lost_ones_are_kept_in_sight(named, tiny_study):
    dataset = tiny_study.places.private_dataset
    aurocs = mechanism_tables.aurocs_by_name(named, tiny_study.places).set_index(["name", "seed"])["value"]
    metrics = metrics_table([named["b", 1]], tiny_study.places)
    macro = metrics[(metrics["metric"] == "auroc") & (metrics["finding"] == "macro") & (metrics["dataset"] == dataset)]
    assert aurocs["b", 1] == macro.loc[macro["group_column"] == "all", "value"].item()
    assert math.isnan(aurocs["lost", 0])
    table = claims.against_one_of(named, "a", tiny_study.places).set_index("name")
    assert list(table.index) == ["b", "lost"]
    expected = ((aurocs["b", 0] - aurocs["a", 0]) + (aurocs["b", 1] - aurocs["a", 1])) / 2
    assert table.loc["b", "value"] == pytest.approx(expected, abs=1e-6)  # draws are of single precision
    assert table.loc["b", ["n_seeds", "n_diverged"]].to_list() == [2, 0]
    assert table.loc["lost", ["n_seeds", "n_diverged", "verdict"]].to_list() == [0, 2, "diverged"]
    assert math.isnan(table.loc["lost", "value"])


def test_norms_are_those_of_the_diagnostics_over_the_clip_norm(named):
    norms = mechanism_tables.norms_by_step(named)
    mine = norms[(norms["name"] == "a") & (norms["seed"] == 1)]
    expected = read_table(named["a", 1], "diagnostics")["median_norm"] / 0.5
    assert mine["norm"].to_list() == pytest.approx(expected.to_list())
    assert set(norms["name"]) == {"a", "b"}
    assert mechanism_tables.norms_by_step({}).empty


def test_arms_are_shown_with_difference_verdict_and_norm():
    aurocs = pd.DataFrame(
        {"name": ["a", "a", "b", "b", "c"], "seed": [0, 1, 0, 1, 0], "value": [0.7, 0.8, 0.6, math.nan, math.nan]}
    )
    differences = pd.DataFrame(
        {
            "name": ["b", "c"],
            "value": [-0.1, math.nan],
            "low": [-0.2, math.nan],
            "high": [-0.05, math.nan],
            "low_with_seeds": [-0.3, math.nan],
            "high_with_seeds": [-0.04, math.nan],
            "p_adjusted": [0.0123, math.nan],
            "verdict": ["worse", "diverged"],
        }
    )
    norms = pd.DataFrame({"name": ["a", "a", "b"], "norm": [2.0, 4.0, 7.0]})
    shown = mechanism_tables.show_arms(aurocs, differences, "a", norms)
    assert shown.loc["a"].to_list() == ["0.750 (0.700 to 0.800)", "-", "-", "-", "3"]
    of_b = ["0.600; 1 of 2 seeds diverged", "-0.100 [-0.300, -0.040]", "0.012", "worse", "7"]
    assert shown.loc["b"].to_list() == of_b
    assert shown.loc["c"].to_list() == ["diverged", "diverged", "no test", "diverged", "not known"]
    one_seed = differences.assign(low_with_seeds=math.nan, high_with_seeds=math.nan)
    assert mechanism_tables.show_arms(aurocs, one_seed, "a").loc["b", "minus a"] == "-0.100 [-0.200, -0.050]"
    assert shown.shape[1] - 1 == mechanism_tables.show_arms(aurocs, differences, "a").shape[1]
    words = mechanism_tables.arms_in_words(differences, "a")
    assert words == "*b* is worse than *a*; *c* is without a result, as the loss stopped being finite."
    assert mechanism_tables.arms_in_words(differences.head(0), "a") == "Nothing was compared."


def test_a_reference_alone_can_be_shown(named, tiny_study):
    alone = {key: folder for key, folder in named.items() if key[0] == "a"}
    aurocs = mechanism_tables.aurocs_by_name(alone, tiny_study.places)
    shown = mechanism_tables.show_arms(aurocs, claims.against_one_of(alone, "a", tiny_study.places), "a")
    assert shown.index.to_list() == ["a"]
    assert shown.loc["a", ["minus a", "verdict"]].to_list() == ["-", "-"]


def test_only_bounded_noisy_poisson_sums_have_an_epsilon():
    arms = {
        "both": SPECIFICATION,
        "no noise": replace(SPECIFICATION, noise_multiplier=0.0),
        "no clip": replace(SPECIFICATION, clipping="none"),
        "neither": replace(SPECIFICATION, noise_multiplier=0.0, clipping="none"),
        "shuffled": replace(SPECIFICATION, sampler="shuffled"),
    }
    shown = mechanism_tables.show_guarantees(arms)
    holds = "at a delta of 0.001, one image added or removed, Poisson sampling"
    assert shown.loc["both", "epsilon"] == f"{epsilon_pld(0.9, 0.2, 4, 1e-3):.3f} {holds}"
    assert set(shown["epsilon"].iloc[1:]) == {"none"}
    assert shown["why"].is_unique
    assert "shuffled draws" in shown.loc["shuffled", "why"]


def test_contributions_and_tuning_are_shown_in_words():
    table = pd.DataFrame({"image": ["random"], "without_clipping": [43.456], "with_clipping": [0.999998]})
    assert mechanism_tables.show_contributions(table).loc["random"].to_list() == ["43.5", "1"]
    shown = mechanism_tables.show_tuning([COST])
    assert shown.loc["30"].to_list() == ["21", "above 100", "1e-05", "one image added or removed", "2.00 times"]


@pytest.mark.parametrize("chosen_elsewhere", [True, False])
def test_origin_of_the_settings_is_claimed_only_where_it_is_known(chosen_elsewhere):
    words = sentences.tuning(COST, chosen_elsewhere)
    assert ("so the choice cost no privacy" in words) == chosen_elsewhere
    assert ("is not known to this page" in words) != chosen_elsewhere
    promise = "an epsilon of 8 at a delta of 1e-05, for one image added or removed and Poisson sampling"
    for part in ("best of 30 runs", f"{promise}, would have become 21", "above 100", "2.00 times"):
        assert part in words
