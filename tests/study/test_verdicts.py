import math

import numpy as np
import pytest

from dpcxr_core.evaluation.comparing.paired import LEVEL
from dpcxr_core.publishing.tables import one_metric
from dpcxr_core.study import verdicts
from dpcxr_core.study.claim_contrasts import Contrast
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.study.run_table import runs_table
from dpcxr_core.study.scored_cells import scored_cells
from dpcxr_core.study.verdicts import CLAIMS, IN_FAVOUR, UNMEASURABLE, Claim, claims_table, verdict_per_claim
from tests.study.conftest import GROUPS, OFF, TWICE_OFF, cells_frame

ROLES = {"supervised": "imagenet", "self_supervised": "dino", "domain": "mimic"}
WITHOUT = math.inf
# every claim true: what privacy costs, the gap between groups, and what half the patients cost, by initialisation
WORTH = {"imagenet": (0.70, 0.20, 0.30, 0.00), "dino": (0.80, 0.12, 0.05, 0.06), "mimic": (0.86, 0.06, 0.05, 0.12)}


def _study(worth, levels=(1.0, 8.0), seeds=(0, 1, 2), datasets=("north",)):
    """Cells of the main grid and of the ablations "scale" and "capacity"."""
    rows = []
    for initialisation, (auroc, cost, gap, half) in worth.items():
        at = {"initialisation": initialisation, "gap": gap}
        rows += [{**at, "target_epsilon": level, "auroc": auroc, "abroad": auroc - 0.1} for level in levels]
        rows.append({**at, "target_epsilon": WITHOUT, "auroc": auroc + cost})
        ablated = {**at, "target_epsilon": levels[-1]}
        rows.append({**ablated, "fraction": 0.5, "grids": "scale", "auroc": auroc - half})
        rows.append({**ablated, "architecture": "tiny", "grids": "capacity", "auroc": auroc - half})
    return cells_frame(*rows, dataset=datasets, seed=seeds)


def _verdicts(scored, roles=ROLES):
    return verdict_per_claim(claims_table(scored, roles)).set_index("claim")["verdict"].to_dict()


def _where(cells, initialisation, level, grids="main"):
    return (cells["initialisation"] == initialisation) & (cells["target_epsilon"] == level) & (cells["grids"] == grids)


def test_what_holds_everywhere_is_supported(study_of):
    table = claims_table(study_of(_study(WORTH, datasets=("north", "south"))), ROLES)
    assert set(table["verdict"]) == {IN_FAVOUR}
    assert not np.isposinf(table["target_epsilon"]).any()
    assert set(verdict_per_claim(table)["verdict"]) == {"supported"}
    at_home = table[table["claim"] == 1]
    assert at_home["value"].to_list() == pytest.approx([0.1] * 4, abs=OFF)
    assert at_home[["dataset", "target_epsilon"]].to_numpy().tolist() == [
        *(["north", 1.0], ["north", 8.0], ["south", 1.0], ["south", 8.0])
    ]
    cost = table[table["part"] == "cost of privacy"]
    assert sorted(cost["value"]) == pytest.approx([0.06] * 4 + [0.14] * 4, abs=TWICE_OFF)  # 0.12 and 0.20, less 0.06
    assert (table.groupby("claim")["n_in_family"].first() == table.groupby("claim").size()).all()


def test_one_regime_the_other_way_contradicts_what_is_said_of_all(study_of):
    truth = _study(WORTH)
    truth.loc[_where(truth, "dino", 8.0), ["auroc", "abroad"]] = 0.5
    found = _verdicts(study_of(truth))
    assert [found[claim] for claim in (1, 5)] == ["contradicted"] * 2
    assert [found[claim] for claim in (2, 3, 4)] == ["supported"] * 3


def test_one_regime_that_shows_nothing_leaves_what_is_said_of_all_open(study_of):
    truth = _study(WORTH)
    truth.loc[_where(truth, "dino", 8.0), ["auroc", "gap"]] = (0.70, 0.30)
    found = _verdicts(study_of(truth))
    assert [found[claim] for claim in (1, 4)] == ["not decided"] * 2
    assert found[3] == "supported"  # said of some regime, not of all


