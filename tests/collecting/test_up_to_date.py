import json
from dataclasses import replace
from pathlib import Path

import pytest

from dpcxr_core.collecting import up_to_date
from dpcxr_core.collecting.study_tables import collect_study
from dpcxr_core.collecting.tables_folder import read_tables, write_tables
from dpcxr_core.collecting.up_to_date import made_of, tables_are_up_to_date
from dpcxr_core.config import EvaluationChoice
from dpcxr_core.planning.jobs import is_done, job_folder, jobs_of
from dpcxr_core.training.record import read_record, write_record_json

CHANGES = {
    "name": lambda study: {"name": "other"},
    "roles": lambda study: {"roles": {"domain": "domain"}},
    "evaluation": lambda study: {"evaluation": EvaluationChoice(n_resamples=41)},
    "grids": lambda study: {"grids": {**study.grids, "ablation": study.main}},  # the same cells, of two grids
}


def test_tables_are_up_to_date_once_they_are_collected_and_until_a_result_goes(study, study_dir, tmp_path):
    jobs = jobs_of(study)
    assert not tables_are_up_to_date(study, jobs, study_dir)
    tables = collect_study(study, study_dir)
    assert tables_are_up_to_date(study, jobs, study_dir)
    write_tables(tables, read_tables(tables))  # as those of several hospitals are, which are of no study here
    assert not tables_are_up_to_date(study, jobs, study_dir)
    collect_study(study, study_dir)
    done = next(job for job in jobs if is_done(study_dir, job))
    (job_folder(study_dir, done) / "result.json").unlink()
    assert not tables_are_up_to_date(study, jobs, study_dir)


@pytest.mark.parametrize("changed", CHANGES)
def test_tables_are_made_of_what_the_study_says(study, study_dir, changed):
    other, jobs = replace(study, **CHANGES[changed](study)), jobs_of(study)
    assert made_of(other, jobs, study_dir) != made_of(study, jobs, study_dir)


def test_tables_are_made_by_code(study, study_dir, monkeypatch):
    jobs, asked = jobs_of(study), []
    before = made_of(study, jobs, study_dir)
    monkeypatch.setattr(up_to_date, "imported_source_key", lambda *names: asked.append(names) or "changed")
    assert made_of(study, jobs, study_dir) != before
    assert asked == [("dpcxr_core.collecting.study_tables",)]


def test_tables_are_old_once_a_run_was_made_again_with_other_weights(study, study_dir, tmp_path):
    jobs = jobs_of(study)
    before = made_of(study, jobs, study_dir)
    result = job_folder(study_dir, next(job for job in jobs if is_done(study_dir, job))) / "result.json"
    values = json.loads(result.read_text())
    again = tmp_path / Path(values["run"]).name
    record = read_record(Path(values["run"]))
    result.write_text(json.dumps({**values, "run": str(again)}))
    again.mkdir()
    write_record_json(again, record)
    assert made_of(study, jobs, study_dir) == before
    write_record_json(again, replace(record, data={**record.data, "weights_sha256": "0" * 64}))
    assert made_of(study, jobs, study_dir) != before


def test_tables_are_made_with_libraries(study, study_dir, monkeypatch):
    before = made_of(study, jobs_of(study), study_dir)
    monkeypatch.setattr(up_to_date, "evaluating_libraries", lambda: {"scipy": "9.9"})
    assert made_of(study, jobs_of(study), study_dir) != before
