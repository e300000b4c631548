"""Where, when and by which code numbers were measured: what stands beside every table of results."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dpcxr_core.files import write_json
from dpcxr_core.provenance import versions


def write_made(path: Path, commit: str, **facts: Any) -> None:
    """Writes ``facts`` to ``path``, with ``commit``, today's date, this machine and the versions of packages.

    Args:
        path: A ``.json`` file.
        commit: As ``git_state`` gives it before files of the repository change.
        facts: JSON values by name, such as the clock.
    """
    made = {"commit": commit, "date": datetime.now(UTC).date().isoformat()}
    write_json(path, made | facts | this_machine() | {"versions": versions()})


def this_machine() -> dict[str, Any]:
    """Its processor, cores and memory."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
    }


def _processor() -> str:
    """As the processor names itself; the architecture where it does not."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
