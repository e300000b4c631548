"""What jobs before the cells cost, against sums by hand."""

import math

import pytest

from dpcxr_core.planning.costs import SECONDS_PER_JOB, WATTS_PER_CORE
from dpcxr_core.planning.first_costs import IMAGES_A_STEP, first_cost_table
from dpcxr_core.planning.jobs import jobs_of
from dpcxr_core.planning.measured_speed import (
    PIXELS_DRAWN,
    checked_per_second,
    pictures_read_per_second,
    speed_of,
)
from dpcxr_core.planning.set_sizes import set_size
from dpcxr_core.training.standins import ATTRIBUTES_RECIPE, CLASSES_RECIPE, DOMAIN_RECIPE, VICREG_RECIPE

STANDINS = {"a": {"weights": "standin_supervised"}, "b": {"weights": "standin_selfsupervised"}}


def _costs(study):
    return first_cost_table(jobs_of(study)).set_index(["kind", "dataset"])


def test_every_job_before_the_cells_has_a_row(study_with):
    jobs = jobs_of(study_with())
    assert first_cost_table(jobs)["job"].to_list() == [job.name for job in jobs if job.kind != "cell"]


@pytest.mark.parametrize(("dataset", "rate"), [("sim-a", PIXELS_DRAWN / 48**2), ("north", pictures_read_per_second())])
def test_images_are_made_at_the_rate_seen_and_checked_once(study_with, dataset, rate):
    study = study_with()
    size, side = set_size(study.data[dataset]), study.data[dataset].image_size
    cost = _costs(study).loc["data", dataset]
    assert cost["images"] == size.made
    checked = size.stored * side**2 / checked_per_second()
    assert cost["seconds"] == pytest.approx(size.made / rate + checked + SECONDS_PER_JOB)
    assert cost["core_hours"] == cost["seconds"] / 3600
    assert cost["kwh"] == pytest.approx(cost["core_hours"] * WATTS_PER_CORE / 1000)


def test_stand_ins_take_their_steps_at_the_speed_of_a_run_without_privacy(study_with):
    steps = {"nondomain_steps": 7, "selfsupervised_steps": 5, "domain_steps": 999}
    study = study_with(initialisations=STANDINS, own_heads=[], standins=steps)
    cost = _costs(study).loc["standins", "sim-a"]
    assert cost["images"] == 7 * 32 + 5 * 64 * 2  # nothing starts from the domain stand-in
    speed = speed_of("convnext_mini", 48, "ordinary", "float32", on_gpu=False)
    assert cost["seconds"] == pytest.approx(cost["images"] * speed.training + SECONDS_PER_JOB)
    assert cost["basis"] == speed.basis


def test_images_of_a_step_are_those_of_the_recipes():
    supervised, classes, without_labels, domain = (
        recipe.batches.batch_size for recipe in (ATTRIBUTES_RECIPE, CLASSES_RECIPE, VICREG_RECIPE, DOMAIN_RECIPE)
    )
    assert supervised == classes
    assert dict(zip(IMAGES_A_STEP, (supervised, 2 * without_labels, domain), strict=True)) == IMAGES_A_STEP


def test_own_images_cost_what_nobody_knows_yet(study_with):
    own = {"mine": {"data_source": "own", "manifest": "mine.yml", "public_fraction": 0}}
    study = study_with(data=own, initialisations={"r": {"weights": "random"}}, own_heads=[], pretraining_data={})
    cost = _costs(study).loc["data", "mine"]
    assert math.isnan(cost["seconds"])
    assert cost["basis"] == "images: not known before the hospital's tables are read"


def test_study_without_jobs_before_its_cells_has_an_empty_table():
    assert first_cost_table([]).empty
