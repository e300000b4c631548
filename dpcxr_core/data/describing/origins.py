"""Where the images of a store come from, and whether a page may show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dpcxr_core.data.manifests import facts_of, names_of_our_sets
from dpcxr_core.data.simulation.prepare_simulated import DRAWN
from dpcxr_core.data.sources.own_manifest import own_facts
from dpcxr_core.data.store import ImageStore


def is_drawn(store: ImageStore) -> bool:
    """Whether the images are drawings, of no patient."""
    return store.description["recipe"]["name"] == DRAWN


def facts_of_store(store: ImageStore, manifest: Path | None = None) -> dict[str, Any] | None:
    """The manifest of the data set that a store, or what it is a part of, was prepared from; None where none is known.

    Args:
        store: Prepared from official files, from a hospital's own, or drawn.
        manifest: The hospital's own manifest, if some stores are its own.
    """
    if is_drawn(store):
        return facts_of(DRAWN)
    name = store.description["choices"].get("taken_from", store.description["dataset"])
    if manifest is not None:
        own = own_facts(manifest)
        if own["dataset"] == name:
            return own
    return facts_of(name) if name in names_of_our_sets() else None


def pictures_may_be_shown(store: ImageStore, facts: dict[str, Any] | None) -> bool:
    """Whether a page for everybody may show the pictures: only where the manifest says so, or they are drawn."""
    return is_drawn(store) or (facts is not None and facts.get("pictures_may_be_shown") is True)
