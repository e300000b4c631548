"""The manifest of a data set: what is known about it, kept as data in ``data_manifests``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
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
    """What the sidecar of a data set states."""
    return manifest(f"{dataset}.yaml")


def names_of_our_sets() -> tuple[str, ...]:
    """Names of the data sets that the package itself describes; no hospital's own set may have one of them."""
    return tuple(sorted(path.name.split(".")[0] for path in MANIFESTS.glob("*.croissant.json")))


def with_known_keys(where: str, stated: object, known: Sequence[str]) -> dict[str, Any]:
    """What is stated at ``where`` in a manifest, by key as text; there is no key but the ``known``.

    Args:
        where: Keys that lead there, with dots between; "" is the manifest itself.
        stated: What stands there.
        known: Keys that may stand there.

    Raises:
        UserError: No mapping stands there, or a key is unknown: it is named, with the key that is closest.
    """
    if not isinstance(stated, Mapping):
        raise UserError(f"{where} must hold 'key: value' lines with {', '.join(known)}; got {stated!r}")
    for key in map(str, stated):
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
            raise UserError(f"unknown key {f'{where}.{key}'.lstrip('.')!r}; {hint}")
    return {str(key): value for key, value in stated.items()}


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
