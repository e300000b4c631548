import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from dpcxr_core.planning import cells as planned
from dpcxr_core.planning import jobs as planning
from dpcxr_core.planning.cells import pretraining_of
from dpcxr_core.planning.jobs import is_done, job_folder, jobs_of, write_plan
from dpcxr_core.provenance import PACKAGE_FOLDER, imported_files
from dpcxr_core.study.standin_choice import StartingPoints


def _by_name(jobs):
    return {job.name: job for job in jobs}


def test_what_a_job_needs_comes_before_it(study_with):
    study = study_with(
        initialisations={
            "domain": {"weights": "standin_supervised"},
            "imagenet": {"weights": "fb_in1k"},
            "mimic": {"trained_on": "mimic", "from": "imagenet"},
        },
        ablations={"old": {"image_recipe": "as_published"}, "deep": {"architectures": ["convnext_mini_deep"]}},
    )
    jobs = jobs_of(study)
    before: set[str] = set()
    for job in jobs:
        assert set(job.needs) <= before
        before.add(job.name)
    assert len(before) == len(jobs)
    named = _by_name(jobs)
    for job in jobs:
        needs = [named[name] for name in job.needs]
        kinds = Counter(need.kind for need in needs)
        if job.kind == "cell":
            assert [need.dataset for need in needs if need.kind == "data"] == list(planned.tested_on(job.cell, study))
            assert kinds["standins"] == (job.cell.initialisation == "domain")
            assert [need.cell for need in needs if need.kind == "cell"] == [
                each for each in [pretraining_of(job.cell, study)] if each is not None
            ]
            own = next(need for need in needs if need.dataset == job.dataset)
            assert own.choice == study.data_choice(job.dataset, job.cell.image_recipe)
        else:
            assert kinds == ({"data": 1} if job.kind == "standins" else {})
    data = [(job.dataset, job.choice.image_recipe) for job in jobs if job.kind == "data"]
    recipes = ("corrected", "as_published")
    assert sorted(data) == sorted(
        [("sim-a", "corrected"), *((name, r) for name in ("north", "mimic") for r in recipes)]
    )


def test_stand_ins_are_those_that_cells_start_from(study_with):
    study = study_with(
        initialisations={
            "a": {"weights": "random"},
            "b": {"weights": "standin_selfsupervised"},
            "c": {"weights": "standin_supervised"},
        },
        own_heads=[],
        standins={"n_scenes": 9},
        ablations={"deep": {"architectures": ["convnext_mini_deep"], "initialisations": ["b"], "data": ["sim-a"]}},
    )
    made = {(job.dataset, job.choice.architecture): job.choice for job in jobs_of(study) if job.kind == "standins"}
    both = StartingPoints(n_scenes=9, tags=("standin_supervised", "standin_selfsupervised"))
    assert made == {
        ("sim-a", "convnext_mini"): both,
        ("north", "convnext_mini"): both,
        ("sim-a", "convnext_mini_deep"): replace(
            both, architecture="convnext_mini_deep", tags=("standin_selfsupervised",)
        ),
    }


def _names(study, kind=None):
    return {job.name for job in jobs_of(study) if kind in (None, job.kind)}


def test_a_change_gives_another_name_to_what_it_touches_alone(study_with):
    first = study_with(
        initialisations={"a": {"weights": "random"}, "b": {"weights": "standin_supervised"}}, own_heads=[]
    )
    assert _names(first) == _names(replace(first, question="another"))
    other_seed = replace(first.standins, seed=1)
    pretrained_anew = replace(first, standins=other_seed)
    gone = _names(first) - _names(pretrained_anew)
    assert gone == {job.name for job in jobs_of(first) if job.kind == "standins" or job.name.split("-b-")[1:]}
    other_images = replace(first, data={**first.data, "sim-a": replace(first.data["sim-a"], seed=1)})
    kept = _names(first) & _names(other_images)
    assert kept == {job.name for job in jobs_of(first) if job.dataset == "north" and job.kind != "cell"}
    evaluated_anew = replace(first, evaluation=replace(first.evaluation, n_resamples=7))
    assert not _names(first, "cell") & _names(evaluated_anew, "cell")
    assert _names(first, "data") == _names(evaluated_anew, "data")


