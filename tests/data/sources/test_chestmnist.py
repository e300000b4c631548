import hashlib
import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.data.cohort import SplitChoice, cohort_of
from dpcxr_core.data.manifests import facts_of
from dpcxr_core.data.pictures.picture import UnreadableImageError
from dpcxr_core.data.policies import policies_of, policy_named
from dpcxr_core.data.sources import chestmnist
from dpcxr_core.data.sources.chestmnist import read_chestmnist, read_chestmnist_picture
from dpcxr_core.tables import COHORT, checked

FACTS = facts_of("chestmnist")
SIZES = {"train": 60, "val": 9, "test": 17}
# medmnist/info.py of MedMNIST/MedMNIST, 805b742
PUBLISHED_ORDER = ["atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia"]
PUBLISHED_ORDER += ["pneumothorax", "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"]


def _arrays(size=28, seed=0):
    rng = np.random.default_rng(seed)
    arrays = {}
    for member, n in SIZES.items():
        arrays[f"{member}_images"] = rng.integers(0, 256, (n, size, size), dtype=np.uint8)
        arrays[f"{member}_labels"] = (rng.random((n, 14)) < 0.1).astype(np.uint8)
    return arrays


@pytest.fixture
def archive(tmp_path):
    """The smallest archive, as NumPy writes the published ones."""
    np.savez_compressed(tmp_path / "chestmnist.npz", **_arrays())
    return tmp_path / "chestmnist.npz"


def test_table_says_what_the_arrays_say(archive):
    official = read_chestmnist(archive.parent, FACTS)
    table, arrays = official.table, _arrays()
    assert len(table) == sum(SIZES.values())
    assert FACTS["label_order"] == PUBLISHED_ORDER
    for member, split in (("train", "train"), ("val", "valid"), ("test", "test")):
        rows = table[table["split"] == split].reset_index(drop=True)
        labels = arrays[f"{member}_labels"]
        assert rows["path"].tolist() == [f"chestmnist.npz#{member}/{row}" for row in range(len(labels))]
        assert rows["code_pneumonia"].tolist() == labels[:, 6].astype(str).tolist()
        assert rows["code_pleural_effusion"].tolist() == labels[:, 2].astype(str).tolist()
        assert rows["code_no_finding"].tolist() == [str(int(not row.any())) for row in labels]
        expected = ["|".join(np.array(PUBLISHED_ORDER)[row == 1]) for row in labels]
        assert rows["raw_labels"].tolist() == expected
    assert table["image_id"].is_unique
    assert table[["sex", "age_years", "view"]].isna().all(axis=None)
    assert FACTS["patient_ids"] == "none"
    assert table["patient_id"].equals(table["image_id"].rename("patient_id"))


def test_cohort_keeps_the_published_splits_under_every_policy(archive):
    official = read_chestmnist(archive.parent, FACTS)
    for name in policies_of(FACTS):
        cohort = cohort_of(official, FACTS, policy_named(FACTS, name), SplitChoice(recipe="official")).cohort
        checked(cohort, COHORT)
        assert cohort["split"].value_counts().to_dict() == {"train": 60, "valid": 9, "test": 17}
        assert cohort[list(FINDINGS)].notna().all(axis=None)


def test_largest_archive_is_taken_and_labels_of_another_type_are_read(archive):
    arrays = {name: values.astype(np.int64) if "labels" in name else values for name, values in _arrays(64).items()}
    np.savez(archive.parent / "chestmnist_64.npz", **arrays)
    table = read_chestmnist(archive.parent, FACTS).table
    assert table["path"].iloc[0] == "chestmnist_64.npz#train/0"
    assert read_chestmnist_picture(archive.parent, "chestmnist_64.npz#val/8").stored.shape == (64, 64)


def test_archive_that_is_not_the_published_one_is_counted(archive):
    assert read_chestmnist(archive.parent, FACTS).counts["archive_md5_not_as_published"] == 1
    content = hashlib.md5(archive.read_bytes()).hexdigest()
    facts = {**FACTS, "archives_md5": {"chestmnist.npz": content}}
    assert read_chestmnist(archive.parent, facts).counts["archive_md5_not_as_published"] == 0


def test_pictures_are_those_of_the_arrays_in_any_order(archive):
    arrays = _arrays()
    rows = [("train", 0), ("train", 59), ("train", 3), ("test", 16), ("val", 0), ("train", 4)]
    for member, row in rows:
        picture = read_chestmnist_picture(archive.parent, f"chestmnist.npz#{member}/{row}")
        assert np.array_equal(picture.stored, arrays[f"{member}_images"][row])
        assert not picture.inverted


def _counting(monkeypatch):
    starts = []
    original = chestmnist._pictures_in
    monkeypatch.setattr(chestmnist, "_pictures_in", lambda *at: starts.append(at[1]) or original(*at))
    return starts


