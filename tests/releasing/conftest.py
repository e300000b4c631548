"""A private run of the tiny study, as it is recorded and as it is released."""

from pathlib import Path

import pytest

from dpcxr_core.releasing.release import release_model


@pytest.fixture(scope="session")
def private_run(tiny_study) -> Path:
    """Record folder; not to be changed."""
    configs = zip(tiny_study.configs, tiny_study.folders, strict=True)
    return next(folder for config, folder in configs if config.kind == "private" and "domain" in config.init_name)


@pytest.fixture(scope="session")
def released(tiny_study, private_run, tmp_path_factory) -> Path:
    """The released model; not to be changed."""
    return release_model(private_run, tiny_study.places, tmp_path_factory.mktemp("released") / "model")