def test_ages_that_come_closer_here_and_drift_apart_there_decide_nothing(study_of):
    truth = _study(WORTH)
    truth.loc[_where(truth, "dino", 8.0), "gap"] = 0.6
    assert _verdicts(study_of(truth))[3] == "not decided"
    truth.loc[_where(truth, "dino", 1.0), "gap"] = 0.6
    assert _verdicts(study_of(truth))[3] == "contradicted"


def test_no_test_shows_that_an_initialisation_changes_nothing(study_of):
    same = {name: (*values[:3], 0.05) for name, values in WORTH.items()}
    assert _verdicts(study_of(_study(same)))[6] == "not decided"
    reversed_order = {**WORTH, "dino": (0.80, 0.12, 0.05, -0.10)}
    assert _verdicts(study_of(_study(reversed_order)))[6] == "supported"


@pytest.mark.parametrize(
    ("lost", "claims", "reason"),
    [
        (lambda cells: _where(cells, "dino", 8.0), (1, 2, 4, 5, 6), "missing self_supervised"),
        (lambda cells: cells["initialisation"] == "mimic", (2,), "missing domain"),
        (lambda cells: _where(cells, "imagenet", WITHOUT), (2,), "missing supervised without privacy"),
        (lambda cells: cells["grids"] == "capacity", (6,), "self_supervised and supervised with several networks"),
        (lambda cells: cells["seed"] > 0, (1, 2, 3, 4, 5, 6), "missing a second seed"),
    ],
)
def test_missing_runs_are_named_and_decide_nothing(study_of, lost, claims, reason):
    truth = _study(WORTH)
    truth["has_run"] = ~lost(truth)
    found = _verdicts(study_of(truth))
    assert all(found[claim].startswith("not decided (missing ") and reason in found[claim] for claim in claims)
    # among them claim 3 where one regime of two is missing: it is said of some
    assert {found[claim] for claim in set(found) - set(claims)} <= {"supported"}


def test_a_study_without_roles_hospitals_or_cells_decides_nothing(study_of):
    scored = study_of(_study(WORTH))
    for roles in ({}, {"domain": "mimic"}):
        assert all(verdict.startswith("not decided (missing ") for verdict in _verdicts(scored, roles).values())
    alone = type(scored)(scored.cells, scored.draws, scored.home, {"north": ()})
    assert _verdicts(alone)[5] == "not decided (missing other hospitals)"
    empty = type(scored)(scored.cells[:0], {}, {}, {})
    table = verdict_per_claim(claims_table(empty, ROLES))
    assert table["claim"].to_list() == [claim.number for claim in CLAIMS]
    assert all(verdict.startswith("not decided (missing ") for verdict in table["verdict"])


def _without_ages(scored, dataset):
    """``scored`` where no finding can be measured in every age band of ``dataset``."""
    ages = [name == "age_band" for name, _ in GROUPS]
    for of_run in scored.draws.values():
        if dataset in of_run:
            for values in of_run[dataset].values.values():
                values[:, ages] = math.nan
    return scored


def test_what_the_test_patients_cannot_show_is_not_called_missing_and_counts_for_nothing(study_of):
    scored = _without_ages(study_of(_study(WORTH, datasets=("north", "south"))), "south")
    table = claims_table(scored, ROLES)
    lost = table[table["verdict"] == UNMEASURABLE]
    assert set(lost["dataset"]) == {"south"}
    assert lost["part"].str.endswith("by age_band").all()
    assert set(lost["reason"]) == {"no finding can be measured in every group"}
    found = verdict_per_claim(table).set_index("claim")
    assert set(found["verdict"]) == {"supported"}
    assert found["n_unmeasurable"].to_dict() == {1: 0, 2: 0, 3: 2, 4: 8, 5: 0, 6: 0}
    assert set(found["n_missing"]) == {0}
    assert found.loc[3, "n_contrasts"] == 2


def test_a_part_that_no_test_patients_can_show_is_not_decided(study_of):
    found = _verdicts(_without_ages(study_of(_study(WORTH)), "north"))
    assert [found[claim] for claim in (3, 4)] == ["not decided"] * 2


