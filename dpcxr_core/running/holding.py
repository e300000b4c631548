"""One process at a time: a file that is held as long as the process lives, and no longer."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dpcxr_core.config import UserError

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is held
    fcntl = None  # type: ignore[assignment]

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # file systems where two may do the same work


@contextmanager
def held(path: Path, *, wait: bool) -> Iterator[bool]:
    """Whether this process holds ``path`` during the block; False only where another does and ``wait`` is False.

    The hold ends with the process, however it ends: nothing has to be unlocked after a SIGKILL.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        yield _take(file.fileno(), wait)


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


def _take(descriptor: int, wait: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    return True
