"""Run chapters: a text notebook in, an executed notebook with its record out."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from dpcxr_core.config import UserError
from dpcxr_core.publishing.pages.executed import PARTIAL, RECORD, REPOSITORY, chapter_record
from dpcxr_core.publishing.pages.parameters import check_parameters, declared_parameters

# A kernel that shuts down drops its own pending tasks, which asyncio would report as errors of ours. The first number
# that a cell glues imports nbformat, and with it jsonschema, which compiles this grammar of IRIs if it finds it.
_START_KERNEL = (
    "import logging; logging.getLogger('asyncio').setLevel(logging.CRITICAL); "
    "import sys; sys.modules['rfc3987_syntax'] = None; "
    "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
)


class ChapterFailedError(UserError):
    """A cell of a chapter raised; the notebook up to that cell is kept under its partial name."""


class _ThisPython(AsyncKernelManager):
    """A kernel that is the interpreter running this line, whatever kernels the machine has registered."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(
            # What the kernel says of itself is noise: unencrypted loopback TCP, its interruption at the end.
            argv=[sys.executable, "-c", _START_KERNEL, "-f", "{connection_file}", "--log-level=CRITICAL"],
            display_name="Python 3",
            language="python",
            # A warning is shown in the chapter, never raised because the caller's shell asks for it.
            env={"PYTHONWARNINGS": "", "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
        )


def execute_chapter(
    source: Path,
    out_dir: Path,
    parameters: dict[str, Any],
    *,
    progress: bool = True,
    force: bool = False,
) -> Path:
    """Path of the executed chapter, ``out_dir/<name>.ipynb``.

    Promise:
        The final name appears only when every cell ran; until then, and after a failure, the notebook
        is kept as ``<name>.partial.ipynb``. A chapter whose text, parameters, package code and
        data manifests are unchanged is not run again. The kernel is the Python that runs this
        function, in the repository's root folder.

    Args:
        source: Chapter, py:percent.
        out_dir: Created when missing.
        parameters: Values that replace the literals of the chapter's parameters cell.
        progress: Print one line when the chapter starts, ends, or is reused, and show the bars of its cells.
        force: Run also what is up to date.

    Raises:
        UserError: The source is missing, or a parameter is unknown or of another kind.
        ChapterFailedError: A cell raised, or the kernel died.
    """
    notebook = _read_chapter(source, parameters)
    final = out_dir / f"{source.stem}.ipynb"
    if not force and is_up_to_date(source, out_dir, parameters):
        _say(progress, f"{source.name}: unchanged, reused")
        return final
    partial = out_dir / f"{source.stem}{PARTIAL}"
    out_dir.mkdir(parents=True, exist_ok=True)
    final.unlink(missing_ok=True)  # a stale result must not outlive a failed run
    notebook.metadata[RECORD] = chapter_record(source, parameters)
    _say(progress, f"{source.name}: started")
    started = time.monotonic()
    _run(notebook, partial, parameters, source, progress=progress)
    partial.rename(final)
    _say(progress, f"{source.name}: finished in {time.monotonic() - started:.0f} s")
    return final


def _read_chapter(source: Path, parameters: dict[str, Any]) -> nbformat.NotebookNode:
    """The chapter as a notebook without outputs, its parameters checked."""
    if not source.is_file():
        raise UserError(f"there is no chapter {source}; the chapters are the .py files of the book folder.")
    check_parameters(parameters, declared_parameters(source), source.name)
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def is_up_to_date(source: Path, out_dir: Path, parameters: dict[str, Any]) -> bool:
    """Whether ``out_dir`` holds ``source`` executed with this text, these parameters and this code."""
    final = out_dir / f"{source.stem}.ipynb"
    if not final.is_file():
        return False
    record = nbformat.read(final, as_version=4).metadata.get(RECORD, {})
    wanted = chapter_record(source, parameters)
    return all(record.get(key) == wanted[key] for key in ("source_sha256", "code_key"))


def _say(progress: bool, line: str) -> None:
    if progress:
        print(line, flush=True)


def _run(
    notebook: nbformat.NotebookNode, partial: Path, parameters: dict[str, Any], source: Path, *, progress: bool
) -> None:
    # Papermill's own parameter check only warns, of names that ours has already accepted.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            notebook,
            partial,
            parameters=parameters,
            kernel_name="python3",
            cwd=REPOSITORY,
            progress_bar=False,  # it counts cells; the bars of long cells, which are on stderr, say more
            stderr_file=sys.stderr if progress else None,
            kernel_manager_class=_ThisPython,
            start_timeout=180,
        )
    except PapermillExecutionError as error:
        first = error.source.strip().splitlines()[0] if error.source.strip() else ""
        what = " ".join(f"{error.ename}: {error.evalue}".split())
        raise ChapterFailedError(
            f"{source.name} failed in cell {error.exec_count} ({first!r}): {what}. "
            f"The notebook up to there is {partial}"
        ) from None
    except DeadKernelError:
        raise ChapterFailedError(
            f"{source.name}: the kernel died, often for want of memory. The notebook up to there is {partial}"
        ) from None
