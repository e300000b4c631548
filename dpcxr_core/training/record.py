"""The run record: one folder a run, complete or absent.

A record holds ``record.json`` (config, data, versions, certificate, seconds), ``ledger.parquet``
(what the mechanism did, public), ``diagnostics.parquet`` (computed from private images, **not** to be
released) and ``weights.safetensors``. It holds no scores of test images and no metrics: those are made from it, by
``dpcxr_core.study.scoring`` and ``evaluating``, so that another test set or another way to evaluate trains nothing
again. To read a record takes no torch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dpcxr_core.config import RunConfig, UserError, run_config_from_dict
from dpcxr_core.files import write_json


@dataclass(frozen=True)
class RunRecord:
    """What ``record.json`` of one run says.

    Attributes:
        run_id: Name of the run and of its folder.
        config: The choices of the run.
        init_label: The initialisation in words, for figures.
        data: Store name, split hash, number of images trained on, and the SHA-256 of the weights.
        certificate: The privacy certificate as JSON values; None without privacy.
        privacy_statement: The guarantee in words; None without privacy.
        selfcheck: Result of the engine's checks before training; empty without privacy.
        versions: Python, packages and commit.
        seconds: Wall-clock time of "training" (since its last restart), and how much of it was "loading": waiting for
            images.
    """

    run_id: str
    config: RunConfig
    init_label: str
    data: dict[str, Any]
    certificate: dict[str, Any] | None
    privacy_statement: str | None
    selfcheck: list[dict[str, Any]]
    versions: dict[str, str]
    seconds: dict[str, float]


def write_record_json(folder: Path, record: RunRecord) -> None:
    """Write ``record.json`` into ``folder``."""
    write_json(folder / "record.json", asdict(record))


def read_record(folder: Path) -> RunRecord:
    """The record kept in ``folder``.

    Raises:
        UserError: ``folder`` holds no finished run.
    """
    try:
        values = json.loads((folder / "record.json").read_text())
    except FileNotFoundError:
        raise UserError(f"{folder} holds no finished run (record.json is missing); run it again") from None
    return RunRecord(**{**values, "config": run_config_from_dict(values["config"])})


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """The table ``name`` ("ledger" or "diagnostics") of the run in ``folder``."""
    return pd.read_parquet(folder / f"{name}.parquet")


def without_folder(init_name: str) -> str:
    """``init_name``; of weights in a file without where that lies, which changes nothing and is nobody's business.

    Example:
        >>> without_folder("convnext_mini.file:/home/ann/mine.safetensors"), without_folder("convnext_mini.random")
        ('convnext_mini.file:mine.safetensors', 'convnext_mini.random')
    """
    architecture, sign, path = init_name.partition(".file:")
    return f"{architecture}{sign}{Path(path).name}"
