"""Whose images a store holds, and on which terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpcxr_core.data.manifests import facts_of, names_of_our_sets

_NO_RESTRICTION = "DUO_0000004"  # of the Data Use Ontology, as the manifests state it


def facts_of_store(description: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the manifest of the data set in an image store states; None for a hospital's own images.

    Args:
        description: ``ImageStore.description``.
    """
    choices = description["choices"]
    if "hospital" in choices:
        return facts_of("simulated")
    dataset = choices.get("taken_from", description["dataset"])
    return facts_of(dataset) if dataset in names_of_our_sets() else None


def need_no_protection(facts: Mapping[str, Any] | None) -> bool:
    """Whether the images are simulated, or of a data set that anybody may use without any restriction."""
    return facts is not None and facts["croissant"]["use"] == [_NO_RESTRICTION]
