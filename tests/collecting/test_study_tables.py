import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.collecting.study_tables import collect_study
from dpcxr_core.collecting.tables_folder import STATED_FILE
from dpcxr_core.planning.cells import cells_of
from dpcxr_core.planning.jobs import LOG_FILE, job_folder, jobs_of
from dpcxr_core.running.results import leave_result
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.training.record import read_record
from tests.collecting.conftest import leave_jobs, run_from_file


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_planned_cell_has_a_row_and_says_what_became_of_it(study, study_dir, tiny_study):
    done = [job for job in jobs_of(study) if job.cell is not None and job_folder(study_dir, job).exists()]
    for job in done[:2]:
        (job_folder(study_dir, job) / "result.json").unlink()
    (job_folder(study_dir, done[0]) / LOG_FILE).touch()  # begun; the other has its folder only
    cells = pd.read_parquet(collect_study(study, study_dir) / "cells.parquet")
    assert len(cells) == len(cells_of(study)) == 15
    assert cells["state"].value_counts().to_dict() == {"done": 12, "failed": 1, "missing": 2}
    assert cells.loc[cells["state"] != "done", "run_id"].isna().all()
    runs = pd.read_parquet(study_dir / "tables" / "runs.parquet")
    assert set(cells["run_id"].dropna()) == set(runs["run_id"]) < {folder.name for folder in tiny_study.folders}


def test_tables_are_the_same_bytes_however_long_it_took_and_only_costs_tell(study, study_dir, tiny_study, collected):
    leave_jobs(study, tiny_study, study_dir, chosen=lambda config: config.seed == 0)
    leave_jobs(study, tiny_study, study_dir, seconds=99.0)
    first, second = _files(collected), _files(collect_study(study, study_dir))
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == ["costs.parquet"]
    assert "seconds" not in json.loads(next(text for name, text in first.items() if name.startswith("records/")))


def test_metrics_are_those_of_the_runs_to_a_thousandth_without_small_counts(collected, tiny_study):
    shown = pd.read_parquet(collected / "metrics.parquet")
    folder = tiny_study.folders[0]
    of_run = shown[shown["run_id"] == folder.name].reset_index(drop=True)
    exact = metrics_table([folder], tiny_study.places)
    assert len(of_run) == len(exact)
    there = of_run["value"].notna()
    assert there.sum() > 300
    np.testing.assert_allclose(of_run.loc[there, "value"], exact.loc[there, "value"], atol=5.1e-4)
    assert shown["n"].min() >= 10
    assert shown["n_positive"].min() >= 10
    assert (exact["n_positive"].between(1, 9)).any()  # there was something to hide


def test_the_same_study_with_no_run_yet_has_tables_too(study, tmp_path):
    folder = collect_study(study, tmp_path / "study")
    assert set(pd.read_parquet(folder / "cells.parquet")["state"]) == {"missing"}
    assert len(pd.read_parquet(folder / "metrics.parquet")) == 0
    assert pd.read_parquet(folder / "verdicts.parquet")["verdict"].str.startswith("not decided").all()


def test_claims_are_decided_on_the_runs_that_are_there(collected):
    claims = pd.read_parquet(collected / "claims.parquet")
    assert claims["value"].notna().sum() > 5
    assert set(pd.read_parquet(collected / "verdicts.parquet")["claim"]) == set(claims["claim"])


def test_claims_are_shared_to_a_thousandth_and_their_p_as_it_is(collected):
    claims = pd.read_parquet(collected / "claims.parquet").dropna(subset="value")
    for name in ("value", "low", "high", "se_sampling", "se_seeds"):
        np.testing.assert_array_equal(claims[name], claims[name].round(3), err_msg=name)
    assert (claims["p"] != claims["p"].round(3)).any()


def test_no_shared_file_names_the_folder_that_weights_lie_in(study, study_dir, tiny_study, tmp_path):
    run = run_from_file(tiny_study, tmp_path / "ward-of-ann")
    job = next(job for job in jobs_of(study) if job.cell is not None and job_folder(study_dir, job).exists())
    leave_result(job_folder(study_dir, job), 1.0, run)
    folder = collect_study(study, study_dir)
    assert (folder / "records" / f"{run.name}.json").is_file()
    for path in filter(Path.is_file, folder.rglob("*")):
        text = pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else path.read_text()
        assert "ward-of-ann" not in text, path.name


def test_tables_before_stay_whole_where_new_ones_cannot_be_written(study, study_dir, monkeypatch):
    folder = collect_study(study, study_dir)
    before = _files(folder)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        collect_study(study, study_dir)
    assert _files(folder) == before
    assert [path.name for path in study_dir.iterdir() if path.name.startswith(".")] == []


def test_stated_file_names_the_study_and_how_it_was_evaluated(collected, study, tiny_study):
    stated = json.loads((collected / STATED_FILE).read_text())
    assert stated["studies"] == [study.name] == ["tiny"]
    assert stated["evaluation"]["n_resamples"] == tiny_study.places.evaluation.n_resamples
    record = json.loads((collected / "records" / f"{tiny_study.folders[0].name}.json").read_text())
    assert record["certificate"] == json.loads(json.dumps(read_record(tiny_study.folders[0]).certificate))
