"""What the jobs before the cells cost: preparing images, and pretraining stand-ins; both on cores."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from dpcxr_core.planning.costs import SECONDS_PER_JOB, WATTS_PER_CORE
from dpcxr_core.planning.jobs import Job
from dpcxr_core.planning.measured_speed import (
    PIXELS_DRAWN,
    checked_per_second,
    pictures_read_per_second,
    speed_of,
)
from dpcxr_core.planning.set_sizes import set_size
from dpcxr_core.study.data_choice import SIMULATED, DataChoice
from dpcxr_core.study.standin_choice import DOMAIN_TAG, StartingPoints

# Images of one step, as of the recipes in training.standins; without labels two views of each are trained on.
IMAGES_A_STEP = {"standin_supervised": 32, "standin_selfsupervised": 2 * 64, DOMAIN_TAG: 32}


def first_cost_table(jobs: Sequence[Job]) -> pd.DataFrame:
    """One row a job before the cells: ``job kind dataset images seconds core_hours kwh basis``.

    ``images`` are made of pictures, or trained on. ``seconds`` are of one core, of which a job may use several. NaN
    where it cannot be told, and ``basis`` says why. Generating scenes, and looking at stand-ins before they are used,
    is left out.

    Args:
        jobs: All jobs of a study.
    """
    choices = {job.name: job.choice for job in jobs}
    columns = ["job", "kind", "dataset", "images", "seconds", "core_hours", "kwh", "basis"]
    rows = []
    for job in jobs:
        if isinstance(job.choice, DataChoice):
            images, working, basis = _preparing(job.choice)
        elif isinstance(job.choice, StartingPoints):
            data = choices[job.needs[0]]
            assert isinstance(data, DataChoice)
            images, working, basis = _pretraining(job.choice, data.image_size)
        else:
            continue
        seconds = working + SECONDS_PER_JOB
        kwh = seconds * WATTS_PER_CORE / 3.6e6
        rows.append((job.name, job.kind, job.dataset, images, seconds, seconds / 3600, kwh, basis))
    return pd.DataFrame(rows, columns=columns)


def _preparing(choice: DataChoice) -> tuple[float, float, str]:
    """Images to make, seconds of making them and of comparing what was written with its checksums, and the basis."""
    size, drawn = set_size(choice), choice.data_source == SIMULATED
    if math.isnan(size.made):
        return math.nan, math.nan, f"images: {size.source}"
    if drawn:
        rate, basis = PIXELS_DRAWN / choice.image_size**2, "seen: {:.3g} images drawn a second, one core"
    else:
        rate, basis = pictures_read_per_second(), "measured: {:.3g} images read a second, one core"
    seconds = size.made / rate + size.stored * choice.image_size**2 / checked_per_second()
    return size.made, seconds, basis.format(rate)


def _pretraining(choice: StartingPoints, image_size: int) -> tuple[float, float, str]:
    """Images of all steps of all stand-ins, the seconds of training on them without privacy, and the basis."""
    steps = {
        "standin_supervised": choice.nondomain_steps,
        "standin_selfsupervised": choice.selfsupervised_steps,
        DOMAIN_TAG: choice.domain_steps,
    }
    images = float(sum(steps[tag] * IMAGES_A_STEP[tag] for tag in choice.tags))
    speed = speed_of(choice.architecture, image_size, "ordinary", "float32", on_gpu=False)
    return images, images * speed.training, speed.basis
