import pytest

from dpcxr_core.config import UserError
from dpcxr_core.running.holding import study_held


def test_a_study_is_held_by_one_process(tmp_path):
    for _ in range(2):
        with (
            study_held(tmp_path),
            pytest.raises(UserError, match="another process is at the study"),
            study_held(tmp_path),
        ):
            pass
