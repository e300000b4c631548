import multiprocessing
import os
import signal
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from dpcxr_core.config import EvaluationChoice, UserError
from dpcxr_core.data.store import open_store
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.statistics.auroc import auroc
from dpcxr_core.evaluation.thresholds import choose_thresholds
from dpcxr_core.publishing.tables import one_metric
from dpcxr_core.study import evaluating
from dpcxr_core.study.evaluating import (
    cohort_tested_on,
    draws_by_run,
    draws_of,
    evaluated,
    evaluation_folder,
    metrics_table,
    thresholds_of,
)
from dpcxr_core.study.scores import scores_of_tests, scores_on
from dpcxr_core.tables import METRICS, checked
from dpcxr_core.training.record import read_record, write_record_json
from tests.study import DRAWS_ARE_FLOAT32

FILES = {"metrics.parquet", "thresholds.json"}


@pytest.fixture
def places(tiny_study, tmp_path):
    """The tiny study with no run evaluated yet."""
    choice = EvaluationChoice(n_resamples=8, group_columns=("sex",))
    return replace(tiny_study.places, evaluations=tmp_path / "evaluations", evaluation=choice)


def test_metrics_of_several_runs_are_those_of_their_scores_in_order(tiny_study, places):
    folders = tiny_study.folders[:3]
    metrics = checked(metrics_table(folders, places), METRICS)
    assert metrics["run_id"].drop_duplicates().to_list() == [folder.name for folder in folders]
    assert metrics.index.is_unique
    mine = scores_on(folders[1], places.private_dataset, places).query("finding == 'pleural_effusion'")
    found = one_metric(metrics, places.private_dataset, "auroc", finding="pleural_effusion").set_index("run_id")
    assert found.loc[folders[1].name, "value"] == pytest.approx(auroc(mine["y_true"], mine["y_score"]))


def test_thresholds_are_chosen_on_validation_images_of_the_set_trained_on_and_used(tiny_study, places):
    folder = tiny_study.folders[0]
    source = scores_on(folder, read_record(folder).config.dataset, places, "valid")
    chosen = choose_thresholds(source, places.evaluation)
    assert thresholds_of(folder, places) == chosen
    scores = scores_of_tests(folder, places)
    expected = evaluate(scores, cohort_tested_on(places), places.evaluation, chosen.values)
    pd.testing.assert_frame_equal(metrics_table([folder], places), expected.metrics, check_dtype=False)


def test_run_without_validation_images_has_no_thresholds_and_says_so(tiny_study, places, monkeypatch):
    folder = tiny_study.folders[0]
    monkeypatch.setattr(evaluating, "scores_on", lambda *of: scores_on(*of).head(0))  # it reads validation images by it
    assert thresholds_of(folder, places) is None
    tpr = one_metric(metrics_table([folder], places), places.private_dataset, "tpr", finding="pleural_effusion")
    assert tpr["value"].isna().all()
    assert tpr["reason"].to_list() == ["no decision threshold"]


def test_draws_hold_the_data_and_every_resample_of_every_set_tested_on(tiny_study, places):
    folder = tiny_study.folders[0]
    draws, metrics = draws_of(folder, places), metrics_table([folder], places)
    assert set(draws) == set(places.test_datasets)
    for dataset, each in draws.items():
        drawn = each.of("auroc", "macro", "all", "all")
        assert drawn.shape == (1 + places.evaluation.n_resamples,)
        row = one_metric(metrics, dataset, "auroc")
        assert drawn[0] == pytest.approx(row["value"].item(), abs=DRAWS_ARE_FLOAT32)
    of_runs = draws_by_run(tiny_study.folders[:2], places)
    assert list(of_runs) == [path.name for path in tiny_study.folders[:2]]
    assert {each.run_id for each in of_runs[folder.name].values()} == {folder.name}


def test_evaluation_on_disk_is_not_repeated(tiny_study, places, monkeypatch):
    folder = tiny_study.folders[0]
    first = metrics_table([folder], places)
    monkeypatch.setattr(evaluating, "evaluate", lambda *_: pytest.fail("evaluated again"))
    pd.testing.assert_frame_equal(metrics_table([folder], places), first)