class _Studies:
    """Studies drawn anew, with a claim of each rule about one contrast whose true value by regime is given."""

    def __init__(self, monkeypatch, truth, seed):
        self.truth, self.rng = np.array(truth), np.random.default_rng(seed)
        rules = enumerate(("everywhere", "somewhere", "either way"), start=1)
        claims = [
            Claim(number=n, text="", source="abstract", test="", contrasts=self.contrasts, rule=rule)
            for n, rule in rules
        ]
        monkeypatch.setattr(verdicts, "CLAIMS", claims)

    def contrasts(self, scored, roles):
        seeds = cells_frame({}, target_epsilon=range(len(self.truth)), seed=range(3)).assign(run_id="run")
        patients = 0.01 * self.rng.normal(size=(len(self.truth), 81))

        def measure(cell):
            error = patients[cell["target_epsilon"]]
            on_the_data = self.truth[cell["target_epsilon"]] + error[0] + 0.01 * self.rng.normal()
            return on_the_data + np.concatenate([[0], error[1:]]), 0.0

        return [Contrast("", "", seeds, ("run_id",), measure)]


def _z(n, n_studies, rate=0.05):
    return (n / n_studies - rate) / math.sqrt(rate * (1 - rate) / n_studies)


def test_where_nothing_differs_a_claim_is_rarely_decided(monkeypatch):
    """100 studies of six regimes; the wrong version leaves out Holm's correction."""
    n_studies = 100
    _Studies(monkeypatch, [0.0] * 6, seed=20260101)
    decided, uncorrected = np.zeros(3), 0
    for _ in range(n_studies):
        table = claims_table(None, {})
        decided += verdict_per_claim(table)["verdict"].isin(["supported", "contradicted"])
        uncorrected += (table.loc[table["claim"] == 3, "p"] <= LEVEL).any()
    assert all(_z(n, n_studies) < 5 for n in decided)
    assert _z(uncorrected, n_studies) > 5


def test_a_claim_of_all_regimes_is_rarely_supported_where_one_shows_nothing(monkeypatch):
    """One of three regimes shows nothing; the wrong version tests the mean over regimes."""
    n_studies = 60
    _Studies(monkeypatch, [0.1, 0.0, 0.1], seed=20260102)
    supported, by_the_mean = np.zeros(3), 0
    for _ in range(n_studies):
        table = claims_table(None, {})
        supported += verdict_per_claim(table)["verdict"] == "supported"
        rows = table[table["claim"] == 1]
        by_the_mean += rows["value"].mean() > 2 * math.hypot(*rows["se_sampling"], *rows["se_seeds"]) / 3
    everywhere, somewhere, either_way = supported
    assert _z(everywhere, n_studies) < 5 < _z(by_the_mean, n_studies)
    assert min(somewhere, either_way) > 0.95 * n_studies


def test_claims_of_a_trained_study_are_tested_on_its_records(tiny_study):
    runs = runs_table(tiny_study.folders)
    cells = runs.assign(
        dataset="sim",
        initialisation=runs["init_name"].str.split(".").str[1].str.partition("@")[0],
        target_epsilon=runs["target_epsilon"].mask(runs["kind"] == "non_private", WITHOUT),
        unit="image",
        fraction=1.0,
        grids="main",
    )
    scored = scored_cells(tiny_study.folders, cells, dict.fromkeys(runs["run_id"], tiny_study.places))
    roles = {
        "supervised": "standin_supervised",
        "self_supervised": "standin_selfsupervised",
        "domain": "standin_domain",
    }
    table = claims_table(scored, roles)
    aurocs = one_metric(
        metrics_table(tiny_study.folders, tiny_study.places), tiny_study.places.private_dataset, "auroc"
    ).query("group_column == 'all'")
    of_runs = runs[(runs["head"] == "reset") & (runs["kind"] == "private")].merge(aurocs, on="run_id")
    means = of_runs.groupby("init_name")["value"].mean()
    supervised, self_supervised, _ = tiny_study.init_names[-3:]
    first = table[table["claim"] == 1]
    assert first["value"].item() == pytest.approx(means[self_supervised] - means[supervised], abs=1e-6)
    assert first["n_seeds"].item() == 2
    assert (table.loc[table["claim"].isin([1, 2, 5]), "reason"] == "").all()