def test_rising_rows_unpack_each_member_once_and_another_process_opens_its_own(archive, monkeypatch):
    starts = _counting(monkeypatch)
    for path in read_chestmnist(archive.parent, FACTS).table["path"]:
        read_chestmnist_picture(archive.parent, path)
    assert starts == ["train", "val", "test"]
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a forked worker
    read_chestmnist_picture(archive.parent, "chestmnist.npz#test/16")
    assert starts == ["train", "val", "test", "test"]


def test_memory_stays_far_below_the_array(tmp_path):
    arrays = _arrays()
    arrays["train_images"] = np.tile(np.arange(224, dtype=np.uint8), (400, 224, 1))  # 20 MB
    arrays["train_labels"] = np.zeros((400, 14), np.uint8)
    np.savez_compressed(tmp_path / "chestmnist_224.npz", **arrays)
    del arrays
    tracemalloc.start()
    try:
        paths = read_chestmnist(tmp_path, FACTS).table["path"]
        for path in paths[:400]:
            read_chestmnist_picture(tmp_path, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6


def test_archive_damaged_among_its_pictures_loses_the_rows_behind_and_reads_them_once(archive, monkeypatch):
    with zipfile.ZipFile(archive) as opened:
        place = opened.getinfo("train_images.npy")
    content = bytearray(archive.read_bytes())
    middle = place.header_offset + place.compress_size // 2
    content[middle : middle + 400] = bytes(400)
    archive.write_bytes(content)
    starts, arrays = _counting(monkeypatch), _arrays()
    paths = read_chestmnist(archive.parent, FACTS).table["path"]  # labels are whole
    outcomes = []
    for row, path in enumerate(paths[:60]):
        try:
            picture = read_chestmnist_picture(archive.parent, path)
        except UnreadableImageError as error:
            outcomes.append("refused" if "chestmnist.npz is damaged" in str(error) else str(error))
        else:
            outcomes.append("read" if np.array_equal(picture.stored, arrays["train_images"][row]) else "wrong")
    assert outcomes[:10] == ["read"] * 10
    assert outcomes[-1] == "refused"  # at the latest by the checksum at the member's end
    assert outcomes.count("refused") >= 1
    assert starts == ["train"]
    assert np.array_equal(
        read_chestmnist_picture(archive.parent, "chestmnist.npz#test/0").stored, arrays["test_images"][0]
    )


@pytest.mark.parametrize(
    "path",
    [
        "chestmnist.npz#train/60",
        "chestmnist.npz#valid/0",
        "chestmnist.npz#train/-1",
        "chestmnist.npz#train",
        "chestmnist.npz",
        "absent.npz#train/0",
        "../chestmnist.npz#train/0",
        "/etc/passwd#train/0",
    ],
)
def test_path_that_names_no_picture_is_refused(archive, path):
    with pytest.raises(UnreadableImageError):
        read_chestmnist_picture(archive.parent, path)


def _cut(archive):
    archive.write_bytes(archive.read_bytes()[:-2000])


def _not_an_archive(archive):
    archive.write_text("<html>login</html>")


def _with(name, values):
    return lambda archive: np.savez_compressed(archive, **{**_arrays(), name: values})


def _without(name):
    return lambda archive: np.savez_compressed(archive, **{n: v for n, v in _arrays().items() if n != name})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda archive: archive.unlink(), "has no chestmnist_224.npz or chestmnist_128.npz"),
        (_cut, "chestmnist.npz is damaged"),
        (_not_an_archive, "chestmnist.npz is damaged: File is not a zip file. Download it again"),
        (_without("val_labels"), "damaged: There is no item named 'val_labels.npy'"),
        (_with("test_labels", np.zeros((16, 14), np.uint8)), r"test_labels is \(16, 14\), expected \(17, 14\)"),
        (_with("test_labels", np.zeros((17, 15), np.uint8)), r"test_labels is \(17, 15\), expected \(17, 14\)"),
        (_with("test_labels", np.full((17, 14), 2, np.uint8)), r"test_labels holds \{2: 238\}; expected 0 and 1"),
        (_with("train_images", np.zeros((60, 28, 28, 3), np.uint8)), "pictures are uint8 of shape"),
        (_with("train_images", np.zeros((60, 28, 28))), "pictures are float64 of shape"),
        (_with("train_images", np.zeros((28, 28, 60), np.uint8).T), "expected uint8"),
        (_with("train_images", np.zeros((60, 9000, 1), np.uint8)), "pictures are uint8 of shape"),
        (_with("train_labels", np.array([{}], dtype=object)), "damaged: Object arrays cannot be loaded"),
    ],
)
def test_archive_not_as_documented_is_refused_with_its_reason(archive, damage, message):
    damage(archive)
    with pytest.raises(UserError, match=message):
        read_chestmnist(archive.parent, FACTS)
