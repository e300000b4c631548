"""The command line that does one job, for whatever engine starts it."""

from __future__ import annotations

import sys
from pathlib import Path


def job_command(study_file: Path, study_dir: Path, name: str, *, cache_dir: Path, n_cores: int) -> list[str]:
    """The words of ``dpcxr job``, run by the Python that runs this."""
    return [
        *(sys.executable, "-m", "dpcxr_core.cli", "job", str(study_file), str(study_dir), name),
        *("--cache", str(cache_dir), "--cores", str(n_cores)),
    ]
