import errno
import subprocess
import sys
from contextlib import nullcontext

import pytest

from dpcxr_core import locks
from dpcxr_core.locks import held
from tests.conftest import PROJECT

HOLDER = """
import sys, time
from pathlib import Path
from dpcxr_core.locks import held
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


@pytest.mark.parametrize("needed", [False, True])
def test_file_system_without_locks_is_refused_only_where_they_are_needed(tmp_path, monkeypatch, needed):
    def flock(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with (
        pytest.raises(OSError, match="no locks") if needed else nullcontext(),
        held(tmp_path / "lock", wait=False, needed=needed) as mine,
    ):
        assert mine
        assert not needed


def test_other_errors_are_never_taken_for_a_hold(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "the disk failed")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(OSError, match="the disk failed"), held(tmp_path / "lock", wait=True):
        pass


def test_where_the_system_knows_no_locks_nothing_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    for _ in range(2):
        with held(tmp_path / "lock", wait=False) as mine, held(tmp_path / "lock", wait=False) as mine_too:
            assert mine
            assert mine_too
    with pytest.raises(OSError, match="no locks of files"), held(tmp_path / "lock", wait=False, needed=True):
        pass
