import subprocess
import sys

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.running.holding import held, study_held
from tests.conftest import PROJECT

HOLDER = """
import sys, time
from pathlib import Path
from dpcxr_core.running.holding import held
with held(Path(sys.argv[1]), wait=True) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_one_process_holds_a_file_until_it_is_killed(tmp_path):
    path = tmp_path / "deep" / ".lock"
    words = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "True\n"
        with held(path, wait=False) as mine:
            assert not mine
        holder.kill()
    with held(path, wait=False) as mine:
        assert mine


def test_a_file_is_free_after_an_error(tmp_path):
    for _ in range(2):
        try:
            with held(tmp_path / ".lock", wait=False) as mine:
                assert mine
                raise KeyError
        except KeyError:
            pass


def test_a_study_is_held_by_one_process(tmp_path):
    for _ in range(2):
        with (
            study_held(tmp_path),
            pytest.raises(UserError, match="another process is at the study"),
            study_held(tmp_path),
        ):
            pass
