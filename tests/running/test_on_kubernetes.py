"""The profile for Kubernetes, against a stand-in for its API server whose pods are processes of this machine.

Each has a working folder of its own, as a pod has, and sees what a shared volume would hold: all of this machine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpcxr_core.config import UserError
from dpcxr_core.running.by_snakemake import PROFILES, snakemake_is_here, snakemake_words
from tests.conftest import PROJECT

pytestmark = pytest.mark.skipif(not snakemake_is_here(), reason="needs the extra cluster: Snakemake")


@dataclass
class Pods:
    """What was asked of the server.

    Attributes:
        folder: Where the pods work.
        jobs: By name, what was submitted.
        processes: By name of their job.
    """

    folder: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    @property
    def kubeconfig(self) -> Path:
        """The file that says where the server is."""
        return self.folder / "kubeconfig.yaml"

    def begin(self, job: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        (container,) = job["spec"]["template"]["spec"]["containers"]
        workdir = self.folder / name
        workdir.mkdir()
        self.jobs[name] = job
        with (workdir / "log").open("w") as log:
            words = [*container["command"], *container["args"]]
            environment = os.environ | {"PATH": self._path(), "PYTHONPATH": str(PROJECT)}
            self.processes[name] = subprocess.Popen(words, cwd=workdir, env=environment, stdout=log, stderr=log)

    def _path(self) -> str:
        """A python that has the project, as the image does, and a pip that finds all there."""
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "pip").write_text("#!/bin/sh\n")
        (programs / "pip").chmod(0o755)
        return os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])


@contextmanager
def serving_pods(folder: Path) -> Iterator[Pods]:
    """The stand-in, answering until the block ends; pods that still run are killed then."""
    pods = Pods(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(pods))
    named = {"name": "standin", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    context = {"name": "standin", "context": {"cluster": "standin", "user": "nobody"}}
    pods.kubeconfig.write_text(
        yaml.safe_dump(
            {"clusters": [named], "contexts": [context], "current-context": "standin"}
            | {"users": [{"name": "nobody", "user": {}}], "apiVersion": "v1", "kind": "Config"}
        )
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield pods
    finally:
        server.shutdown()
        server.server_close()
        for process in pods.processes.values():
            process.kill()


def _handler_of(pods: Pods) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.endswith("/jobs"):
                pods.begin(asked)
            self._answer(asked)

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path.endswith("/status"):
                self._answer(_job_status(pods, path.split("/")[-2]))
            elif path.endswith("/log"):
                self._answer((pods.folder / path.split("/")[-2] / "log").read_text())
            else:
                self._answer({"kind": "PodList", "items": [_pod(pods, query.rpartition("job-name%3D")[2])]})

        def do_DELETE(self) -> None:
            self._answer({"kind": "Status"})

        def _answer(self, said: dict[str, Any] | str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write((said if isinstance(said, str) else json.dumps(said)).encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _job_status(pods: Pods, name: str) -> dict[str, Any]:
    ended = pods.processes[name].poll()
    status = {} if ended is None else {"failed": 1} if ended else {"succeeded": 1}
    return {"kind": "Job", "metadata": {"name": name}, "status": status}


def _pod(pods: Pods, name: str) -> dict[str, Any]:
    ended = pods.processes[name].poll()
    state = {"running": {}} if ended is None else {"terminated": {"exitCode": ended}}
    container = {"name": "snakemake", "image": "", "imageID": "", "ready": True, "restartCount": 0, "state": state}
    return {"metadata": {"name": name}, "status": {"containerStatuses": [container]}}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("rsync") is None, reason="Snakemake's storage needs rsync")
def test_pods_do_the_jobs_and_the_one_that_fails_is_named(tried, tmp_path, monkeypatch):
    tiny = tried(
        initialisations={"random": {"weights": "random"}, "broken": {"weights": "file:/nowhere/w.safetensors"}},
        epsilons=[float("inf")],
        seeds=[0],
    )
    tiny = replace(tiny, runs=tmp_path / "runs")  # one without blanks
    profile = tmp_path / "profile"
    stated = yaml.safe_load((PROFILES / "kubernetes" / "config.yaml").read_text())
    # nothing to wait for on one machine, and what fails here fails again
    (profile / "config.yaml").parent.mkdir()
    (profile / "config.yaml").write_text(yaml.safe_dump(stated | {"latency-wait": 2, "retries": 0}))
    (tmp_path / "pods").mkdir()
    with serving_pods(tmp_path / "pods") as pods:
        monkeypatch.setenv("KUBECONFIG", str(pods.kubeconfig))
        ran = tiny.ran("--profile", str(profile))
    said = ran.stdout + ran.stderr + "".join(path.read_text() for path in (tmp_path / "pods").glob("*/log"))
    assert ran.returncode == 1, said
    by_name = {job.cell.initialisation: job.name for job in tiny.cell_jobs()}
    assert tiny.done() == set(tiny.jobs) - {by_name["broken"]}, said
    assert len(pods.jobs) == len(tiny.jobs)
    (log,) = re.findall(rf"^FAILED {by_name['broken']}: (.+)$", ran.stdout, re.MULTILINE)
    assert "/nowhere/w.json is missing" in Path(log).read_text()


def test_a_folder_that_pods_would_not_find_is_refused(tmp_path):
    study_dir = tmp_path / "runs of mine"
    with pytest.raises(UserError, match="has a blank in its path"):
        snakemake_words(study_dir, cache_dir=tmp_path, n_cores=None, profile=PROFILES / "kubernetes")
    assert str(study_dir) in snakemake_words(study_dir, cache_dir=tmp_path, n_cores=None, profile=PROFILES / "slurm")
