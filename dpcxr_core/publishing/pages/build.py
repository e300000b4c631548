"""Build the pages from executed chapters, and refuse pages that must not be published."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Set
from pathlib import Path

from dpcxr_core.config import UserError
from dpcxr_core.publishing.disclosing.disclosure import disclosures
from dpcxr_core.publishing.disclosing.page_disclosure import disclosures_of_pages
from dpcxr_core.publishing.pages.offline import external_requests
from dpcxr_core.publishing.pages.reader import RUN_VARIABLE

_TELLING = re.compile(r"\b(?:WARNING|ERROR|CRITICAL): |^(?!raise )\w*(?:Error|Exception): \S")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class BuildError(UserError):
    """The pages were not built, or must not be published as they are."""


def build_book(source: Path, config: Path, run_dir: Path, out: Path, ids: Set[str] = frozenset()) -> Path:
    """Path of the built start page, ``out/html/index.html``.

    Any warning fails the build. Every page is built anew: Sphinx sees no change when a chapter was run
    again with other parameters.

    Args:
        source: The book's folder, with ``_toc.yml``.
        config: The book's ``_config.yml``.
        run_dir: Folder of the executed chapters.
        out: Where the build goes.
        ids: Of images and patients, which no page may name.

    Raises:
        BuildError: An executed chapter shows patient-level rows or an oversized output; Jupyter Book
            failed or warned; a page would ask another host for something it needs; or the pages show what
            ``disclosures_of_pages`` finds.
    """
    _refuse("the executed chapters show what must not be published", disclosures(run_dir))
    # Not the console script: another environment's may come first on the path.
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", str(source.resolve())]
    command += ["--config", str(config.resolve()), "--path-output", str(out.resolve())]
    command += ["-W", "--keep-going", "--all"]
    environment = {**os.environ, RUN_VARIABLE: str(run_dir.resolve()), "NO_COLOR": "1"}
    environment.pop("PYTHONWARNINGS", None)
    html, work = out / "html", out / "_build"
    for folder in (html, work):  # neither pages of a dropped chapter nor those of an older run
        shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode or not (work / "html" / "index.html").is_file():
        _refuse("Jupyter Book failed", _telling_lines(done.stdout))
    _refuse("pages would ask other hosts for what they need", external_requests(work / "html"))
    _refuse("the pages show what must not be published", disclosures_of_pages(work / "html", ids))
    (work / "html").rename(html)
    shutil.rmtree(work)
    return html / "index.html"


def _refuse(what: str, lines: list[str]) -> None:
    if lines:
        more = f"\n  and {len(lines) - 20} more" if len(lines) > 20 else ""
        raise BuildError(f"{what}:\n  " + "\n  ".join(lines[:20]) + more)


def _telling_lines(log: str) -> list[str]:
    """The warnings and errors of a build log, each once; its last lines when none is found."""
    lines = [_COLOUR.sub("", line).strip() for line in log.splitlines()]
    lines = [line for line in lines if line]
    telling = [line for line in lines if _TELLING.search(line)]
    return list(dict.fromkeys(telling)) or lines[-10:]
