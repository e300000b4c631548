from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcxr_core.config import UserError
from dpcxr_core.data.images import InputTransform, to_input
from dpcxr_core.training.augmentation import shift_images
from dpcxr_core.training.steps import PhysicalBatch
from dpcxr_core.training.training_set import TrainingData, load_batch

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 8, 8), np.uint8)
LABELS = np.random.default_rng(1).random((4, 5)).round().astype(np.float32)
DATA = TrainingData(IMAGES, LABELS, rows=np.array([7, 0, 3, 8]), patient_ids=np.array(list("abca")))
TRANSFORM = InputTransform(mode="per_image", in_chans=3)


def test_batch_holds_the_moved_images_of_its_rows_with_their_labels():
    shifts = np.array([[1, 0], [0, -2], [1, 1], [0, 0]])
    drawn = PhysicalBatch(0, np.array([2, 2, 0, 3]), shifts, np.array([2, 2]), is_last=True)
    batch = load_batch(DATA, TRANSFORM, drawn)
    assert batch.drawn is drawn
    assert torch.equal(batch.labels, torch.from_numpy(LABELS[[2, 2, 0, 3]]))
    assert torch.equal(batch.pictures, to_input(shift_images(IMAGES[[3, 3, 7, 8]], shifts), TRANSFORM))


def test_batch_without_rows_has_the_shape_of_the_others():
    none = PhysicalBatch(0, np.zeros(0, np.int64), np.zeros((0, 2), np.int64), np.zeros(0, np.int64), is_last=True)
    batch = load_batch(DATA, TRANSFORM, none)
    assert batch.pictures.shape == (0, 3, 8, 8)
    assert batch.labels.shape == (0, 5)


def test_without_rows_all_images_are_the_training_set():
    data = TrainingData(IMAGES[:4], LABELS)
    drawn = PhysicalBatch(0, np.array([3]), np.zeros((1, 2), np.int64), np.array([1]), is_last=True)
    assert data.n_images == 4
    assert torch.equal(load_batch(data, TRANSFORM, drawn).pictures, to_input(IMAGES[[3]], TRANSFORM))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": np.zeros((9, 8, 8))}, "uint8"),
        ({"labels": LABELS[:3]}, "a row an image"),
        ({"rows": np.array([0, 1, 2, 9])}, "rows must be from 0 to 8; got 0 to 9"),
        ({"rows": np.array([0, 1, 2, -1])}, "got -1 to 2"),
        ({"rows": np.zeros(0, np.int64), "labels": LABELS[:0]}, "no image to train on"),
        ({"patient_ids": np.array(["a"])}, "patient_ids must be"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, reason):
    with pytest.raises(UserError, match=reason):
        replace(DATA, **change)
