from dpcxr_core.collecting.places_by_run import places_by_run
from dpcxr_core.planning.jobs import job_folder, jobs_of
from dpcxr_core.running.results import leave_result
from dpcxr_core.study.handover import leave_places
from dpcxr_core.study.places import FOLDERS, StudyPlaces


def _places(folder, stores):
    parts = {part: folder / part for part in FOLDERS} | {"stores": folder / stores}
    return StudyPlaces(**parts, public_dataset="sim-source", private_dataset="sim-a")


def test_each_run_that_is_done_has_the_places_of_its_cell(study, tmp_path):
    assert places_by_run(study, tmp_path) == {}
    cells = [job for job in jobs_of(study) if job.cell is not None]
    for number, job in enumerate(cells[:3]):
        leave_places(job_folder(tmp_path, job), _places(tmp_path, f"images-{number}"))
    assert places_by_run(study, tmp_path) == {}  # begun, and not done
    for number in (1, 2):
        leave_result(job_folder(tmp_path, cells[number]), 1.0, tmp_path / f"run-{number}")
    assert places_by_run(study, tmp_path) == {f"run-{n}": _places(tmp_path, f"images-{n}") for n in (1, 2)}
