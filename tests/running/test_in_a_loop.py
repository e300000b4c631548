import sys

from dpcxr_core.planning.jobs import Job, job_folder
from dpcxr_core.running import in_a_loop
from dpcxr_core.running.in_a_loop import do_in_a_loop

JOBS = [
    Job(name="data", kind="data", dataset="a"),
    Job(name="bad", kind="data", dataset="b"),
    Job(name="waits", kind="cell", dataset="b", needs=("data", "bad")),
    Job(name="good", kind="cell", dataset="a", needs=("data",)),
]
DO = """
import sys
print("at work")
if sys.argv[2] == "bad":
    sys.exit("it broke")
open(sys.argv[1] + "/result.json", "w").write("{}")
"""


def test_what_fails_keeps_its_log_and_stops_only_what_needs_it(tmp_path, monkeypatch, capfd):
    begun = []

    def command(study_file, study_dir, name, *, cache_dir, n_cores):
        begun.append(name)
        return [sys.executable, "-c", DO, str(study_dir / "jobs" / name), name]

    monkeypatch.setattr(in_a_loop, "job_command", command)
    for _ in range(2):
        do_in_a_loop(tmp_path / "s.yml", tmp_path, JOBS, cache_dir=tmp_path, n_cores=1)
    assert begun == ["data", "bad", "good", "bad"]  # the second time only what failed
    logs = {job.name: job_folder(tmp_path, job) / "log.txt" for job in JOBS}
    assert sorted(logs["bad"].read_text().splitlines()) == ["at work", "it broke"]
    assert logs["good"].read_text() == "at work\n"
    assert not logs["waits"].exists()
    assert capfd.readouterr().out.splitlines()[0] == "1 of 4: data"
