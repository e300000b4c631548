"""The manifest of a data set: what is known about it, kept as data in ``data_manifests``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dpcxr_core.config import FINDINGS, UserError

MANIFESTS = Path(__file__).resolve().parents[2] / "data_manifests"


def manifest(name: str) -> dict[str, Any]:
    """The facts in ``data_manifests/<name>``.

    Raises:
        UserError: The file is missing: the package runs from its repository.
    """
    path = MANIFESTS / name
    if not path.is_file():
        raise UserError(f"no manifest {name!r} in {MANIFESTS}. Install the package in place: pip install -e .")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def facts_of(dataset: str) -> dict[str, Any]:
    """What the sidecar of a data set states; the same keys for every set, and for a hospital's own manifest."""
    return manifest(f"{dataset}.yaml")


def terms_of(facts: Mapping[str, Any]) -> dict[str, list[str]]:
    """Label -> the set's own terms or columns for it; each of the five findings is there.

    Raises:
        UserError: A finding has no entry, or an entry is not a list of texts.
    """
    missing = [finding for finding in FINDINGS if finding not in facts["labels"]]
    if missing:
        raise UserError(f"the manifest of {facts['title']} has no terms for {', '.join(missing)}")
    for label, terms in facts["labels"].items():
        if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
            raise UserError(f"the manifest of {facts['title']}: terms of {label} are a list of texts; got {terms!r}")
    return facts["labels"]
