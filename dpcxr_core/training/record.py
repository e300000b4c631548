"""The run record: one folder a run, complete or absent.

A record holds ``record.json`` (config, data, versions, certificate, seconds), ``ledger.parquet``
(what the mechanism did, public), ``diagnostics.parquet`` (computed from private images, **not** to be
released), ``scores.parquet``, ``metrics.parquet`` and ``weights.safetensors``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save_file
from torch import nn

from dpcxr_core.config import RunConfig, UserError, run_config_from_dict
from dpcxr_core.files import write_json


@dataclass(frozen=True)
class RunRecord:
    """What ``record.json`` of one run says.

    Attributes:
        run_id: Name of the run and of its folder.
        config: The choices of the run.
        init_label: The initialisation in words, for figures.
        data: Store name, split hash and number of images trained on.
        certificate: The privacy certificate as JSON values; None without privacy.
        privacy_statement: The guarantee in words; None without privacy.
        selfcheck: Result of the engine's checks before training; empty without privacy.
        versions: Python, packages and commit.
        seconds: Wall-clock time of "training" (since its last restart), "scoring" and "evaluation", and how much
            of the training was "loading": waiting for images.
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


def write_weights_of(folder: Path, model: nn.Module) -> None:
    """Write the weights of ``model`` into ``folder``."""
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "weights.safetensors")


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
    """The table ``name`` ("ledger", "diagnostics", "scores" or "metrics") of the run in ``folder``."""
    return pd.read_parquet(folder / f"{name}.parquet")


@contextmanager
def record_folder(runs_dir: Path, run_id: str) -> Iterator[Path]:
    """A fresh folder that becomes ``runs_dir/run_id`` when the block ends well, and vanishes when not."""
    runs_dir.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=runs_dir, prefix=f".{run_id}."))
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    final = runs_dir / run_id
    if (final / "record.json").exists():  # another process finished the same run first: same content, keep it
        shutil.rmtree(partial)
        return
    shutil.rmtree(final, ignore_errors=True)
    partial.chmod(0o755)  # temporary folders are closed to colleagues, records are not
    partial.rename(final)
