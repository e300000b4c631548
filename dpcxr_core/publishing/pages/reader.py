"""The book's reader: for the text of a chapter, the notebook that was executed from that very text."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat

from dpcxr_core.publishing.pages.executed import RECORD, executed_chapters, source_sha256

RUN_VARIABLE = "DPCXR_RUN"
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def read_executed(text: str) -> nbformat.NotebookNode:
    """The executed notebook of a chapter, for ``nb_custom_formats`` of MyST-NB.

    Widgets are taken out: they need a kernel, and the page shows the HTML that lies beside them.

    Args:
        text: The chapter's source, py:percent.

    Returns:
        The notebook in the folder named by the environment variable ``DPCXR_RUN`` whose record holds
        the hash of ``text``.

    Raises:
        LookupError: No folder is named, or it holds no notebook of this text, or several.
    """
    run_dir = os.environ.get(RUN_VARIABLE)
    if not run_dir:
        raise LookupError(f"set {RUN_VARIABLE} to the folder of the executed chapters")
    wanted = source_sha256(text)
    chapters = executed_chapters(Path(run_dir))
    found = [(path, nb) for path, nb in chapters if nb.metadata[RECORD]["source_sha256"] == wanted]
    title = next((line for line in text.splitlines() if line.startswith("# # ")), "# # untitled")[4:]
    if not found:
        raise LookupError(
            f"no executed notebook in {run_dir} for the chapter {title!r} as it now stands "
            f"(source {wanted[:12]}); run the book first: dpcxr book"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path, _ in found)
        raise LookupError(f"several executed notebooks in {run_dir} have the source {wanted[:12]}: {names}")
    return _for_a_page(found[0][1])


def _for_a_page(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """``notebook`` without what needs a kernel, and with the injected parameters folded away."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("hide-input")
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(_WIDGET_VIEW, None)
    return notebook
