"""What one training step costs by every method in turn, in one process, on the same images; and which are right."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from benchmarks.methods import METHODS, N_ORACLE_IMAGES, Method, make_step, relative_error
from benchmarks.settings import Plan, Setting, batch_of, network
from dpcxr_core.training.device import Compute

_SMALL = 64  # pixels; the check of gradients needs no large images
Work = Callable[[], None]


def clock_of(compute: Compute) -> str:
    """What ``seconds`` are: with one thread on the CPU the time this process computed, else the time that passed."""
    return "process CPU time" if not compute.on_gpu and torch.get_num_threads() == 1 else "wall time"


def seconds_of(work: Work, compute: Compute) -> float:
    """Seconds that ``work`` took by ``clock_of``, on a GPU until it was done."""
    clock = time.process_time if clock_of(compute) == "process CPU time" else time.perf_counter
    _finish(compute)
    started = clock()
    work()
    _finish(compute)
    return clock() - started


def _finish(compute: Compute) -> None:
    if compute.on_gpu:
        torch.cuda.synchronize()


def measure_all(plan: Plan, compute: Compute) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Times and facts of every setting of ``plan``; see ``measure``."""
    found = [measure(setting, *rounds, compute) for setting, rounds in plan.steps.items()]
    return pd.concat([times for times, _ in found]), pd.concat([facts for _, facts in found])


def measure(
    setting: Setting, rounds: int, opacus_rounds: int, compute: Compute, methods: Sequence[Method] = METHODS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``round seconds`` of one step of every method, and each method's ``relative_error`` and ``failure``.

    Each round takes one step of every method, beginning with another one each time; methods of Opacus take part in
    the first ``opacus_rounds`` only. A method that fails has no times, and its reason is a fact.
    """
    model = network(setting.architecture, compute)
    works, facts = {}, []
    for method in tqdm(methods, desc=f"{setting.architecture}: checking", mininterval=5):
        fact = {"method": method.name, "kind": method.kind, "noisy": method.noisy}
        try:
            error = _error_of(method, setting, compute)
            works[method.name] = _work(method, copy.deepcopy(model), setting, compute)
            works[method.name]()  # warm-up: kernels are chosen and memory is taken once
            facts.append(fact | {"relative_error": error, "failure": ""})
        except (RuntimeError, AttributeError, IndexError, ValueError) as failure:
            works.pop(method.name, None)
            facts.append(fact | {"relative_error": float("nan"), "failure": reason_of(failure)})
    rows = []
    for turn in tqdm(range(rounds), desc=f"{setting.architecture} {setting.size} px", mininterval=5):
        for method in rotated(methods, turn):
            if method.name in works and (method.kind != "Opacus" or turn < opacus_rounds):
                seconds = seconds_of(works[method.name], compute)
                rows.append({"method": method.name, "round": turn, "seconds": seconds})
    return pd.DataFrame(rows).assign(**setting.columns), pd.DataFrame(facts).assign(**setting.columns)


def rotated(methods: Sequence[Method], turn: int) -> list[Method]:
    """``methods`` from the one whose turn it is to begin, so that none is always first."""
    first = turn % len(methods)
    return [*methods[first:], *methods[:first]]


def reason_of(failure: Exception) -> str:
    """The first line of ``failure``, with its kind."""
    return f"{type(failure).__name__}: {str(failure).strip().splitlines()[0] if str(failure).strip() else ''}"[:200]


def _error_of(method: Method, setting: Setting, compute: Compute) -> float:
    images, labels = batch_of(setting.architecture, min(setting.size, _SMALL), N_ORACLE_IMAGES, compute)
    return relative_error(method, network(setting.architecture, compute), images, labels, compute)


def _work(method: Method, model: nn.Module, setting: Setting, compute: Compute) -> Work:
    step = make_step(method, model, compute, setting.batch)
    batches = [batch_of(setting.architecture, setting.size, setting.batch, compute)]

    def work() -> None:
        step(batches)

    return work
