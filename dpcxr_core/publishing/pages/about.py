"""What ran to make the book: a table for the chapter "About this run"."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.publishing.pages.executed import RECORD, executed_chapters

COLUMNS = ("chapter", "started", "seconds", "parameters", "git_commit", "source", "source_sha256", "versions")


def run_provenance(run_dir: Path) -> pd.DataFrame:
    """One row an executed chapter: when it ran, for how long, on which parameters, code and versions.

    The chapter that calls this is still running and is not in the table.

    Args:
        run_dir: Folder of the executed chapters.

    Returns:
        ``chapter``, ``started`` (UTC), ``seconds``, ``parameters`` (text), ``git_commit``, ``source``,
        ``source_sha256`` (first 12 digits) and ``versions`` (text).

    Raises:
        UserError: ``run_dir`` holds no executed chapter.
    """
    rows = []
    for path, notebook in executed_chapters(run_dir):
        record, papermill = notebook.metadata[RECORD], notebook.metadata.papermill
        rows.append(
            {
                "chapter": path.stem,
                "started": pd.Timestamp(papermill.start_time).tz_convert("UTC").floor("s"),
                "seconds": round(papermill.duration, 1),
                "parameters": _in_words(record.parameters),
                "git_commit": record.git_commit,
                "source": record.source,
                "source_sha256": record.source_sha256[:12],
                "versions": _in_words(record.versions),
            }
        )
    if not rows:
        raise UserError(f"{run_dir} holds no executed chapter; run the book first: dpcxr book")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _in_words(values: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
