import math
import os
from dataclasses import replace

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.store import open_store, rows_of
from dpcxr_core.planning.jobs import Job
from dpcxr_core.planning.study_file import InitialisationChoice
from dpcxr_core.running.cell_config import config_of
from dpcxr_core.running.results import leave_result
from dpcxr_core.running.study_places import study_places
from dpcxr_core.study.handover import leave_initialisations
from tests.conftest import PROJECT


@pytest.fixture
def configured(tried):
    """The choices of the first private cell of a study, after changes to the cell and to its initialisation."""
    tiny = tried()
    tiny.prepare()
    study, jobs = tiny.study, tiny.jobs
    job = next(job for job in tiny.cell_jobs() if job.cell.kind == "private")
    places = study_places(job, jobs, study, tiny.study_dir)

    def config(weights="random", needs=(), **changes):
        choice = weights if isinstance(weights, InitialisationChoice) else InitialisationChoice(weights=weights)
        changed = replace(job, cell=replace(job.cell, **changes), needs=(*job.needs, *(need.name for need in needs)))
        known = jobs | {need.name: need for need in needs}
        choices = {job.cell.initialisation: choice, "first": InitialisationChoice(weights="random")}
        public = replace(study.data["sim-a"], private_hospital="sim-b")
        of_these = replace(study, initialisations=choices, pretraining_data={"public": public})
        return config_of(changed, known, of_these, tiny.study_dir, places), places, tiny

    return config


def test_noise_is_calibrated_for_the_units_of_the_fraction(configured):
    whole, places, _ = configured()
    store = open_store(places.store("sim-a"))
    patients = store.cohort["patient_id"].iloc[rows_of(store, "train")]
    assert whole.privacy.n_units_declared == len(patients)
    half, *_ = configured(fraction=0.5)
    assert half.privacy.n_units_declared < 0.7 * len(patients)
    assert half.privacy.noise_multiplier > whole.privacy.noise_multiplier
    assert half.train_fraction == 0.5
    of_patients, *_ = configured(unit="patient")
    assert of_patients.privacy.n_units_declared == patients.nunique()
    assert of_patients.privacy.max_images_per_patient == 4
    assert whole.target_epsilon == 8
    assert whole.privacy.max_images_per_patient is None


def test_other_levels_of_privacy_are_other_kinds_of_run(configured):
    ordinary, *_ = configured(target_epsilon=math.inf, normalisation="none", seed=3)
    assert (ordinary.kind, ordinary.normalisation, ordinary.seed) == ("non_private", "none", 3)
    public_only, *_ = configured(target_epsilon=None, head="kept")
    assert (public_only.kind, public_only.head, public_only.dataset) == ("public_only", "kept", "sim-a")


def test_names_of_weights(configured):
    assert configured("fb_in1k")[0].init_name == "convnext_mini.fb_in1k"
    file = configured("file:/w/{architecture}.pth", architecture="convnext_tiny")[0]
    assert file.init_name == "convnext_tiny.file:/w/convnext_tiny.pth"


def test_standin_is_the_one_that_its_job_left(configured):
    _, _, tiny = configured()
    standins = Job(name="standins-1", kind="standins", dataset="sim-a")
    left = ["convnext_mini.random", "convnext_mini.standin_domain@abc", "convnext_mini.standin_supervised@def"]
    leave_initialisations(tiny.folder(standins), left)
    assert configured("standin_domain", [standins])[0].init_name == "convnext_mini.standin_domain@abc"
    with pytest.raises(UserError, match="left 0 weights convnext_mini.standin_selfsupervised"):
        configured("standin_selfsupervised", [standins])


def test_weights_of_another_cell_keep_its_head_and_leave_its_record_alone(configured):
    from dpcxr_core.study.runs import run_one
    from dpcxr_core.training.initialisation import build_initialisation

    ordinary, places, tiny = configured(target_epsilon=math.inf)
    run = run_one(ordinary, places)
    before = sorted(path.name for path in run.iterdir())
    pretraining = Job(name="cell-1", kind="cell", dataset="sim-a")
    leave_result(tiny.folder(pretraining), 1.0, run)
    config, *_ = configured(InitialisationChoice(trained_on="public", start="first"), [pretraining])
    start = build_initialisation(config.init_name, weights_dir=None, seed=0, head="kept")
    assert start.has_head
    assert sorted(path.name for path in run.iterdir()) == before
    linked = places.weights / f"{run.name}.safetensors"
    weights = sorted(path.name for path in places.weights.iterdir())
    linked.unlink()
    linked.symlink_to(places.weights / "nowhere")  # as after the project moved
    assert configured(InitialisationChoice(trained_on="public", start="first"), [pretraining])[0] == config
    assert linked.resolve() == (run / "weights.safetensors").resolve()
    assert sorted(path.name for path in places.weights.iterdir()) == weights


def test_file_that_pretraining_starts_from_is_seen_from_the_project(configured, tmp_path, monkeypatch):
    from dpcxr_core.study.runs import run_one
    from dpcxr_core.training.initialisation import build_initialisation
    from dpcxr_core.training.weight_files import WeightsRecord, write_weights

    random = build_initialisation("convnext_mini.random", weights_dir=None, seed=0, head="reset")
    record = WeightsRecord(label="mine", input_transform=random.input_transform, head_outputs=(), provenance={})
    file = tmp_path / "weights" / "mine.safetensors"
    write_weights(file, random.model.state_dict(), record)
    monkeypatch.chdir(tmp_path)  # as a job is in the folder of its study
    stated = f"file:{os.path.relpath(file, PROJECT)}"
    config, places, tiny = configured(stated, target_epsilon=math.inf)
    pretraining = Job(name="cell-1", kind="cell", dataset="sim-a")
    leave_result(tiny.folder(pretraining), 1.0, run_one(config, places))
    further, *_ = configured(InitialisationChoice(trained_on="public", start="first"), [pretraining])
    assert build_initialisation(further.init_name, weights_dir=None, seed=0, head="kept").has_head
