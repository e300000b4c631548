import json
import shutil

import pandas as pd
import pytest

from dpcxr_core.collecting.exchange import merge_tables, origins
from dpcxr_core.collecting.study_tables import collect_study
from dpcxr_core.collecting.tables_folder import read_tables
from dpcxr_core.config import UserError
from tests.collecting.conftest import leave_jobs


@pytest.fixture(scope="module")
def halves(study, tiny_study, tmp_path_factory):
    """Tables of two hospitals that did one seed each; not to be changed."""
    folder = tmp_path_factory.mktemp("halves")
    return [
        collect_study(study, leave_jobs(study, tiny_study, folder / str(seed), lambda config, s=seed: config.seed == s))
        for seed in (0, 1)
    ]


@pytest.fixture
def other(halves, tmp_path):
    """A copy of the second hospital's tables, to be tampered with."""
    return shutil.copytree(halves[1], tmp_path / "other")


def _refused(folders, tmp_path, match):
    before = set(tmp_path.iterdir())
    with pytest.raises(UserError, match=match):
        merge_tables(folders, tmp_path / "out")
    assert set(tmp_path.iterdir()) == before  # nothing was written, not even half of it


def _change_record(folder, change):
    path = next(path for path in (folder / "records").glob("*eps7*.json"))
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return values["run_id"]


def _change_metrics(folder, change):
    metrics = pd.read_parquet(folder / "metrics.parquet")
    change(metrics)
    metrics.to_parquet(folder / "metrics.parquet", index=False)


def test_two_halves_are_the_whole(halves, collected, tmp_path):
    merged = read_tables(merge_tables(halves, tmp_path / "out"))
    whole = read_tables(collected)
    assert merged.records == whole.records
    assert merged.evaluation == whole.evaluation
    assert merged.studies == ("tiny",)
    for name, by in (("runs", ["run_id"]), ("metrics", list(whole.tables["metrics"].columns)), ("cells", ["cell"])):
        first, second = (each.tables[name].sort_values(by, ignore_index=True) for each in (merged, whole))
        pd.testing.assert_frame_equal(first, second)


def test_claims_and_verdicts_are_those_of_each_part_and_none_is_pooled(halves, collected, tmp_path):
    merged = read_tables(merge_tables(halves, tmp_path / "out"))
    parts = [read_tables(folder) for folder in halves]
    names = [name for part in parts for name in origins(part)]
    assert len(set(names)) == len(parts)
    assert sorted(origins(merged)) == sorted(names)
    for table in ("claims", "verdicts"):
        rows = merged.tables[table]
        assert set(rows["tables"]) == set(names)
        for name, part in zip(names, parts, strict=True):
            found = rows[rows["tables"] == name].drop(columns="tables").reset_index(drop=True)
            pd.testing.assert_frame_equal(found, part.tables[table], check_dtype=False)
    # the verdicts of all runs together are others, as one seed alone decides nothing
    whole = read_tables(collected).tables["claims"]
    assert whole["p"].notna().any()
    assert merged.tables["claims"]["p"].isna().all()


def test_claims_that_were_not_rounded_are(halves, other, tmp_path):
    claims = pd.read_parquet(other / "claims.parquet")
    claims.assign(value=claims["value"] + 1e-5).to_parquet(other / "claims.parquet", index=False)
    value = read_tables(merge_tables([halves[0], other], tmp_path / "out")).tables["claims"]["value"]
    assert value.notna().any()
    assert (value.dropna() == value.dropna().round(3)).all()


def test_tables_without_claims_are_merged_too(halves, other, tmp_path):
    for name in ("claims", "verdicts"):
        (other / f"{name}.parquet").unlink()
    merged = read_tables(merge_tables([halves[0], other], tmp_path / "out"))
    assert origins(merged) == origins(read_tables(halves[0]))
    assert origins(read_tables(other)) == []


def test_what_two_folders_hold_is_there_once_and_merging_again_changes_nothing(halves, tmp_path):
    once = merge_tables(halves, tmp_path / "once")
    again = merge_tables([once, *halves], tmp_path / "again")
    for path in sorted(once.rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(once)).read_bytes(), path.name


