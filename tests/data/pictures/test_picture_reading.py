import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dpcxr_core.data.pictures.picture_reading import ListedPicture, PictureReading, open_file
from dpcxr_core.data.pictures.recipes import RECIPES

GREY = np.random.default_rng(0).integers(0, 256, (40, 32), dtype=np.uint8)


@pytest.fixture
def reading(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    return PictureReading(tmp_path, open_file, RECIPES["corrected"].render, 24)


def test_each_picture_becomes_an_image_or_the_reason_why_not(reading):
    listed = [ListedPicture("good.png"), ListedPicture("empty.png"), ListedPicture("good.png", "known to be bad")]
    image, *reasons = reading([*listed, ListedPicture("gone.png")])
    np.testing.assert_array_equal(image, RECIPES["corrected"].render(open_file(reading.source, "good.png"), 24))
    assert reasons[:2] == ["empty file", "known to be bad"]
    assert "cannot be opened" in reasons[2]


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_a_reading_can_be_sent_to_a_process(reading, recipe):
    sent = PictureReading(reading.source, open_file, RECIPES[recipe].render, 24)
    here, there = (each([ListedPicture("good.png")])[0] for each in (sent, pickle.loads(pickle.dumps(sent))))
    np.testing.assert_array_equal(here, there)


def test_a_process_that_reads_pictures_does_not_wait_for_the_packages_of_tables():
    told = (
        "import sys, dpcxr_core.data.pictures.picture_reading; print('pandas' in sys.modules, 'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
