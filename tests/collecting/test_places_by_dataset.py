from dpcxr_core.collecting.places_by_dataset import places_by_dataset
from dpcxr_core.planning.jobs import job_folder, jobs_of
from dpcxr_core.running.results import leave_result
from dpcxr_core.study.handover import leave_places
from dpcxr_core.study.places import FOLDERS, StudyPlaces


def _places(folder, name):
    parts = {part: folder / part for part in FOLDERS}
    return StudyPlaces(**parts, public_dataset="sim-source", private_dataset=name)


def test_the_first_cell_that_is_done_speaks_for_its_data_set(study, tmp_path):
    assert places_by_dataset(study, tmp_path) == {}
    cells = [job for job in jobs_of(study) if job.cell is not None]
    for number, job in enumerate(cells[:3]):
        leave_places(job_folder(tmp_path, job), _places(tmp_path, f"set-{number}"))
    assert places_by_dataset(study, tmp_path) == {}  # begun, and not done
    for job in cells[1:3]:
        leave_result(job_folder(tmp_path, job), 1.0, tmp_path / "run")
    assert places_by_dataset(study, tmp_path) == {"sim-a": _places(tmp_path, "set-1")}
