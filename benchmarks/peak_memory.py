"""Most memory that a method needs above its model and images: each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.methods import METHODS, STOCK, Method, make_step
from benchmarks.private_step import reason_of
from benchmarks.settings import Setting, batch_of, exact_compute, network
from dpcxr_core.training.device import Compute

_STATUS = Path("/proc/self/status")
_N_STEPS = 2  # the first one makes the state of AdamW, which the second one's peak lies on top of
_METHODS = {method.name: method for method in METHODS}


def memory_of_all(settings: Iterable[Setting], jobs: int, methods: Sequence[Method] = METHODS) -> pd.DataFrame:
    """``peak_bytes`` and ``failure`` of every setting and method."""
    return measured([(setting, method, setting.batch) for setting in settings for method in methods], jobs)


def measured(tasks: Sequence[tuple[Setting, Method, int]], jobs: int) -> pd.DataFrame:
    """``peak_bytes`` and ``failure`` of each setting, method and physical batch of ``tasks``."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        futures = [pool.submit(_peak_bytes, setting, method.name, physical) for setting, method, physical in tasks]
        rows = []
        for (setting, method, _), future in zip(tqdm(tasks, desc="memory", mininterval=5), futures, strict=True):
            peak, failure = future.result()
            fact = {"method": method.name, "kind": method.kind, "peak_bytes": peak, "failure": failure}
            rows.append(setting.columns | fact)
    return pd.DataFrame(rows)


def _peak_bytes(setting: Setting, method_name: str, physical_batch: int) -> tuple[float, str]:
    """Peak over two steps above what model and images took, and why there is none; runs in its own process."""
    torch.set_num_threads(1)
    compute = exact_compute()
    model = network(setting.architecture, compute)
    images, labels = batch_of(setting.architecture, setting.size, setting.batch, compute)
    batches = list(zip(images.split(physical_batch), labels.split(physical_batch), strict=True))
    _load_libraries(compute)
    try:
        step = make_step(_METHODS[method_name], model, compute, setting.batch)
        before = _reset_peak(compute)
        for _ in range(_N_STEPS):
            step(batches)
    except (RuntimeError, AttributeError, IndexError, ValueError) as failure:
        return float("nan"), reason_of(failure)
    return float(_peak(compute) - before), ""


def _load_libraries(compute: Compute) -> None:
    """Take a small step of a small network: what libraries take once belongs to no method."""
    small = "convnext_mini"
    make_step(STOCK, network(small, compute), compute, 1)([batch_of(small, 32, 1, compute)])


def _reset_peak(compute: Compute) -> int:
    """Bytes in use now; the peak starts from here."""
    if compute.on_gpu:
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM becomes VmRSS: proc(5)
    return _status_bytes("VmRSS")


def _peak(compute: Compute) -> int:
    return torch.cuda.max_memory_allocated() if compute.on_gpu else _status_bytes("VmHWM")


def _status_bytes(name: str) -> int:
    (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def default_jobs() -> int:
    """Processes at once: memory is not moved by company, as time would be."""
    return max(1, min(2, os.cpu_count() or 1))
