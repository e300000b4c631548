"""Who takes the records that layers leave behind."""

from __future__ import annotations

from typing import Protocol

from dpcxr_core.privacy.records import Record


class Recorder(Protocol):
    """Whatever takes records during a backward pass."""

    def receive(self, record: Record) -> None:
        """Take one record."""
