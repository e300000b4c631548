"""The choices of one run as a JSON file: how a study hands a cell to the chapter that trains it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from dpcxr_core.config import RunConfig, UserError, run_config_from_dict
from dpcxr_core.files import write_json


def write_config(file: Path, config: RunConfig) -> Path:
    """``file``, now holding ``config``."""
    return write_json(file, asdict(config))


def read_config(file: Path) -> RunConfig:
    """The choices of a run in ``file``: as ``write_config`` left them, or the ``record.json`` of a run to repeat.

    Raises:
        UserError: There is no such file, or it holds something else.
    """
    if not file.is_file():
        raise UserError(f"there is no run configuration {file}")
    try:
        values = json.loads(file.read_text())
        return run_config_from_dict(values.get("config", values))
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from None
    except (AttributeError, TypeError) as error:
        raise UserError(f"{file} is not a RunConfig: {str(error).removeprefix('RunConfig.__init__() ')}") from None
