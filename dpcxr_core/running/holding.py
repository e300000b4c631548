"""One process at a time at a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dpcxr_core.config import UserError
from dpcxr_core.locks import held


@contextmanager
def study_held(study_dir: Path) -> Iterator[None]:
    """Holds the study in ``study_dir`` during the block.

    Raises:
        UserError: Another process is at it.
    """
    with held(study_dir / ".lock", wait=False) as is_mine:
        if not is_mine:
            raise UserError(f"another process is at the study in {study_dir}; wait for it, or end it")
        yield
