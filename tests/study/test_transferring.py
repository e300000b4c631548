from dataclasses import replace

import numpy as np
import pytest

from dpcxr_core.evaluation.transfer.abroad import APART, CASE_MIX, OPERATING_POINTS, PREVALENCE
from dpcxr_core.evaluation.transfer.drop import drops
from dpcxr_core.study.evaluating import draws_by_run, draws_of, metrics_table, thresholds_chosen_on
from dpcxr_core.study.run_table import runs_table
from dpcxr_core.study.scores import scores_on
from dpcxr_core.study.transferring import compared_abroad, hospitals_of, transfer_matrix


@pytest.fixture(scope="module")
def seeds(tiny_study):
    """The two seeds of one private condition."""
    runs = runs_table(tiny_study.folders)
    chosen = runs.query("kind == 'private' and head == 'reset' and init_name == @tiny_study.init_names[-1]")["run_id"]
    return [tiny_study.places.runs / run_id for run_id in chosen]


@pytest.fixture(scope="module")
def abroad(seeds, tiny_study):
    return compared_abroad(seeds, tiny_study.places)


def test_every_hospital_and_measurable_finding_is_compared_over_all_seeds(abroad, seeds, tiny_study):
    external = set(tiny_study.places.external_datasets)
    assert len(seeds) == 2
    for table in abroad.tables.values():
        assert set(table["dataset"]) <= external
        assert (table["n_seeds"] == 2).all()
    measured = set(zip(abroad.tables[APART]["dataset"], abroad.tables[APART]["finding"], strict=True))
    assert measured
    assert not measured & set(abroad.unmeasured)
    assert len(measured) + len(abroad.unmeasured) == 5 * len(external)
    assert all("fewer than 10" in reason for reason in abroad.unmeasured.values())
    assert set(abroad.covered) == measured


def test_the_numbers_at_home_are_those_of_the_metrics_table(abroad, seeds, tiny_study):
    dataset, finding = next(iter(abroad.covered))
    metrics = metrics_table(seeds, tiny_study.places)

    def metric(name, where):
        rows = metrics[(metrics["metric"] == name) & (metrics["finding"] == finding) & (metrics["dataset"] == where)]
        return rows[rows["group_column"] == "all"]["value"].mean()

    def ours(topic, **wanted):
        rows = abroad.tables[topic]
        for column, value in {"dataset": dataset, "finding": finding, **wanted}.items():
            rows = rows[rows[column] == value]
        return rows["value"].item()

    home = tiny_study.places.private_dataset
    for name in ("tpr", "fpr", "f1"):
        assert ours(OPERATING_POINTS, where="at home", metric=name) == pytest.approx(metric(name, home))
        assert ours(OPERATING_POINTS, where="transported", metric=name) == pytest.approx(metric(name, dataset))
    for part, where in (("at home", home), ("abroad", dataset)):
        assert ours(PREVALENCE, metric="prevalence", part=part) == pytest.approx(metric("prevalence", where))


def test_the_matrix_holds_the_aurocs_of_every_hospital_but_not_the_null_world(seeds, tiny_study):
    matrix = transfer_matrix(seeds, tiny_study.places)
    assert set(matrix["dataset"]) == set(hospitals_of(tiny_study.places))
    assert tiny_study.places.null_dataset not in set(matrix["dataset"])
    row = matrix.query("dataset == @tiny_study.places.private_dataset and finding == 'cardiomegaly'").iloc[0]
    values = [
        draws_of(folder, tiny_study.places)[row["dataset"]].of("auroc", "cardiomegaly", "all", "all")[0]
        for folder in seeds
    ]
    assert row["value"] == pytest.approx(np.mean(values))
    macro = matrix.query("finding == 'macro'")
    assert (macro["note"] == "").all()
    assert macro["p_adjusted"].isna().all()


def test_a_study_of_one_hospital_has_nothing_abroad(seeds, tiny_study):
    alone = replace(tiny_study.places, external_datasets=())
    assert hospitals_of(alone) == (alone.private_dataset,)
    nothing = compared_abroad(seeds, alone)
    assert all(table.empty for table in nothing.tables.values())
    assert set(nothing.tables) == {OPERATING_POINTS, PREVALENCE, APART, CASE_MIX}
    runs = runs_table(seeds)
    assert drops(draws_by_run(seeds, alone), runs, alone.private_dataset, alone.external_datasets).empty


def test_re_tuned_thresholds_come_from_the_validation_images_abroad(abroad, seeds, tiny_study):
    rows = abroad.tables[OPERATING_POINTS].query("where == 're-tuned' and metric == 'tpr' and finding != 'macro'")
    rows = rows.dropna(subset="value")
    assert len(rows)
    for row in rows.to_dict("records"):
        expected = []
        for folder in seeds:
            chosen = thresholds_chosen_on(folder, row["dataset"], tiny_study.places)
            scores = scores_on(folder, row["dataset"], tiny_study.places)
            ill = scores.loc[(scores["finding"] == row["finding"]) & (scores["y_true"] == 1), "y_score"]
            expected.append((ill >= chosen.values[row["finding"]]).mean())
        assert row["value"] == pytest.approx(np.mean(expected))
