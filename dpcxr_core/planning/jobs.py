"""The jobs of a study: one papermill run of a chapter each, and which needs which."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from dpcxr_core.config import UserError, content_key
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.files import write_json
from dpcxr_core.planning.cells import Cell, cell_name, cell_values, cells_of, pretraining_of, tested_on
from dpcxr_core.planning.study_file import Study
from dpcxr_core.provenance import deciding_libraries, imported_source_key
from dpcxr_core.study.data_choice import OWN, SIMULATED, DataChoice
from dpcxr_core.study.standin_choice import STANDIN_TAGS, StartingPoints

PLAN_FILE = "plan.json"
RESULT_FILE = "result.json"
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
        n_gpus: GPUs that it takes; none for data and for the small networks.
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


def jobs_of(study: Study) -> list[Job]:
    """All jobs of ``study``; what a job needs comes before it."""
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
        done[cell] = _cell_job(study, cell, tuple(job.name for job in needs))
    return [*data.values(), *standins.values(), *done.values()]


def _data_jobs(study: Study, cells: Iterable[Cell]) -> _DataJobs:
    jobs: _DataJobs = {}
    for cell in cells:
        for name in tested_on(cell, study):
            recipe = study.recipe_of(name, cell.image_recipe)
            if (name, recipe) not in jobs:
                choice = study.data_choice(name, recipe)
                code = imported_source_key("dpcxr_core.study.preparation")
                key = content_key(choice, _facts(choice.data_source, choice.manifest), code)
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
        key = content_key(choice, needs, imported_source_key("dpcxr_core.study.starting_points"), _libraries())
        jobs[dataset, image_recipe, architecture] = Job(
            name=f"standins-{dataset}-{architecture}-{key}",
            kind="standins",
            dataset=dataset,
            needs=needs,
            choice=choice,
            n_gpus=0 if _is_small(architecture) else 1,
            mem_mb=_mem_mb(architecture),
        )
    return jobs


def _cell_job(study: Study, cell: Cell, needs: tuple[str, ...]) -> Job:
    code = imported_source_key("dpcxr_core.study.runs", "dpcxr_core.study.evaluating")
    start = study.initialisations[cell.initialisation]
    key = content_key(cell_values(cell), start, study.evaluation, needs, code, _libraries())
    n_ranks = study.ranks.get(cell.architecture, 1)
    return Job(
        name=f"{cell_name(cell)}-{key}",
        kind="cell",
        dataset=cell.dataset,
        needs=needs,
        cell=cell,
        n_gpus=0 if _is_small(cell.architecture) else n_ranks,
        n_ranks=n_ranks,
        mem_mb=_mem_mb(cell.architecture),
    )


def _is_small(architecture: str) -> bool:
    return architecture.startswith("convnext_mini")


def _mem_mb(architecture: str) -> int:
    return _MEM_MB["small" if _is_small(architecture) else "large"]


@cache
def _facts(data_source: str, own_manifest: str) -> str:
    """What a manifest states of the images, as text: YAML reads some dates as dates."""
    if data_source == SIMULATED:
        return ""
    if data_source == OWN:  # a plan is made also where the hospital's manifest is not
        path = Path(own_manifest)
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    return json.dumps(facts_of(data_source), default=str)


@cache
def _libraries() -> dict[str, str]:
    return deciding_libraries()


def job_folder(study_dir: Path, job: Job) -> Path:
    """Where a job leaves its notebook, log and result."""
    return study_dir / "jobs" / job.name


def is_done(study_dir: Path, job: Job) -> bool:
    """Whether the job left its result."""
    return (job_folder(study_dir, job) / RESULT_FILE).is_file()


def write_plan(study_dir: Path, study: Study, jobs: Sequence[Job]) -> Path:
    """``plan.json`` in ``study_dir``, now with all that an engine must know of ``jobs``."""
    known = ("name", "kind", "needs", "n_gpus", "n_ranks", "mem_mb")
    rows = [{name: getattr(job, name) for name in known} for job in jobs]
    return write_json(study_dir / PLAN_FILE, {"study_file": str(study.path.resolve()), "jobs": rows})


def read_plan(study_dir: Path) -> dict[str, Any]:
    """``{"study_file": path, "jobs": [{name, kind, needs, n_gpus, n_ranks, mem_mb}]}`` as ``write_plan`` left it.

    Raises:
        UserError: There is none.
    """
    path = study_dir / PLAN_FILE
    if not path.is_file():
        raise UserError(f"{path} is missing; dpcxr study FILE writes it")
    return json.loads(path.read_text())
