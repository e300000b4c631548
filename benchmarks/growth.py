"""How time and memory grow with the batch and with the network, without privacy and with ours."""

from __future__ import annotations

import pandas as pd
from tqdm import tqdm

from benchmarks.methods import FAST_DEPTHWISE, OURS, STOCK, Method, make_step
from benchmarks.peak_memory import measured
from benchmarks.private_step import Work, rotated, seconds_of
from benchmarks.settings import GROWTH_BATCH, GROWTH_MODEL, Plan, Setting, batch_of, network
from dpcxr_core.training.device import Compute

GROWTH_METHODS = (STOCK, FAST_DEPTHWISE, OURS)
_KEYS = ["architecture", "size", "batch", "method"]


def measure_growth(plan: Plan, compute: Compute, jobs: int) -> pd.DataFrame:
    """One row a point and round: ``sweep``, ``n_parameters``, ``physical_batch``, ``seconds``, ``peak_bytes``."""
    found = []
    for sweep, settings in growth_settings(plan).items():
        times = _times(settings, plan, compute)
        tasks = [(setting, method, plan.physical_batch) for setting in settings for method in GROWTH_METHODS]
        memory = measured(tasks, jobs)[[*_KEYS, "peak_bytes"]]
        found.append(times.merge(memory, on=_KEYS, validate="many_to_one").assign(sweep=sweep))
    return pd.concat(found).assign(physical_batch=plan.physical_batch)


def growth_settings(plan: Plan) -> dict[str, list[Setting]]:
    """The points of each sweep."""
    return {
        "batch": [Setting(GROWTH_BATCH.architecture, GROWTH_BATCH.size, batch) for batch in plan.batches],
        "network": [Setting(name, GROWTH_MODEL.size, GROWTH_MODEL.batch) for name in plan.networks],
    }


def _times(settings: list[Setting], plan: Plan, compute: Compute) -> pd.DataFrame:
    rows = []
    for setting in tqdm(settings, desc="growth", mininterval=5):
        works = {method.name: _work(method, setting, plan.physical_batch, compute) for method in GROWTH_METHODS}
        n_parameters = sum(p.numel() for p in network(setting.architecture, compute).parameters())
        for work in works.values():
            work()  # warm-up
        for turn in range(plan.growth_rounds):
            for method in rotated(GROWTH_METHODS, turn):
                seconds = seconds_of(works[method.name], compute)
                rows.append(setting.columns | {"method": method.name, "round": turn, "seconds": seconds})
                rows[-1]["n_parameters"] = n_parameters
    return pd.DataFrame(rows)


def _work(method: Method, setting: Setting, physical_batch: int, compute: Compute) -> Work:
    step = make_step(method, network(setting.architecture, compute), compute, setting.batch)
    images, labels = batch_of(setting.architecture, setting.size, setting.batch, compute)
    batches = list(zip(images.split(physical_batch), labels.split(physical_batch), strict=True))

    def work() -> None:
        step(batches)

    return work