@pytest.mark.parametrize(
    ("module", "touched"),
    [
        ("dpcxr_core.study.preparation", {"data", "standins", "cell"}),
        ("dpcxr_core.study.starting_points", {"standins"}),
        ("dpcxr_core.study.evaluating", {"cell"}),
        ("dpcxr_core.running.cell_config", {"cell"}),
    ],
)
def test_changed_code_gives_other_names_to_what_it_decides(study_with, monkeypatch, module, touched):
    study = study_with()
    before = jobs_of(study)
    key = planning.imported_source_key
    monkeypatch.setattr(planning, "imported_source_key", lambda *names: "changed" if module in names else key(*names))
    after = {job.name for job in jobs_of(study)}
    changed = {job.kind for job in before if job.name not in after}
    assert changed == touched | ({"cell"} if "standins" in touched else set())


def test_name_of_a_cell_holds_all_code_from_its_choices_to_its_numbers():
    found = {file.relative_to(PACKAGE_FOLDER).as_posix() for file in imported_files(*planning.CELL_CODE)}
    decide = {
        "study/grid.py",
        "study/recording.py",
        "study/scoring.py",
        "study/evaluating.py",
        "running/cell_config.py",
    }
    assert decide | {"running/study_places.py", "training/loop.py"} <= found


def _names_as(file, study, kind, texts):
    """The names of jobs before ``file`` is there, and with each of the ``texts`` in it."""
    found = [_names(study, kind)]
    for text in texts:
        file.write_text(text)
        found.append(_names(study, kind))
    return found


def _all_differ(found):
    return all(first.isdisjoint(second) for first, second in itertools.combinations(found, 2))


def test_manifest_of_a_hospital_is_part_of_the_name_where_it_can_be_read(study_with, tmp_path):
    manifest = tmp_path / "north.yml"
    own = {"data_source": "own", "manifest": str(manifest), "public_fraction": 0}
    study = study_with(data={"north": own}, initialisations={"random": {"weights": "random"}}, own_heads=[])
    assert _all_differ(_names_as(manifest, study, "data", ["name: north", "name: the south"]))


def test_table_of_a_hospital_is_part_of_the_name(study_with, tmp_path):
    manifest, table = tmp_path / "north.yml", tmp_path / "export.csv"
    manifest.write_text(
        "name: north\ntitle: North\ntable: {file: export.csv}\npictures: [images]\n"
        "columns: {image: file, patient: person}\nlabels: {column: says, terms: {no_finding: [normal]}}\n"
    )
    own = {"data_source": "own", "manifest": str(manifest), "source_dir": str(tmp_path), "public_fraction": 0}
    study = study_with(data={"north": own}, initialisations={"random": {"weights": "random"}}, own_heads=[])
    assert _all_differ(_names_as(table, study, "data", ["file,person,says", "file,person,says\n1.png,a,normal"]))


def test_relative_paths_are_seen_from_the_project_wherever_the_caller_is(study_with, tmp_path, monkeypatch):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    monkeypatch.setattr(planning, "PROJECT_FOLDER", project)
    own = {"data_source": "own", "manifest": "north.yml", "public_fraction": 0}
    mine = {"mine": {"weights": "file:mine.safetensors"}}
    study = study_with(data={"north": own}, initialisations=mine, own_heads=[])
    (project / "north.yml").write_text("name: north")
    (project / "mine.safetensors").write_text("weights")
    monkeypatch.chdir(project)
    there = _names(study)
    monkeypatch.chdir(elsewhere)
    assert _names(study) == there
    (project / "north.yml").write_text("name: the south")
    assert not _names(study) & there


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_weights_in_a_file_and_their_record_are_part_of_the_name(study_with, tmp_path, suffix):
    initialisations = {"mine": {"weights": f"file:{tmp_path}/{{architecture}}.safetensors"}}
    study = study_with(initialisations=initialisations, own_heads=[])
    file = tmp_path / f"convnext_mini{suffix}"
    assert _all_differ(_names_as(file, study, "cell", ["some", "others"]))


