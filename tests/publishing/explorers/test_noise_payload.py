import json

import pytest

from dpcxr_core.accounting.noise_table import TABLE_FILE
from dpcxr_core.config import UserError
from dpcxr_core.publishing.chapters.speed_tables import read_results
from dpcxr_core.publishing.explorers.noise_payload import N_PARAMETERS, noise_payload
from dpcxr_core.training.architectures import build_architecture

CHOICES = {
    "n_images": 86_524,
    "n_patients": 25_000,
    "privacy_unit": "image",
    "max_images_per_patient": 4,
    "expected_batch_size": 1024,
    "n_steps": 2000,
    "target_epsilon": 0.9,
    "delta": 6e-6,
}


@pytest.fixture(scope="module")
def speed():
    return read_results("benchmarks/results")


@pytest.mark.parametrize("name", ["convnext_mini", "convnext_atto"])
def test_numbers_of_parameters_are_those_of_the_networks(name):
    assert sum(p.numel() for p in build_architecture(name, n_outputs=5, seed=0).parameters()) == N_PARAMETERS[name]


def test_payload_starts_where_the_chapter_is_and_stays_small(speed):
    payload = noise_payload(speed, **CHOICES)
    assert payload["table"] == json.loads(TABLE_FILE.read_text())
    assert payload["start"]["passes"] == pytest.approx(2000 * 1024 / 86_524)
    assert payload["start"]["images_per_patient"] == 3.46
    assert payload["networks"][0]["images_per_second"] == payload["start"]["images_per_second"] > 0
    assert {one["label"] for one in payload["networks"]} >= {"convnext_mini, 64 px", "convnext_tiny, 224 px"}
    assert len(json.dumps(payload, allow_nan=False)) < 100_000


def test_passes_count_units_and_choices_outside_the_table_start_at_its_edge(speed):
    patients = noise_payload(speed, **CHOICES | {"privacy_unit": "patient"})
    assert patients["start"]["passes"] == pytest.approx(2000 * 1024 / 25_000)
    edge = noise_payload(speed, **CHOICES | {"n_steps": 8, "target_epsilon": 50.0, "expected_batch_size": 4})["start"]
    assert (edge["passes"], edge["target_epsilon"], edge["expected_batch_size"]) == (1.0, 10.0, 16)


@pytest.mark.parametrize("wrong", [{"n_patients": 0}, {"n_patients": 90_000}])
def test_impossible_counts_are_refused(speed, wrong):
    with pytest.raises(UserError, match="n_patients"):
        noise_payload(speed, **CHOICES | wrong)


def test_a_benchmark_without_private_steps_is_refused(speed):
    facts = speed.step_facts[speed.step_facts["method"] == "ordinary"]
    times = speed.step_times[speed.step_times["method"] == "ordinary"]
    without = type(speed)(**{**vars(speed), "step_facts": facts, "step_times": times})
    with pytest.raises(UserError, match="make bench"):
        noise_payload(without, **CHOICES)
