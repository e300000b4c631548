"""Seconds of training, scoring, evaluating and making images, as measured, or scaled from that, and so said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import pandas as pd

from dpcxr_core.planning.network_flops import network_size
from dpcxr_core.provenance import PROJECT_FOLDER

Way = Literal["private", "ordinary"]
RESULTS = PROJECT_FOLDER / "benchmarks" / "results"
STEP_TIMES = RESULTS / "step_times.csv"
PREPARING = RESULTS / "preparing.csv"
EVALUATION_AT_SCALE, STORE_AT_SCALE = RESULTS / "at_scale_evaluation.csv", RESULTS / "at_scale_store.csv"
# Noise is left out: one draw a step, which the hundreds of images of a step share.
METHODS: dict[Way, str] = {"private": "ours, noise off", "ordinary": "ordinary, fast depthwise"}
FORWARDS_PER_STEP = 3.0  # a backward pass computes twice what a forward pass does

# Assumptions about a GPU: nothing of this project was measured on one.
GPU = "A100"
GPU_FLOPS = 19.5e12  # a second, float32 without TF32; NVIDIA's data sheet of the A100
# Liu et al. (2022), Table 1: 774.7 and 447.1 images a second through ConvNeXt-T and -S on a V100, of 15.7e12 FLOPs a
# second in float32: 0.44 and 0.50 of the peak. That was inference in large batches; training does not reach it.
GPU_UTILISATION = 0.35
# timm's results/benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv (5e7d47c): convnext_tiny trains 819 images a second
# under mixed precision, 0.62 of what an RTX 3090 computes in float32 at its peak of 35.6e12.
BFLOAT16_SPEEDUP = 2.0


# Seen, and not among the results: what one process draws of phantoms in a second, 530 to 730 images of 48 x 48 px,
# 300 to 360 of 64 x 64 px and 27 to 34 of 224 x 224 px.
PIXELS_DRAWN = 1.4e6


@dataclass(frozen=True)
class Speed:
    """How long one image takes on one core or GPU; NaN where it cannot be told.

    Attributes:
        training: Seconds of forward and backward.
        scoring: Seconds of the forward pass alone.
        basis: What these numbers rest on.
    """

    training: float
    scoring: float
    basis: str


def speed_of(architecture: str, image_size: int, way: Way, precision: str, *, on_gpu: bool) -> Speed:
    """How long an image takes in training with or without privacy, and in scoring.

    Args:
        architecture: Name of the network.
        image_size: Side of the images in pixels.
        way: With privacy or without.
        precision: "float32" or "bfloat16", which is taken to help on a GPU alone.
        on_gpu: Whether on the GPU that is assumed, or on one core as measured.
    """
    size = network_size(architecture, image_size)
    if size is None:
        return Speed(math.nan, math.nan, f"not known: no FLOPs are known of {architecture}")
    if on_gpu:
        faster = BFLOAT16_SPEEDUP if precision == "bfloat16" else 1.0
        forward = size.forward_flops / (GPU_FLOPS * GPU_UTILISATION * faster)
        training = FORWARDS_PER_STEP * forward * _cost_of_privacy(architecture, image_size, way)
        told = f"assumed: an {GPU} at {GPU_UTILISATION * faster:.0%} of its peak in float32, training in {precision}"
        return Speed(training, forward, told)
    near, near_size, ratio = _nearest_measured(architecture, image_size)
    times = _seconds_per_image()
    forward = times[near, near_size, "ordinary"] * ratio / FORWARDS_PER_STEP
    training = times[near, near_size, way] * ratio
    measured = "measured" if ratio == 1.0 else f"scaled: {ratio:.3g} x the FLOPs of"
    return Speed(training, forward, f"{measured} {near} at {near_size} px, one core")


@cache
def evaluated_per_second() -> float:
    """Test images times resamples that ``evaluate`` takes a second on one core, as ``benchmarks.at_scale`` measured."""
    return float(_at_scale(EVALUATION_AT_SCALE)["images times resamples"])


@cache
def checked_per_second() -> float:
    """Bytes of a store that one core compares with its checksum a second, as ``benchmarks.at_scale`` measured."""
    measured = _at_scale(STORE_AT_SCALE)
    return float(measured["size"] / measured["checking every byte, as each run does"])


@cache
def pictures_read_per_second() -> float:
    """PNG files of 1024 x 1024 px that one core prepares a second, as ``benchmarks.preparing`` measured on the most.

    Of larger pictures it is fewer.
    """
    most = pd.read_csv(PREPARING).sort_values("images").iloc[-1]
    return float(most["images"] / most["cpu_seconds"])


def _at_scale(file: Path) -> pd.Series:
    return pd.read_csv(file).drop_duplicates("quantity").set_index("quantity")["value"]


def _cost_of_privacy(architecture: str, image_size: int, way: Way) -> float:
    """Seconds of the way over those without privacy, of the nearest network measured on a CPU."""
    near, near_size, _ = _nearest_measured(architecture, image_size)
    times = _seconds_per_image()
    return times[near, near_size, way] / times[near, near_size, "ordinary"]


def _nearest_measured(architecture: str, image_size: int) -> tuple[str, int, float]:
    """The measured network and image size nearest in FLOPs, and how many times theirs this one computes."""
    wanted = _flops(architecture, image_size)
    there = {(name, size) for name, size, _ in _seconds_per_image()}
    near, size = min(there, key=lambda setting: (abs(math.log(wanted / _flops(*setting))), setting))
    return near, size, wanted / _flops(near, size)


def _flops(architecture: str, image_size: int) -> float:
    size = network_size(architecture, image_size)
    assert size is not None  # every network that was measured is known
    return size.forward_flops


@cache
def _seconds_per_image() -> dict[tuple[str, int, Way], float]:
    """Medians over the rounds, by architecture, image size and way."""
    steps = pd.read_csv(STEP_TIMES)
    seconds = (steps["seconds"] / steps["batch"]).groupby([steps["architecture"], steps["size"], steps["method"]])
    medians = seconds.median()
    settings = list(dict.fromkeys(zip(steps["architecture"], steps["size"], strict=True)))
    return {
        (*setting, way): float(medians[(*setting, method)]) for setting in settings for way, method in METHODS.items()
    }
