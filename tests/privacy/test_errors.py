from dpcxr_core.config import UserError
from dpcxr_core.privacy.errors import PrivacyEngineError, UnsupportedLayerError


def test_unsupported_layer_is_a_users_mistake_and_an_engine_failure_is_not():
    assert issubclass(UnsupportedLayerError, UserError)
    assert not issubclass(PrivacyEngineError, UserError)
