import os
import platform
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor

import pytest

from dpcxr_core.workers import each_by_itself, worker_pool

PARENT = """
import os, time
from dpcxr_core.workers import worker_pool
if __name__ == "__main__":
    pool = worker_pool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""

SHARING = """
import sys
from dpcxr_core.workers import worker_pool
def has(name):
    return name in sys.modules
if __name__ == "__main__":
    import dpcxr_core.evaluation.draws
    import dpcxr_core.publishing.palette
    with worker_pool(2) as pool:
        for name in ("dpcxr_core.evaluation.draws", "dpcxr_core.publishing.palette"):
            print("imported" if pool.submit(has, name).result() else "missing")
"""


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_run_elsewhere_with_one_thread():
    with worker_pool(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every worker imports for itself")
def test_workers_share_what_was_imported_to_compute_and_not_to_publish(tmp_path):
    script = tmp_path / "imports.py"
    script.write_text(SHARING)
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert ran.stdout == "imported\nmissing\n"


@pytest.mark.parametrize(("gpus", "seen"), [(True, "0"), (False, "")])
def test_workers_find_gpus_unless_they_shall_not(monkeypatch, gpus, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with worker_pool(1, gpus=gpus) as pool:
        assert pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == seen
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"  # of this process


def _doubled(number: int, killed: int) -> int:
    if number == killed:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def test_of_a_worker_that_is_killed_only_its_own_call_fails():
    ended = dict(each_by_itself(worker_pool, 2, _doubled, [(number, 1) for number in range(5)]))
    assert isinstance(ended.pop(1).exception(), BrokenExecutor)
    assert {place: future.result() for place, future in ended.items()} == {0: 0, 2: 4, 3: 6, 4: 8}


def test_worker_ends_when_its_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert _is_running(worker)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 30
    while _is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _is_running(worker)


_FAULTS = """
import resource, sys
from dpcxr_core.workers import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(100_000_000)[::4096] = b"x" * 24415
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_used_again_where_it_is_kept():
    faults = {
        choice: int(subprocess.run([sys.executable, "-c", _FAULTS, choice], capture_output=True, check=True).stdout)
        for choice in ("keep", "return")
    }
    assert faults["keep"] < 1000 < faults["return"]


_STRANGER = """
import subprocess, sys, time
from dpcxr_core.workers import killed_with_parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], preexec_fn=killed_with_parent)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux tells a process that its parent ended")
def test_program_of_others_ends_when_its_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", _STRANGER], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert _is_running(child)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _is_running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_running(child)