def test_a_certificate_that_its_configuration_does_not_give_is_refused(halves, other, tmp_path):
    run_id = _change_record(other, lambda values: values["certificate"].update(epsilon_pld=0.5))
    _refused([halves[0], other], tmp_path, f"the certificate of {run_id} .*epsilon_pld is 0.5")


def test_another_evaluation_is_refused(halves, other, tmp_path):
    stated = json.loads((other / "tables.json").read_text())
    stated["evaluation"]["n_resamples"] = 41
    (other / "tables.json").write_text(json.dumps(stated))
    _refused([halves[0], other], tmp_path, "n_resamples is 40 and 41")


def test_the_same_run_with_other_content_is_refused(halves, other, tmp_path):
    def nudge(metrics):
        metrics.loc[metrics["value"].first_valid_index(), "value"] += 0.001

    _change_metrics(other, nudge)
    _refused([halves[1], other], tmp_path, "different metrics of the run")


def test_the_same_run_with_another_record_is_refused(halves, other, tmp_path):
    _change_record(other, lambda values: values["data"].update(weights_sha256="0" * 64))
    _refused([halves[1], other], tmp_path, "different records of the run .* Merge without one of these folders; or")


def test_the_same_run_of_two_machines_with_the_same_weights_is_there_once(halves, other, tmp_path):
    def of_another_machine(values):
        values["versions"].update(platform="Linux-9.9", commit="0123456789ab")
        values["certificate"]["library_versions"] = {"dp-accounting": "9.9"}
        values["selfcheck"] = [{**check, "measured": 1.5 * check["measured"]} for check in values["selfcheck"]]

    run_id = _change_record(other, of_another_machine)
    merged = [
        merge_tables(folders, tmp_path / name)
        for folders, name in (([halves[1], other], "out"), ([other, halves[1]], "turned"))
    ]
    for path in sorted(path for path in merged[0].rglob("*") if path.is_file()):
        assert path.read_bytes() == (merged[1] / path.relative_to(merged[0])).read_bytes(), path.name
    found, before = read_tables(merged[0]), read_tables(halves[1])
    assert set(found.records) == set(before.records)
    assert found.records[run_id] in (before.records[run_id], read_tables(other).records[run_id])
    assert len(found.tables["metrics"]) == len(before.tables["metrics"])


@pytest.mark.parametrize("column", ["n", "n_positive"])
def test_a_count_that_can_point_at_people_is_refused(halves, other, tmp_path, column):
    def tell(metrics):
        metrics.loc[5, column] = 9

    _change_metrics(other, tell)
    _refused([halves[0], other], tmp_path, "1 rows with counts of images, .* from 1 to 9")


def test_few_negatives_are_refused(halves, other, tmp_path):
    def tell(metrics):
        metrics.loc[5, ["n", "n_positive"]] = [109, 100]

    _change_metrics(other, tell)
    _refused([halves[0], other], tmp_path, "1 rows with counts of .*negatives from 1 to 9")


@pytest.mark.parametrize("column", ["value", "low", "high", "noise_floor"])
def test_a_number_that_was_not_rounded_is_refused(halves, other, tmp_path, column):
    def tell(metrics):
        metrics.loc[5, column] = 1 / 7

    _change_metrics(other, tell)
    _refused([halves[0], other], tmp_path, "1 rows with numbers of more than 3 decimals")


def test_rows_about_single_patients_are_refused(halves, other, tmp_path):
    pd.DataFrame({"patient_id": ["p1"]}).to_parquet(other / "costs.parquet")
    _refused([halves[0], other], tmp_path, "patient_id, about single patients")


def test_runs_without_records_and_records_under_other_names_are_refused(halves, other, tmp_path):
    record = next((other / "records").glob("*eps7*.json"))
    kept = record.read_text()
    record.unlink()
    _refused([halves[0], other], tmp_path, "are not about the same runs")
    other_record = next((other / "records").glob("*.json"))
    record.write_text(other_record.read_text())
    _refused([halves[0], other], tmp_path, "files were renamed")
    record.write_text(kept)
    merge_tables([halves[0], other], tmp_path / "out")


def test_results_are_never_written_over(halves, tmp_path):
    with pytest.raises(UserError, match="is one of the folders to merge"):
        merge_tables(halves, halves[0])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    _refused(halves, tmp_path, "exists already")