def test_evaluation_is_another_with_other_choices_scores_or_code(tiny_study, places, monkeypatch, tmp_path):
    folder = tiny_study.folders[0]
    same, again = evaluation_folder(folder, places), tmp_path / folder.name
    record = read_record(folder)  # as of a run of secret randomness that was done again: the same name, other weights
    write_record_json(again, replace(record, data=record.data | {"weights_sha256": "other"}))
    other_choice = replace(places, evaluation=replace(places.evaluation, threshold_rule="max_f1"))
    found = {same, evaluation_folder(again, places), evaluation_folder(folder, other_choice)}
    monkeypatch.setattr(evaluating, "imported_source_key", lambda *modules: "other")
    found.add(evaluation_folder(folder, places))
    monkeypatch.setattr(evaluating, "versions", lambda: defaultdict(lambda: "0.1"))
    found.add(evaluation_folder(folder, places))
    trained_on, *others = places.test_datasets
    abroad = replace(places, private_dataset=others[0], external_datasets=())
    found |= {evaluation_folder(folder, each) for each in (abroad, replace(abroad, external_datasets=(trained_on,)))}
    assert len(found) == 7


def test_another_choice_evaluates_again_and_leaves_the_runs_alone(tiny_study, places):
    folder = tiny_study.folders[0]
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    choice = EvaluationChoice(n_resamples=5, age_band_edges=(0, 50, 120), group_columns=("age_band",))
    metrics = metrics_table([folder], replace(places, evaluation=choice))
    assert {"0-49", "50+"} < set(metrics["group_value"])
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_processes_find_what_one_process_finds(tiny_study, places, tmp_path):
    folders = tiny_study.folders[:3]
    elsewhere = replace(places, evaluations=tmp_path / "other")
    found = metrics_table(folders, places, n_jobs=2)
    pd.testing.assert_frame_equal(found, metrics_table(folders, elsewhere), check_exact=True)


def test_two_processes_at_the_same_run_leave_one_whole_evaluation(tiny_study, places):
    folder = tiny_study.folders[0]
    processes = [_start(folder, places) for _ in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    _assert_whole(folder, places)


@pytest.mark.parametrize("files_written", [0, 1, 4])
def test_evaluation_that_was_killed_leaves_none_and_is_done_again(tiny_study, places, files_written):
    folder = tiny_study.folders[0]
    process = _start(folder, places, partial(_evaluated_until_killed, files_written=files_written))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (begun,) = places.evaluations.iterdir()
    assert begun.name.startswith(".")
    assert len(list(begun.iterdir())) == files_written
    evaluated(folder, places)
    _assert_whole(folder, places, left_over=1)


def _evaluated_until_killed(folder, places, *, files_written):
    """``evaluated`` in a process that is killed before the step after so many files: the next file, or the renaming."""
    n_steps = 0

    def unless_killed(step):
        def take(*args, **options):
            nonlocal n_steps
            if n_steps == files_written:
                os.kill(os.getpid(), signal.SIGKILL)
            n_steps += 1
            return step(*args, **options)

        return take

    steps = ((evaluating, "write_json"), (evaluating, "write_draws"), (pd.DataFrame, "to_parquet"), (Path, "chmod"))
    for owner, name in steps:
        setattr(owner, name, unless_killed(getattr(owner, name)))
    evaluated(folder, places)


def _start(folder, places, target=evaluated):
    process = multiprocessing.get_context("spawn").Process(target=target, args=(folder, places))
    process.start()
    return process


def _assert_whole(folder, places, left_over=0):
    (final,) = places.evaluations.glob("[!.]*")
    assert final == evaluation_folder(folder, places)
    draws = {f"draws-{dataset}.npz" for dataset in places.test_datasets}
    assert {path.name for path in final.iterdir()} == FILES | draws
    assert set(draws_of(folder, places)) == set(places.test_datasets)
    assert len(list(places.evaluations.glob(".*"))) == left_over


def test_unfinished_run_is_named(places, tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        metrics_table([tmp_path / "nothing"], places)


def test_evaluating_takes_no_torch():
    code = "import sys, dpcxr_core.study.evaluating; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_cohort_tested_on_holds_the_test_images_of_every_set(tiny_study):
    cohort = cohort_tested_on(tiny_study.places)
    assert set(cohort["split"]) == {"test"}
    by_set = {name: open_store(tiny_study.places.store(name)).cohort for name in tiny_study.places.test_datasets}
    assert set(cohort["image_id"]) == {i for each in by_set.values() for i in each.query("split == 'test'")["image_id"]}
