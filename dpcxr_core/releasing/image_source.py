"""On which terms others may see what was learnt from the images of a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NO_RESTRICTION = "DUO_0000004"  # of the Data Use Ontology, as the manifests state it


def images_need_protection(facts: Mapping[str, Any] | None) -> bool:
    """Whether the images are neither simulated nor of a data set that anybody may use without any restriction.

    Args:
        facts: Their manifest, see ``origins.facts_of_store``; None for a hospital's own.
    """
    return facts is None or facts["croissant"]["use"] != [_NO_RESTRICTION]
