"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_json(path: Path, values: Any) -> Path:
    """``path``, now holding ``values`` as JSON; a crash leaves the old file or none, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(values, indent=1, default=str) + "\n"
    # beside the final name, as only a rename within one folder is atomic; open() keeps the user's umask, mkstemp not;
    # on a shared folder the processes of two machines can have one number
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    partial.write_text(text)
    os.replace(partial, path)
    return path


@contextmanager
def whole_folder(final: Path, sign: str) -> Iterator[Path]:
    """A fresh folder that becomes ``final`` when the block ends well, and vanishes when not.

    Where another process was first its folder stays, as folders written so are named by their content.

    Args:
        final: The folder to write; those above it are made.
        sign: Name of a file that the block writes; a folder ``final`` without it is no finished one, and is replaced.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    try:
        yield partial
        partial.chmod(0o755)  # temporary folders are closed to colleagues, finished ones are not
        try:
            partial.rename(final)  # never onto a folder that holds something
        except OSError:
            if not (final / sign).exists():
                shutil.rmtree(final)
                partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
