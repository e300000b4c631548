"""The small network, batch and seed of the privacy tests, here too."""

from tests.privacy.conftest import _seeded, batch, small_net

__all__ = ["_seeded", "batch", "small_net"]
