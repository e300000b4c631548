import sys
from pathlib import Path

from dpcxr_core import cli, study_command
from dpcxr_core.running.command import job_command


def test_command_line_reads_the_words_as_they_were_meant(monkeypatch):
    seen = []
    monkeypatch.setattr(study_command, "run_job", lambda options: seen.append(options) or 0)
    words = job_command(Path("/a b/s.yml"), Path("/c d"), "job-1", cache_dir=Path("/e f"), n_cores=3)
    assert words[:4] == [sys.executable, "-m", "dpcxr_core.cli", "job"]
    assert cli.main(words[3:]) == 0
    (options,) = seen
    assert (options.study_file, options.study_dir, options.name) == (Path("/a b/s.yml"), Path("/c d"), "job-1")
    assert options.result is None
    assert (options.cache, options.cores) == (Path("/e f"), 3)
