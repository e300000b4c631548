"""What many tests share: one thread, and where the real sample lies."""

import os
from pathlib import Path

import pytest
import torch

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of the real radiographs; the test skips, saying so, where it is missing."""
    folder = Path(os.environ.get("DPCXR_SAMPLE_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real radiographs are not at {folder}; set DPCXR_SAMPLE_DATA")
    return folder
