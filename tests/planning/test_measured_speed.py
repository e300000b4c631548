"""Seconds an image takes: as measured, or scaled and said so."""

import math
from pathlib import Path

import pandas as pd
import pytest

from dpcxr_core.planning import measured_speed
from dpcxr_core.planning.measured_speed import (
    BFLOAT16_SPEEDUP,
    EVALUATION_AT_SCALE,
    FORWARDS_PER_STEP,
    GPU_FLOPS,
    STEP_TIMES,
    STORE_AT_SCALE,
    checked_per_second,
    evaluated_per_second,
    pictures_read_per_second,
    speed_of,
)
from dpcxr_core.planning.network_flops import network_size


def _median(architecture: str, size: int, method: str) -> float:
    steps = pd.read_csv(STEP_TIMES)
    chosen = (steps["architecture"] == architecture) & (steps["size"] == size) & (steps["method"] == method)
    return (steps["seconds"] / steps["batch"])[chosen].median()


def test_network_that_was_measured_takes_what_was_measured():
    private = speed_of("convnext_tiny", 224, "private", "float32", on_gpu=False)
    assert private.training == pytest.approx(_median("convnext_tiny", 224, "ours, noise off"))
    ordinary = speed_of("convnext_tiny", 224, "ordinary", "float32", on_gpu=False)
    assert ordinary.training == pytest.approx(_median("convnext_tiny", 224, "ordinary, fast depthwise"))
    assert private.scoring == ordinary.scoring == pytest.approx(ordinary.training / FORWARDS_PER_STEP)
    assert private.basis == "measured convnext_tiny at 224 px, one core"


@pytest.mark.parametrize(("architecture", "size"), [("convnext_base", 224), ("convnext_mini_deep", 64)])
def test_network_that_was_not_measured_is_scaled_by_flops_from_the_nearest_and_says_so(architecture, size):
    near = {"convnext_base": ("convnext_small", 224), "convnext_mini_deep": ("convnext_mini", 64)}[architecture]
    found, known = (speed_of(*each, "private", "float32", on_gpu=False) for each in ((architecture, size), near))
    ratio = network_size(architecture, size).forward_flops / network_size(*near).forward_flops
    assert found.training == pytest.approx(ratio * known.training)
    assert found.basis == f"scaled: {ratio:.3g} x the FLOPs of {near[0]} at {near[1]} px, one core"


def test_gpu_is_an_assumption_that_no_peak_exceeds_and_its_privacy_costs_what_it_costs_on_a_cpu():
    private, ordinary = (
        speed_of("convnext_small", 224, way, "float32", on_gpu=True) for way in ("private", "ordinary")
    )
    assert private.basis.startswith("assumed: an A100")
    assert network_size("convnext_small", 224).forward_flops / private.scoring < GPU_FLOPS
    on_cpu = [speed_of("convnext_small", 224, way, "float32", on_gpu=False) for way in ("private", "ordinary")]
    assert private.training / ordinary.training == pytest.approx(on_cpu[0].training / on_cpu[1].training)


def test_bfloat16_helps_on_a_gpu_alone():
    def training(precision: str, *, on_gpu: bool) -> float:
        return speed_of("convnext_small", 224, "private", precision, on_gpu=on_gpu).training

    assert training("float32", on_gpu=True) == pytest.approx(BFLOAT16_SPEEDUP * training("bfloat16", on_gpu=True))
    assert training("float32", on_gpu=False) == training("bfloat16", on_gpu=False)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_network_of_an_unknown_family_has_no_speed_and_a_reason(on_gpu):
    speed = speed_of("resnet50", 224, "private", "float32", on_gpu=on_gpu)
    assert math.isnan(speed.training)
    assert math.isnan(speed.scoring)
    assert "no FLOPs are known of resnet50" in speed.basis


def test_evaluation_takes_what_it_took_at_scale():
    (seconds,) = _at_scale("every metric, 1000 resamples")
    assert evaluated_per_second() == pytest.approx(805_000 * 1_001 / seconds, rel=1e-4)


def test_store_is_checked_as_fast_as_it_was_at_scale():
    (seconds,) = _at_scale("checking every byte, as each run does", STORE_AT_SCALE)
    (n_bytes,) = _at_scale("size", STORE_AT_SCALE)
    assert checked_per_second() == n_bytes / seconds
    assert 5e7 < checked_per_second() < 5e9  # a disk and one core


def _at_scale(quantity: str, file: Path = EVALUATION_AT_SCALE) -> list[float]:
    measured = pd.read_csv(file)
    return measured.loc[measured["quantity"] == quantity, "value"].to_list()


def test_pictures_are_read_as_fast_as_in_the_largest_run_measured(tmp_path, monkeypatch):
    table = pd.DataFrame({"images": [100_000, 2000], "cpu_seconds": [2000.0, 10.0]})
    table.to_csv(tmp_path / "preparing.csv", index=False)
    assert 5 < pictures_read_per_second() < 500  # of a core
    pictures_read_per_second.cache_clear()
    monkeypatch.setattr(measured_speed, "PREPARING", tmp_path / "preparing.csv")
    assert pictures_read_per_second() == 50
    pictures_read_per_second.cache_clear()
