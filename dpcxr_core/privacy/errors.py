"""The errors of the privacy room that a caller may want to tell apart."""

from dpcxr_core.config import UserError


class UnsupportedLayerError(UserError):
    """A layer has no per-image gradient rule, or a parameter is used in a way no rule covers."""


class PrivacyEngineError(RuntimeError):
    """The privacy engine was misused, or failed its own check: nothing it produced may be called private."""
