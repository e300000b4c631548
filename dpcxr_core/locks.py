"""A file that one process at a time holds, as long as it lives and no longer."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is held: processes side by side are the user's care
    fcntl = None  # type: ignore[assignment]

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


@contextmanager
def held(path: Path, *, wait: bool, needed: bool = False) -> Iterator[bool]:
    """Whether this process holds ``path`` during the block; False only where another does and ``wait`` is False.

    The hold ends with the process, however it ends: nothing has to be unlocked after a SIGKILL.

    Args:
        path: The file; made, and emptied.
        wait: For another process that holds it.
        needed: Whether two processes side by side would do harm. Where not, they only do the same work twice on a file
            system without locks, and the file counts as held there.

    Raises:
        OSError: The file cannot be written, or its file system, or Windows, has no locks and they are ``needed``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        if fcntl is None and needed:
            raise OSError(errno.ENOSYS, "this system has no locks of files", str(path))
        yield fcntl is None or _take(file.fileno(), wait, needed)


def _take(descriptor: int, wait: bool, needed: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if needed or error.errno not in _WITHOUT_LOCKS:
            raise
    return True
