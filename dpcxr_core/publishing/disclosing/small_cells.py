"""Which counts of a table a reader may see, when the total is known too."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpcxr_core.evaluation.groups import MIN_COUNT, suppress_small

WITHHELD = "withheld"


def hidden_cells(counts: ArrayLike) -> NDArray[np.bool_]:
    """Which of the cells that a whole is parted into are not shown: ``(n,)`` bool.

    Counts from 1 to 9 can point at people. A single hidden one is the total less the others, so that others, the
    smallest first, are hidden with it until two or more are and add up to 10 or more, as far as there are any.

    Example:
        >>> hidden_cells([3, 12, 80, 0]).tolist()
        [True, True, False, False]
    """
    numbers = np.asarray(counts)
    return hidden_with_others((numbers > 0) & (numbers < MIN_COUNT), numbers)


def hidden_with_others(hidden: ArrayLike, counts: ArrayLike) -> NDArray[np.bool_]:
    """The ``hidden`` cells, and those that are hidden with them as ``hidden_cells`` says: ``(n,)`` bool.

    Args:
        hidden: ``(n,)`` bool.
        counts: ``(n,)``, what the whole is parted into; it may be another count than the one that hid the cells.

    Example:
        >>> hidden_with_others([True, True, False, False], [3, 0, 0, 40]).tolist()
        [True, True, False, True]
    """
    numbers, grown = np.asarray(counts), np.array(hidden, dtype=bool)
    if not numbers[grown].any():
        return grown
    for place in np.argsort(numbers, kind="stable"):
        if np.count_nonzero(numbers[grown]) > 1 and numbers[grown].sum() >= MIN_COUNT:
            break
        grown[place] |= numbers[place] > 0
    return grown


def shown_images(images: ArrayLike, patients: ArrayLike) -> list[str]:
    """The images of the cells that a whole is parted into, hidden where they are of fewer than 10 patients.

    Many images of one patient point at that patient as one does.

    Example:
        >>> shown_images([30, 2000, 0], [3, 400, 0])
        ['fewer than 10 patients', 'withheld', '0']
    """
    people = np.asarray(patients)
    return [
        f"{shown_count(few)} patients" if 0 < few < MIN_COUNT else WITHHELD if hide else f"{number:,}"
        for number, few, hide in zip(np.asarray(images), people, hidden_cells(people), strict=True)
    ]


def shown_counts(counts: ArrayLike) -> list[str]:
    """The cells that a whole is parted into, as text; those hidden for the sake of others say "withheld".

    Example:
        >>> shown_counts([3, 12, 8000, 0])
        ['fewer than 10', 'withheld', '8,000', '0']
    """
    numbers = np.asarray(counts)
    return [shown_count(number, hide) for number, hide in zip(numbers, hidden_cells(numbers), strict=True)]


def shown_count(count: int, hide: bool = False) -> str:
    """``count`` as text, unless it is from 1 to 9, or to ``hide`` for the sake of such a one.

    Example:
        >>> shown_count(0), shown_count(9), shown_count(8000), shown_count(12, hide=True)
        ('0', 'fewer than 10', '8,000', 'withheld')
    """
    return suppress_small(count) if 0 < count < MIN_COUNT else WITHHELD if hide else f"{count:,}"
