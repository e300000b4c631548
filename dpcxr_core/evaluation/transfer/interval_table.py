"""Named draws over training seeds as a table: a value and its intervals a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from dpcxr_core.evaluation.comparing.paired import CONTRAST_COLUMNS, over_seeds_of_draws

# by what a number is called (a tuple of texts): a seed a row, (n_seeds, 1 + n_resamples)
DrawsOverSeeds = Mapping[Any, ArrayLike]


def interval_table(draws: DrawsOverSeeds, names: Sequence[str]) -> pd.DataFrame:
    """One row a key of ``draws``: ``names`` and the columns of ``paired.over_seeds_of_draws``.

    Args:
        draws: ``(n_seeds, 1 + n_resamples)`` by key; column 0 is the value on the data. NaN where undefined.
        names: What to call the parts of a key.
    """
    rows = [dict(zip(names, key, strict=True)) | over_seeds_of_draws(each) for key, each in draws.items()]
    return pd.DataFrame(rows, columns=[*names, *CONTRAST_COLUMNS])
