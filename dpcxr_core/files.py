"""Small files that are written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, values: Any) -> Path:
    """``path``, now holding ``values`` as JSON; a crash leaves the old file or none, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(values, indent=1, default=str) + "\n"
    # beside the final name, as only a rename within one folder is atomic; open() keeps the user's umask
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    os.replace(partial, path)
    return path
