"""The runs of the tiny study as a study file plans them: most of its cells done, a few missing."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dpcxr_core.collecting.study_tables import collect_study
from dpcxr_core.files import write_json
from dpcxr_core.planning.jobs import job_folder, jobs_of
from dpcxr_core.planning.study_file import Study, read_study
from dpcxr_core.study.handover import leave_places
from dpcxr_core.study.runs import run_one
from dpcxr_core.training.initialisation import find_standin

STUDY = """
question: Does it collect?
data: {sim-a: {data_source: simulated}}
initialisations:
  supervised: {weights: standin_supervised}
  selfsupervised: {weights: standin_selfsupervised}
  domain: {weights: standin_domain}
own_heads: [domain]
roles: {supervised: supervised, self_supervised: selfsupervised, domain: domain}
architectures: [convnext_mini]
epsilons: [7, .inf]
seeds: [0, 1]
mechanism: {delta: 1.0e-3, expected_batch_size: 32, n_steps: 4, max_grad_norm: 0.5}
recipe: {randomness: seeded, ordinary_n_steps: 6}
evaluation: {n_resamples: 40}
"""


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    """Twelve cells with a new head, two with their own, and the public-only model."""
    file = tmp_path_factory.mktemp("file") / "tiny.yml"
    file.write_text(STUDY)
    return read_study(file)


def leave_jobs(study, tiny_study, study_dir: Path, chosen=lambda config: True, seconds: float = 2.0) -> Path:
    """``study_dir``, as jobs leave it whose runs are those of the tiny study that are ``chosen``."""
    runs = {_key(config): folder for config, folder in zip(tiny_study.configs, tiny_study.folders, strict=True)}
    wanted = {_key(config) for config in tiny_study.configs if chosen(config)}
    for job in jobs_of(study):
        if job.cell is None:
            continue
        choice = study.initialisations[job.cell.initialisation]
        key = (choice.weights, job.cell.head, job.cell.kind, job.cell.seed)
        if key in wanted:
            leave_places(job_folder(study_dir, job), tiny_study.places)
            write_json(job_folder(study_dir, job) / "result.json", {"run": str(runs[key]), "seconds": seconds})
    return study_dir


def run_from_file(tiny_study, folder: Path) -> Path:
    """Record folder of a private run whose weights are a file in ``folder``."""
    config = next(each for each in tiny_study.configs if each.kind == "private" and "domain" in each.init_name)
    source = find_standin(config.init_name, tiny_study.places.weights)
    folder.mkdir()
    for suffix in (".safetensors", ".json"):
        shutil.copy(source.with_suffix(suffix), folder / f"mine{suffix}")
    return run_one(replace(config, init_name=f"convnext_mini.file:{folder / 'mine.safetensors'}"), tiny_study.places)


def _key(config):
    tag = config.init_name.partition(".")[2].partition("@")[0]
    return (tag, config.head, config.kind, config.seed)


@pytest.fixture
def study_dir(study, tiny_study, tmp_path) -> Path:
    """A folder with the jobs of all runs of the tiny study."""
    return leave_jobs(study, tiny_study, tmp_path / "study")


@pytest.fixture(scope="session")
def collected(study, tiny_study, tmp_path_factory) -> Path:
    """The tables of all runs of the tiny study; not to be changed."""
    return collect_study(study, leave_jobs(study, tiny_study, tmp_path_factory.mktemp("collected")))
