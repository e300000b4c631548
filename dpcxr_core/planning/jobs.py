"""The jobs of a study: one papermill run of a chapter each, and which needs which."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from dpcxr_core.config import UserError, content_key
from dpcxr_core.data.manifests import facts_of, manifest
from dpcxr_core.data.sources.own_manifest import own_facts, own_table_file
from dpcxr_core.data.store import file_sha256
from dpcxr_core.files import write_json
from dpcxr_core.planning.cells import Cell, cell_name, cell_values, cells_of, pretraining_of, tested_on
from dpcxr_core.planning.grid import FILE
from dpcxr_core.planning.network_flops import is_small
from dpcxr_core.planning.study_file import Study
from dpcxr_core.provenance import PROJECT_FOLDER, deciding_libraries, imported_source_key
from dpcxr_core.study.data_choice import OWN, SIMULATED, DataChoice
from dpcxr_core.study.standin_choice import STANDIN_TAGS, StartingPoints

PLAN_FILE = "plan.json"
RESULT_FILE = "result.json"
LOG_FILE = "log.txt"  # in the job's folder: all that its command says
WEIGHTS_OF_BOOK = PROJECT_FOLDER / ".cache" / "weights"
CELL_CODE = (  # what turns a cell into a run, and its scores into numbers
    *("dpcxr_core.running.cell_config", "dpcxr_core.running.study_places"),
    *("dpcxr_core.study.recording", "dpcxr_core.study.scoring", "dpcxr_core.study.evaluating"),
)
_MEM_MB = {"data": 8_000, "small": 4_000, "large": 32_000}  # judged; what a cluster is asked for


@dataclass(frozen=True, kw_only=True)
class Job:
    """One papermill run of a chapter.

    Attributes:
        name: Readable, and a key of all that decides the result, as far as a plan can know.
        kind: "data" (chapter 11), "standins" (chapter 15) or "cell" (chapter 21).
        dataset: Name in the study of the data set prepared, pretrained for, or trained on.
        needs: Names of the jobs that must be done before.
        choice: The images to prepare, or what to pretrain; None for a cell.
        cell: The run; of kind "cell" only.
        n_gpus: GPUs that it takes; none for data, for stand-ins, which are pretrained on cores, and for small networks.
        n_ranks: Processes that train together.
        mem_mb: Main memory to ask a cluster for, in MB.
    """

    name: str
    kind: Literal["data", "standins", "cell"]
    dataset: str
    needs: tuple[str, ...] = ()
    choice: DataChoice | StartingPoints | None = None
    cell: Cell | None = None
    n_gpus: int = 0
    n_ranks: int = 1
    mem_mb: int = _MEM_MB["small"]


_DataJobs = dict[tuple[str, str], Job]  # by data set and image recipe


def jobs_of(study: Study, weights_dir: Path = WEIGHTS_OF_BOOK) -> list[Job]:
    """All jobs of ``study``; what a job needs comes before it.

    Args:
        study: The study.
        weights_dir: Where files of weights that ``data_manifests/weights.yaml`` lists are looked up: their content is
            part of the names of cells. Whoever looks for jobs that were done names the folder that they were done with.
    """
    cells = cells_of(study)
    data = _data_jobs(study, cells)
    standins = _standin_jobs(study, cells, data)
    done: dict[Cell, Job] = {}
    for cell in cells:
        needs = [data[name, study.recipe_of(name, cell.image_recipe)] for name in tested_on(cell, study)]
        if study.initialisations[cell.initialisation].is_standin:
            needs.append(standins[cell.dataset, cell.image_recipe, cell.architecture])
        if (before := pretraining_of(cell, study)) is not None:
            needs.append(done[before])
        done[cell] = _cell_job(study, cell, tuple(job.name for job in needs), weights_dir)
    return [*data.values(), *standins.values(), *done.values()]


def _data_jobs(study: Study, cells: Iterable[Cell]) -> _DataJobs:
    jobs: _DataJobs = {}
    for cell in cells:
        for name in tested_on(cell, study):
            recipe = study.recipe_of(name, cell.image_recipe)
            if (name, recipe) not in jobs:
                choice = study.data_choice(name, recipe)
                code = imported_source_key("dpcxr_core.study.preparation")
                key = content_key(choice, _facts(choice), code)
                jobs[name, recipe] = Job(
                    name=f"data-{name}-{key}", kind="data", dataset=name, choice=choice, mem_mb=_MEM_MB["data"]
                )
    return jobs


def _standin_jobs(study: Study, cells: Iterable[Cell], data: _DataJobs) -> dict[tuple[str, str, str], Job]:
    """By data set, image recipe and architecture: whatever stand-ins any cell of these starts from."""
    tags: dict[tuple[str, str, str], set[str | None]] = {}
    for cell in cells:
        start = study.initialisations[cell.initialisation]
        if start.is_standin:
            tags.setdefault((cell.dataset, cell.image_recipe, cell.architecture), set()).add(start.weights)
    jobs = {}
    for (dataset, image_recipe, architecture), asked in tags.items():
        of_these = tuple(tag for tag in STANDIN_TAGS if tag in asked)
        choice = replace(study.standins, architecture=architecture, tags=of_these)
        needs = (data[dataset, image_recipe].name,)
        pictures = _file_key(choice.natural_images)
        code = imported_source_key("dpcxr_core.study.starting_points")
        key = content_key(choice, pictures, study.needs_protection, needs, code, _libraries())
        jobs[dataset, image_recipe, architecture] = Job(
            name=f"standins-{dataset}-{architecture}-{key}",
            kind="standins",
            dataset=dataset,
            needs=needs,
            choice=choice,
            mem_mb=_mem_mb(architecture),
        )
    return jobs


def _cell_job(study: Study, cell: Cell, needs: tuple[str, ...], weights_dir: Path) -> Job:
    start = study.initialisations[cell.initialisation]
    weights = _weights_key(start.weights_name(cell.architecture), weights_dir) if start.weights else []
    values = (cell_values(cell), start, weights, study.evaluation, study.needs_protection)
    key = content_key(*values, needs, imported_source_key(*CELL_CODE), _libraries())
    n_ranks = study.ranks.get(cell.architecture, 1)
    return Job(
        name=f"{cell_name(cell)}-{key}",
        kind="cell",
        dataset=cell.dataset,
        needs=needs,
        cell=cell,
        n_gpus=0 if is_small(cell.architecture) else n_ranks,
        n_ranks=n_ranks,
        mem_mb=_mem_mb(cell.architecture),
    )


def _mem_mb(architecture: str) -> int:
    return _MEM_MB["small" if is_small(architecture) else "large"]


def _facts(choice: DataChoice) -> list[str]:
    """What a manifest states of the images, as text or the key of one: YAML reads some dates as dates.

    Of a hospital's own export also its table, which may be corrected.
    """
    if choice.data_source == SIMULATED:
        return []
    if choice.data_source != OWN:
        return [json.dumps(facts_of(choice.data_source), default=str)]
    try:
        table = own_table_file(own_facts(PROJECT_FOLDER / choice.manifest), choice.source_dir)
    except UserError:  # what is wrong with it the job will say
        table = None
    return [_file_key(choice.manifest), _file_key(table) if table else ""]


def _weights_key(name: str, weights_dir: Path) -> list[str]:
    """What is known of the weights ``name`` beyond it: the content of a file, and of its record or the manifest."""
    _, is_file, path = name.partition(f".{FILE}")
    if is_file:
        return [_file_key(path), _file_key(Path(path).with_suffix(".json"))]
    listed = listed_weights().get(name)
    content = [_file_key((weights_dir / listed["file"]).resolve())] if listed and "file" in listed else []
    return [json.dumps(listed, default=str), *content]


@cache
def listed_weights() -> dict[str, dict[str, Any]]:
    """What ``data_manifests/weights.yaml`` states of weights, by their name."""
    return manifest("weights.yaml")["weights"]


def _file_key(path: str | Path) -> str:
    """SHA-256 of the file ``path``, seen from the project as kernels see it; "" where there is none.

    A plan is made also on a machine without the files.
    """
    file = PROJECT_FOLDER / path
    return _sha256(file, file.stat().st_mtime_ns) if file.is_file() else ""


@cache
def _sha256(file: Path, written_at: int) -> str:
    """As ``file_sha256``; read once for all cells, and again once it was written to."""
    return file_sha256(file)


@cache
def _libraries() -> dict[str, str]:
    return deciding_libraries()


def job_folder(study_dir: Path, job: Job) -> Path:
    """Where a job leaves its notebook, log and result."""
    return study_dir / "jobs" / job.name


def is_done(study_dir: Path, job: Job) -> bool:
    """Whether the job left its result."""
    return (job_folder(study_dir, job) / RESULT_FILE).is_file()


def run_of(folder: Path) -> Path:
    """Record folder of the run that the job of ``folder`` did."""
    return PROJECT_FOLDER / json.loads((folder / RESULT_FILE).read_text())["run"]


def write_plan(study_dir: Path, study: Study, jobs: Sequence[Job]) -> Path:
    """``plan.json`` in ``study_dir``, now with all that an engine must know of ``jobs``."""
    known = ("name", "kind", "needs", "n_gpus", "n_ranks", "mem_mb")
    rows = [{name: getattr(job, name) for name in known} for job in jobs]
    return write_json(study_dir / PLAN_FILE, {"study_file": str(study.path.resolve()), "jobs": rows})
