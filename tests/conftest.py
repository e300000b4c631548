"""What many tests share: one thread, and where the real sample lies."""

import os
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits

from dpcxr_core.config import EvaluationChoice, PrivacySpecification, RunConfig
from dpcxr_core.locks import held
from dpcxr_core.study.grid import Recipe, comparison_runs, private_run, public_only_run
from dpcxr_core.study.handover import leave_places
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.preparation import DataChoice, prepare_study
from dpcxr_core.study.runs import run_many
from dpcxr_core.study.starting_points import StartingPoints, make_initialisations
from dpcxr_core.workers import ONE_THREAD

PROJECT = Path(__file__).resolve().parent.parent
SMALL_STUDY = {
    "question": "Does the command do what it says?",
    "data": {"sim-a": {"data_source": "simulated"}},
    "initialisations": {"random": {"weights": "random"}, "domain": {"weights": "standin_domain"}},
    "architectures": ["convnext_mini"],
    "epsilons": [8],
    "mechanism": {"delta": 1.0e-5, "expected_batch_size": 256, "n_steps": 24, "max_grad_norm": 0.5},
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Of this process and of those that tests start: two that share two cores wait for each other at every product."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    os.environ.update(ONE_THREAD)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of the real radiographs; the test skips, saying so, where it is missing."""
    folder = Path(os.environ.get("DPCXR_SAMPLE_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real radiographs are not at {folder}; set DPCXR_SAMPLE_DATA")
    return folder


@dataclass(frozen=True)
class TinyStudy:
    """A whole study as small as it can be: its places, initialisations and finished runs."""

    run_dir: Path
    places: StudyPlaces
    init_names: list[str]
    configs: list[RunConfig]
    folders: list[Path]


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory) -> TinyStudy:
    """Two seeds of three initialisations, private and not, and the public-only reference; made once for all processes.

    Half a minute on two cores: whoever comes second waits for it, and so leaves its core to it.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "study"
    made = shared / "made.pickle"
    with held(shared / ".lock", wait=True):
        if not made.is_file():
            made.write_bytes(pickle.dumps(_make_tiny_study(shared)))
        return pickle.loads(made.read_bytes())


def _make_tiny_study(run_dir: Path) -> TinyStudy:
    sizes = {"n_public": 200, "n_train": 160, "n_valid": 80, "n_test": 260, "n_external_test": 120}
    places = prepare_study(DataChoice(data_source="simulated", **sizes), run_dir / "cache", jobs=2)
    places = replace(places, evaluation=EvaluationChoice(n_resamples=40))
    leave_places(run_dir, places)
    steps = StartingPoints(n_scenes=80, nondomain_steps=4, selfsupervised_steps=3, domain_steps=60)
    init_names = make_initialisations(steps, places, jobs=2)
    specification = PrivacySpecification(
        sample_rate=0.2,
        n_steps=4,
        expected_batch_size=32,
        max_grad_norm=0.5,
        noise_multiplier=0.9,
        delta=1e-3,
    )
    recipe = Recipe(ordinary_n_steps=6, randomness="seeded")
    specifications = {7.0: specification}
    dataset, domain = places.private_dataset, init_names[-1]
    configs = [
        *comparison_runs(dataset, init_names[1:], specifications, recipe, seeds=[0, 1]),
        private_run(dataset, domain, 7.0, specification, recipe, head="kept"),
        public_only_run(dataset, domain),
    ]
    folders = run_many(configs, places, n_jobs=2)
    return TinyStudy(run_dir, places, init_names, configs, folders)
