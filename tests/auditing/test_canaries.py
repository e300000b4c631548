from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcxr_core.auditing.canaries import CanaryNetwork, canary_images, plant
from dpcxr_core.config import UserError
from dpcxr_core.data.images import InputTransform, to_input
from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.training.optimisation import loss_per_image

TRANSFORMS = [
    InputTransform(mode="per_image", in_chans=1),
    InputTransform(mode="fixed", mean=(0.5,), std=(0.25,), in_chans=1),
]


def test_every_canary_has_an_image_of_its_own():
    images = canary_images(300, 32)
    assert len(np.unique(images.reshape(300, -1), axis=0)) == 300
    assert len(np.unique(images.reshape(300, -1).astype(int).sum(1))) == 1  # the same mean
    with pytest.raises(UserError, match="n_canaries"):
        canary_images(300, 4)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda each: each.mode)
def test_canaries_are_recognised_and_ordinary_images_pass_through(data, start, transform):
    images = canary_images(30, 32)
    network = CanaryNetwork(start.model, images, transform, 0.5).eval()
    ordinary = np.concatenate([data.images, np.zeros((1, 32, 32), np.uint8), np.full((1, 32, 32), 255, np.uint8)])
    inverted = 255 - images[:3]
    number, is_canary = network._recognise(to_input(np.concatenate([images, ordinary, inverted]), transform))
    assert is_canary.tolist() == [True] * 30 + [False] * (len(ordinary) + 3)
    assert number[:30].tolist() == list(range(30))
    x = to_input(data.images, transform)
    with torch.no_grad():
        assert torch.equal(network(x), start.model(x))


@pytest.mark.parametrize("weight", [0.0, -7.0])
def test_a_canary_moves_its_own_weight_by_the_clip_norm_and_nothing_else(data, start, weight):
    images = canary_images(5, 32)
    network = CanaryNetwork(start.model, images, start.input_transform, 0.5).train()
    with torch.no_grad():
        network.canaries.weight.fill_(weight)
    keeper = attach(network)
    labels = torch.zeros(2, 5)
    losses = loss_per_image(network(to_input(images[[1, 3]], start.input_transform)), labels)
    report = keeper.add_clipped_sum(losses, 0.5)
    keeper.detach()
    np.testing.assert_allclose(report.norms, 50.0, rtol=1e-5)  # a hundred clip norms
    np.testing.assert_allclose(network.canaries.weight.grad[0], [0, 0.5, 0, 0.5, 0], atol=2e-6)
    assert all(not parameter.grad.any() for parameter in network.network.parameters())


def test_planted_canaries_are_patients_of_their_own(data):
    planted = plant(data, 50, np.random.default_rng(3))
    n_in = int(planted.included.sum())
    assert 10 < n_in < 40
    assert planted.data.n_images == 12 + n_in
    np.testing.assert_array_equal(planted.data.images[12:], planted.images[planted.included])
    assert len(np.unique(planted.data.patient_ids.astype(str))) == 6 + n_in
    assert not planted.data.labels[12:].any()


def test_rows_of_a_store_are_taken_along(data):
    some = replace(data, labels=data.labels[:3], rows=np.array([5, 2, 9]), patient_ids=None)
    planted = plant(some, 20, np.random.default_rng(0))
    np.testing.assert_array_equal(planted.data.images[:3], data.images[[5, 2, 9]])
    assert planted.data.patient_ids is None
