import pytest

from dpcxr_core.planning.cells import cells_of
from dpcxr_core.running.cell_config import config_of
from dpcxr_core.running.in_process import run_study_here
from dpcxr_core.running.study_places import study_places
from dpcxr_core.training.record import read_record

BROKEN = {"broken": {"weights": "file:/nowhere/{architecture}.safetensors"}, "random": {"weights": "random"}}


@pytest.mark.slow
def test_cells_are_run_in_order_and_one_that_fails_is_none(tried, capsys):
    tiny = tried(initialisations=BROKEN, seeds=[0])
    folders = run_study_here(tiny.study, tiny.study_dir, cache_dir=tiny.cache, n_jobs=2)
    cells = list(cells_of(tiny.study))
    assert [folder is None for folder in folders] == [cell.initialisation == "broken" for cell in cells]
    assert "/nowhere/convnext_mini.json is missing" in capsys.readouterr().out
    by_cell = {job.cell: job for job in tiny.cell_jobs()}
    for cell, folder in zip(cells, folders, strict=True):
        if folder is not None:
            job = by_cell[cell]
            places = study_places(job, tiny.jobs, tiny.study, tiny.study_dir)
            assert read_record(folder).config == config_of(job, tiny.jobs, tiny.study, tiny.study_dir, places)
    stamps = _stamps(tiny)
    assert run_study_here(tiny.study, tiny.study_dir, cache_dir=tiny.cache, n_jobs=1) == folders
    assert _stamps(tiny) == stamps


def _stamps(tiny) -> dict[str, int]:
    """When each result was left."""
    folders = [tiny.folder(tiny.jobs[name]) for name in tiny.done()]
    return {folder.name: (folder / "result.json").stat().st_mtime_ns for folder in folders}
