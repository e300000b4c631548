"""Parts of a cohort table that several machines prepare side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dpcxr_core.config import UserError


@dataclass(frozen=True)
class Shard:
    """One of several contiguous parts of a cohort table, each prepared on its own, by machines of its own.

    Attributes:
        number: Which part, from 1.
        of: How many there are.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UserError(f"a shard is 1/N to N/N; got {self}")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def rows(self, n_rows: int) -> range:
        """The rows of this part; all parts together are ``range(n_rows)``, and as long as each other but for one."""
        return range(n_rows * (self.number - 1) // self.of, n_rows * self.number // self.of)

    def folder(self, out: Path) -> Path:
        """Where this part of the store ``out`` lies.

        Raises:
            UserError: See ``store_folder``.
        """
        out = store_folder(out)
        return out if self.of == 1 else out.with_name(f"{out.name}.shard-{self.number}-of-{self.of}")


WHOLE = Shard(1, 1)


def store_folder(out: Path) -> Path:
    """``out``, which has a name of its own, as shards and unfinished work lie beside it under that name.

    Raises:
        UserError: It has none, such as "." or "..".
    """
    out = Path(out)
    if out.name in ("", ".."):
        raise UserError(f"{out} cannot be a store: its work lies beside it, by its name. Name it, such as stores/cxr14")
    return out


def shard_of_text(text: str) -> Shard:
    """The shard that is written as "3/8".

    Raises:
        UserError: It is written otherwise, or there is no such part.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None:
        raise UserError(f"a shard is written as NUMBER/OF, for example 3/8; got {text!r}")
    return Shard(int(found[1]), int(found[2]))
