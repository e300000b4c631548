import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpcxr_core.config import UserError
from dpcxr_core.data.natural_images import load_caltech101

SMOOTH = np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.uint8)


def _file(path: Path, **changed: np.ndarray) -> Path:
    pictures = []
    for image in (SMOOTH, SMOOTH.T, 255 - SMOOTH):
        content = io.BytesIO()
        Image.fromarray(image).convert("RGB").save(content, "JPEG", quality=95)
        pictures.append(content.getvalue())
    arrays = {
        "jpeg": np.frombuffer(b"".join(pictures), dtype=np.uint8),
        "offset": np.cumsum([0, *map(len, pictures)]),
        "label": np.array([0, 1, 1], dtype=np.int16),
        "classes": np.array(["camera", "chair"]),
    }
    np.savez(path, **(arrays | changed))
    return path


def test_load_caltech101_gives_the_pictures_in_order_as_grey(tmp_path):
    natural = load_caltech101(_file(tmp_path / "a.npz"))
    assert natural.images.dtype == np.uint8
    for found, image in zip(natural.images, (SMOOTH, SMOOTH.T, 255 - SMOOTH), strict=True):
        assert np.abs(found.astype(int) - image).max() <= 8  # JPEG at quality 95
    assert natural.labels.tolist() == [0, 1, 1]
    assert natural.classes == ("camera", "chair")


def test_load_caltech101_names_what_is_wrong_with_the_file(tmp_path):
    with pytest.raises(UserError, match="no natural images at"):
        load_caltech101(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(UserError, match="is not the natural-image file expected"):
        load_caltech101(tmp_path / "text.npz")
    with pytest.raises(UserError, match="2 offsets do not cut"):
        load_caltech101(_file(tmp_path / "b.npz", offset=np.array([0, 5])))
    with pytest.raises(UserError, match="labels 0 to 7, but 2 classes"):
        load_caltech101(_file(tmp_path / "c.npz", label=np.array([0, 1, 7])))
    with pytest.raises(UserError, match="cannot be read"):
        load_caltech101(_file(tmp_path / "d.npz", jpeg=np.zeros(3, np.uint8), offset=np.arange(4)))


@pytest.mark.sample
def test_load_caltech101_reads_the_shared_file(sample_data):
    natural = load_caltech101(sample_data / "natural_images" / "caltech101_64.npz")
    assert natural.images.shape == (9144, 64, 64)
    assert len(natural.classes) == 102
    assert set(natural.labels) == set(range(102))
    assert natural.images.std() > 40