def test_natural_images_are_part_of_the_name_of_stand_ins(study_with, tmp_path):
    file = tmp_path / "natural.npz"
    study = study_with(standins={"natural_images": str(file)})
    assert _all_differ(_names_as(file, study, "standins", ["some", "others"]))


def test_what_the_manifest_states_of_weights_is_part_of_the_name(study_with, monkeypatch):
    imagenet = {"imagenet": {"weights": "fb_in1k"}, "random": {"weights": "random"}}
    study = study_with(architectures=["convnext_small"], initialisations=imagenet, own_heads=[])
    before = _names(study, "cell")
    stated = planning.listed_weights()
    entry = stated["convnext_small.fb_in1k"] | {"input_transform": {"mode": "fixed", "in_chans": 1}}
    monkeypatch.setattr(planning, "listed_weights", lambda: stated | {"convnext_small.fb_in1k": entry})
    assert before - _names(study, "cell") == {name for name in before if "-imagenet-" in name} < before


def test_content_of_listed_weights_in_a_file_is_part_of_the_name(study_with, tmp_path, monkeypatch):
    """As ``run_key`` has it, so that a job is done again where its run would be another."""
    mine = {"mimic": {"weights": "mimic_supervised"}, "random": {"weights": "random"}}
    study = study_with(architectures=["convnext_small"], initialisations=mine, own_heads=[])
    file = tmp_path / planning.listed_weights()["convnext_small.mimic_supervised"]["file"]
    found = [{job.name for job in jobs_of(study, tmp_path) if job.kind == "cell"}]
    for text in ("some", "others"):
        file.write_text(text)
        found.append({job.name for job in jobs_of(study, tmp_path) if job.kind == "cell"})
    from_file = [{name for name in names if "-mimic-" in name} for names in found]
    assert _all_differ(from_file)
    assert all(names - of_file == found[0] - from_file[0] for names, of_file in zip(found, from_file, strict=True))
    monkeypatch.chdir(tmp_path)
    seen_from_there = {job.name for job in jobs_of(study, Path()) if job.kind == "cell"}
    assert seen_from_there == found[-1]


def test_secrecy_in_one_ablation_names_every_page_anew(study_with):
    study = study_with(recipe={"randomness": "seeded"})
    secret = study_with(recipe={"randomness": "seeded"}, ablations={"safe": {"recipe": {"randomness": "secret"}}})
    assert (study.needs_protection, secret.needs_protection) == (False, True)
    assert not _names(study, "cell") & _names(secret, "cell")
    assert not _names(study, "standins") & _names(secret, "standins")
    assert _names(study, "data") == _names(secret, "data")


def test_large_networks_take_gpus_and_as_many_as_ranks(study_with):
    study = study_with(architectures=["convnext_mini", "convnext_small"], ranks={"convnext_small": 4})
    jobs = jobs_of(study)
    asked = {(job.cell.architecture, job.n_gpus, job.n_ranks) for job in jobs if job.kind == "cell"}
    assert asked == {("convnext_mini", 0, 1), ("convnext_small", 4, 4)}
    first = [job for job in jobs if job.kind != "cell"]
    assert "convnext_small" in {job.choice.architecture for job in first if job.kind == "standins"}
    assert not any(job.n_gpus for job in first)  # pretraining knows no device but the CPU


def test_plan_holds_what_an_engine_must_know(study_with, tmp_path):
    study = study_with()
    jobs = jobs_of(study)
    plan = json.loads(write_plan(tmp_path / "runs", study, jobs).read_text())
    assert plan["study_file"] == str(study.path)
    assert [(row["name"], tuple(row["needs"])) for row in plan["jobs"]] == [(job.name, job.needs) for job in jobs]
    assert set(plan["jobs"][0]) == {"name", "kind", "needs", "n_gpus", "n_ranks", "mem_mb"}


def test_a_job_is_done_when_its_result_is_there(study_with, tmp_path):
    job = jobs_of(study_with())[0]
    assert not is_done(tmp_path, job)
    job_folder(tmp_path, job).mkdir(parents=True)
    assert not is_done(tmp_path, job)
    (job_folder(tmp_path, job) / "result.json").write_text("{}")
    assert is_done(tmp_path, job)
