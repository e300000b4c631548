"""Opacus' per-image gradients on public ConvNeXts against single images in float64, and images that break its bound.

``python -m benchmarks.gradient_bug`` tries the Opacus that is installed; ``--opacus 1.5.4`` fetches that version into a
temporary folder and tries it instead. Writes ``results/gradient_bug_opacus-VERSION.json``. The chapter
on the gradient bug reads these files.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import opacus
import pandas as pd
import torch
from torch import nn

from dpcxr_core.files import write_json
from dpcxr_core.other_engines.crafted_images import climb, contributions_of_unseen
from dpcxr_core.other_engines.gradient_faults import largest_contribution, opacus_sum, probe
from dpcxr_core.other_engines.gradient_survey import (
    OURS,
    public_convnext,
    random_batch,
    survey_gradients,
)
from dpcxr_core.other_engines.opacus_engine import METHODS
from dpcxr_core.privacy.clipping_checks import MEMORY_FORMATS, book_kept_sum
from dpcxr_core.provenance import PROJECT_FOLDER, git_state, versions

NETWORKS = (
    "timm/convnext_mini",
    "timm/convnext_atto",
    "timm/convnextv2_atto",
    "timm/convnext_tiny",
    "torchvision/convnext_tiny",
)
BRIGHTNESSES = (0.1, 1.0, 10.0, 100.0, 1000.0)
CLIMBED = "timm/convnext_atto"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradient_bug", description=__doc__.split("\n\n")[0])
    parser.add_argument("--opacus", help="a version to fetch and try, in place of the installed one")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="timm/NAME or torchvision/NAME")
    parser.add_argument("--climb-steps", type=int, default=400, help="steps of gradient ascent on a crafted image")
    parser.add_argument("--out", type=Path, default=PROJECT_FOLDER / "benchmarks" / "results")
    options = parser.parse_args()
    if options.opacus and options.opacus != opacus.__version__:
        again_with(options.opacus)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"gradient_bug_opacus-{opacus.__version__}.json"
    write_json(path, measure(options.networks, options.climb_steps))
    print(path)


def again_with(version: str) -> None:
    """Run this script once more, with ``version`` of Opacus before the installed one on the path."""
    with tempfile.TemporaryDirectory() as folder:
        fetch = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
        subprocess.run([*fetch, f"opacus=={version}"], check=True)
        path = os.pathsep.join([folder, str(PROJECT_FOLDER), os.environ.get("PYTHONPATH", "")])
        arguments = [sys.executable, "-m", "benchmarks.gradient_bug", *sys.argv[1:]]
        subprocess.run(arguments, check=True, env=os.environ | {"PYTHONPATH": path})


def measure(networks: list[str], climb_steps: int) -> dict[str, Any]:
    """Everything that the JSON file holds."""
    survey = survey_gradients(networks, METHODS, memory_formats=list(MEMORY_FORMATS))
    engines = {method.name: opacus_sum(method) for method in METHODS} | {OURS: book_kept_sum}
    unseen = contributions_of_unseen(BRIGHTNESSES, engines)
    return {
        "opacus": opacus.__version__,
        "versions": versions() | {"commit": git_state()},
        "cases": records(survey.cases),
        "wrong_layers": records(survey.layers[survey.layers["wrong"]].drop(columns="wrong")),
        "unseen_image": records(unseen),
        "climbed_image": climbed(climb_steps),
    }


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One dictionary a row, without empty cells, with five significant digits."""

    def plain(name: str, value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return int(value) if name.startswith("n_") else float(f"{value:.5g}")

    return [{str(name): plain(str(name), value) for name, value in row.dropna().items()} for _, row in table.iterrows()]


def climbed(n_steps: int) -> dict[str, Any]:
    """What a random image, and one found by gradient ascent, contribute to a real network in clip norms."""
    model = public_convnext(CLIMBED)
    image, target = random_batch(model, 1)
    named = {name: each for name, each in model.named_modules() if isinstance(each, nn.Conv2d)}
    downsampling = [named[f"stages.{stage}.downsample.1"] for stage in (1, 2, 3)]
    best, predicted = climb(model, image, target, downsampling, n_steps=n_steps)
    engines = {method.name: opacus_sum(method) for method in METHODS if method.mode == "ghost"} | {OURS: book_kept_sum}
    found = {"network": CLIMBED, "n_steps": n_steps, "predicted": predicted, "largest_pixel": float(best.abs().max())}
    for kind, each in (("random", image), ("climbed", best)):
        probed = probe(model, each, target)
        limit = 1e-2 * probed.norms[0]
        contributions = {name: largest_contribution(probed, engine, limit) for name, engine in engines.items()}
        found[kind] = {name: float(f"{value:.7g}") for name, value in contributions.items()}
    return found


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    main()
