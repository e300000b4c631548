"""Values and how often each stands, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

_NAMED = 8  # values named in one message


def counted(values: Iterable[str] | Mapping[str, int], unit: str = "times") -> str:
    """The most frequent of ``values``, each with how often it stands there, and how many more there are.

    Args:
        values: Texts, or text -> how often.
        unit: What is counted.

    Example:
        >>> counted(["m", "w", "m"])
        "'m' (2 times), 'w' (1 times)"
    """
    counts = Counter(values)
    more = f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""
    return ", ".join(f"{value!r} ({n} {unit})" for value, n in counts.most_common(_NAMED)) + more
