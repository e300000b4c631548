"""What a chapter says of one run, be it private, without privacy, or the public-only model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dpcxr_core.config import RunConfig
from dpcxr_core.publishing import sentences
from dpcxr_core.publishing.tables import show_checks
from dpcxr_core.training.record import RunRecord, read_table

_NO_DIAGNOSTICS = pd.DataFrame({"step": pd.Series(dtype=int), "loss": pd.Series(dtype=float)})
_PROMISED_NOTHING = {
    "ablation": "Nothing is promised: the mechanism of this run is an experiment.",
    "non_private": "Nothing is promised: this run was trained without privacy, and may tell of any image it saw.",
    "public_only": "This model has seen no private image, so there is nothing to promise about them.",
}


def checks(record: RunRecord) -> pd.DataFrame:
    """The checks of the privacy engine before the run; a single row that says so where there were none."""
    if record.selfcheck:
        return show_checks(record.selfcheck)
    none = "not run, as this run needs no privacy engine"
    return pd.DataFrame({"passed": [none]}, index=pd.Index(["all"], name="name"))


def diagnostics(folder: Path, config: RunConfig) -> pd.DataFrame:
    """One row a step of the run in ``folder``, computed from private images; none where nothing was trained."""
    return _NO_DIAGNOSTICS if config.kind == "public_only" else read_table(folder, "diagnostics")


def diagnostics_in_words(steps: pd.DataFrame, config: RunConfig) -> str:
    """What draws and clipping were like, where there were any. Computed from private images."""
    if config.privacy is not None:
        return sentences.diagnostics(steps, config.privacy)
    if config.kind == "public_only":
        return "Nothing was drawn, as nothing was trained."
    return f"A step drew {steps['n_drawn'].mean():.0f} images; no gradient was clipped, and no noise was added."


def training_in_words(record: RunRecord) -> str:
    """How long the run trained, on how many images."""
    if record.config.kind == "public_only":
        return "Nothing was trained: the public model was scored with its own head, as it is."
    return sentences.training_time(record)


def promise(record: RunRecord) -> str:
    """The privacy statement of the run, or why there is none."""
    return record.privacy_statement or _PROMISED_NOTHING[record.config.kind]
