import numpy as np
import pyarrow as pa
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.store import check_images, checksums_of, open_store
from dpcxr_core.data.storing.store_finishing import finish_store, image_blocks, made_by, npy_header

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16), dtype=np.uint8)
BEGUN = {
    **{"dataset": "toy", "size": 16, "choices": {}, "recipe": {}, "recipe_hash": "0", "patient_ids": "recorded"},
    **{"n_listed": 7, "listed_sha256": "0", "made_by": {}},
}


def _cohort():
    columns = {
        "dataset": ["toy"] * 5,
        "image_id": list("abcde"),
        "patient_id": list("ppqqr"),
        "split": ["train"] * 4 + ["test"],
        "view": ["PA"] * 5,
        "sex": pa.array([None] * 5, pa.string()),
        "age_years": [50.0] * 5,
        "path": pa.array([None] * 5, pa.string()),
    }
    return pa.table(columns | dict.fromkeys(FINDINGS, [1.0, 0.0, None, 0.0, 1.0]))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images.npy").write_bytes(npy_header(0, 16) + IMAGES.tobytes())
    (tmp_path / "refused.csv").write_text("image_id,path,reason\n")
    return tmp_path


def test_finished_store_opens_and_counts(folder):
    finish_store(folder, BEGUN, checksums_of(IMAGES), {"cohort": _cohort(), "truth": pa.table({"x": range(5)})}, 2)
    store = open_store(folder)
    check_images(store)
    np.testing.assert_array_equal(store.images, IMAGES)
    np.testing.assert_array_equal(np.load(folder / "checksums.npy"), checksums_of(IMAGES))
    assert store.description["counts"]["train"] == {"images": 4, "patients": 2} | dict.fromkeys(FINDINGS, 1)
    assert (store.description["n_images"], store.description["n_refused"]) == (5, 2)
    assert store.description["companions"] == ["truth"]


@pytest.mark.parametrize("damage", ["changed", "short"])
def test_a_disk_that_gives_back_something_else_is_not_believed(folder, damage):
    content = bytearray((folder / "images.npy").read_bytes())
    content[-300] ^= 1  # in image 3
    (folder / "images.npy").write_bytes(content if damage == "changed" else content[:-512])
    with pytest.raises(UserError, match="from image 3 on: is the disk failing"):
        finish_store(folder, BEGUN, checksums_of(IMAGES), {"cohort": _cohort()}, 0)
    assert not (folder / "store.json").exists()


def test_image_blocks_are_all_images_in_pieces(folder, monkeypatch):
    monkeypatch.setattr("dpcxr_core.data.storing.store_finishing._BYTES_AT_ONCE", 2 * 16 * 16)
    with (folder / "images.npy").open("rb") as images:
        images.seek(len(npy_header(0, 16)))
        blocks = list(image_blocks(images, 5, 16))
    assert [len(block) for block in blocks] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), IMAGES)


def test_made_by_names_code_and_decoders():
    found = made_by()
    assert len(found["source"]) == 12
    assert {"dpcxr-core", "numpy", "pillow", "pydicom", "pylibjpeg-openjpeg"} <= set(found)


def test_npy_header_has_one_length_so_that_it_can_be_replaced():
    assert len({len(npy_header(n, 224)) for n in (0, 1, 9_999_999, 10**12)}) == 1
