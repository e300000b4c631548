"""A table of runs, from their records; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dpcxr_core.training.record import RunRecord, read_record, without_folder


def runs_table(folders: Iterable[Path]) -> pd.DataFrame:
    """One row a run: what was trained, from where, under which guarantee, in how many seconds."""
    return pd.DataFrame([run_row(read_record(folder)) for folder in folders])


def run_row(record: RunRecord) -> dict[str, Any]:
    """What ``runs_table`` says of one run."""
    config, certificate = record.config, record.certificate or {}
    own_head = config.head == "kept" and config.kind != "public_only"
    return {
        "run_id": record.run_id,
        "train_dataset": config.dataset,
        "init_name": without_folder(config.init_name),
        "architecture": config.init_name.partition(".")[0],
        "init_label": record.init_label + (", own head" if own_head else ""),
        "head": config.head,
        "kind": config.kind,
        "target_epsilon": config.target_epsilon if config.target_epsilon is not None else np.nan,
        "epsilon_spent": certificate.get("epsilon_pld", np.nan),
        "noise_multiplier": config.privacy.noise_multiplier if config.privacy else np.nan,
        "privacy_unit": config.privacy.privacy_unit if config.privacy else None,
        "train_fraction": config.train_fraction,
        "normalisation": config.normalisation,
        "seed": config.seed,
        "seconds": record.seconds.get("training", np.nan),
    }
