import socket
from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcxr_core.config import OptimisationChoice, OrdinaryBatches, UserError
from dpcxr_core.training.architectures import build_architecture, per_image_input
from dpcxr_core.training.embeddings import embeddings_of
from dpcxr_core.training.pretraining import PretrainingData, PretrainingRecipe
from dpcxr_core.training.self_supervision import pretrain_vicreg, random_views

RECIPE = PretrainingRecipe(
    kind="vicreg",
    batches=OrdinaryBatches(n_steps=30, batch_size=32),
    optimisation=OptimisationChoice(optimizer="adamw", learning_rate=2e-3, weight_decay=1e-4),
)
IMAGES = np.random.default_rng(0).integers(0, 256, (64, 32, 32), dtype=np.uint8)


def _waves(n: int, rng: np.random.Generator) -> np.ndarray:
    """Gratings of random direction and wavelength: what survives a crop tells them apart."""
    y, x = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    angle, length, phase = (rng.uniform(low, high, (n, 1, 1)) for low, high in ((0, np.pi), (4, 12), (0, 2 * np.pi)))
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / length + phase)
    return (127 + 100 * wave + rng.normal(0, 8, (n, 32, 32))).clip(0, 255).astype(np.uint8)


def _share_of_pairs_told_apart(state: dict[str, torch.Tensor], images: np.ndarray) -> float:
    """How often two views of one image are more alike, by cosine of centred features, than of two images."""
    model = build_architecture("convnext_mini", n_outputs=0, seed=0)
    model.load_state_dict(state)
    transform = per_image_input("convnext_mini")
    first, second = (
        embeddings_of(model, random_views(images, np.random.default_rng(seed)), transform) for seed in (1, 2)
    )
    centre = np.concatenate([first, second]).mean(0)
    first, second = (
        (features - centre) / np.linalg.norm(features - centre, axis=1, keepdims=True) for features in (first, second)
    )
    likeness = first @ second.T
    same = np.eye(len(images), dtype=bool)
    return float((likeness[same][:, None] > likeness[~same][None, :]).mean())


def test_views_of_an_image_are_told_from_views_of_others_better_after_pretraining():
    images = _waves(256, np.random.default_rng(0))
    recipe = replace(
        RECIPE,
        batches=OrdinaryBatches(n_steps=200, batch_size=32),
        optimisation=OptimisationChoice(optimizer="adamw", learning_rate=2e-3),
    )
    result = pretrain_vicreg(PretrainingData(images), recipe, progress=False)
    fresh = _waves(100, np.random.default_rng(5))
    untrained = build_architecture("convnext_mini", n_outputs=0, seed=recipe.seed).state_dict()
    before, after = (_share_of_pairs_told_apart(state, fresh) for state in (untrained, result.state))
    # over three seeds the share rose by 0.12 to 0.22; its standard error is about 0.03, both use the same pairs
    assert after > before + 0.08


def test_what_remains_is_a_network_without_head_or_projector():
    recipe = replace(RECIPE, batches=OrdinaryBatches(n_steps=2, batch_size=8))
    result = pretrain_vicreg(PretrainingData(IMAGES), recipe, progress=False)
    expected = build_architecture("convnext_mini", n_outputs=0, seed=0).state_dict()
    assert set(result.state) == set(expected)
    assert result.head_outputs == ()
    again = pretrain_vicreg(PretrainingData(IMAGES), recipe, progress=False)
    assert all(torch.equal(value, again.state[name]) for name, value in result.state.items())


def test_pretraining_makes_no_network_call(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a network call was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    recipe = replace(RECIPE, batches=OrdinaryBatches(n_steps=1, batch_size=4))
    pretrain_vicreg(PretrainingData(IMAGES), recipe, progress=False)


def test_views_keep_shape_and_type_and_follow_the_generator():
    first = random_views(IMAGES, np.random.default_rng(0))
    assert (first.shape, first.dtype) == (IMAGES.shape, np.uint8)
    assert np.array_equal(first, random_views(IMAGES, np.random.default_rng(0)))
    assert not np.array_equal(first, random_views(IMAGES, np.random.default_rng(1)))


def test_views_of_equal_images_differ_from_each_other():
    same = np.repeat(IMAGES[:1], 20, axis=0)
    views = random_views(same, np.random.default_rng(0))
    assert len({view.tobytes() for view in views}) == 20


def test_half_of_the_views_are_mirrored_and_the_crop_reaches_every_border():
    n = 2000
    ramp = np.tile(np.linspace(20, 230, 32).astype(np.uint8), (n, 32, 1))
    views = random_views(ramp, np.random.default_rng(0)).astype(int)
    n_mirrored = int((views[:, :, -1].mean(1) < views[:, :, 0].mean(1)).sum())
    z = (n_mirrored - n / 2) / np.sqrt(n / 4)
    assert abs(z) < 5
    # brightness of the ramp tells where a column was cut from; gamma and contrast keep its order
    falling_rows = random_views(ramp.transpose(0, 2, 1), np.random.default_rng(0)).astype(int)
    assert (falling_rows[:, -1].mean(1) > falling_rows[:, 0].mean(1)).all()  # never upside down


def test_flat_image_stays_flat_through_crop_and_blur():
    views = random_views(np.full((50, 32, 32), 90, np.uint8), np.random.default_rng(0))
    # borders are repeated, so no dark frame is drawn in; rounding is to one grey level
    assert (views.max((1, 2)).astype(int) - views.min((1, 2)) <= 1).all()
    assert len(np.unique(views[:, 0, 0])) > 10  # gamma differs between images


def test_other_kind_is_refused():
    with pytest.raises(UserError, match="kind 'vicreg'; got 'labels'"):
        pretrain_vicreg(PretrainingData(IMAGES), replace(RECIPE, kind="labels"), progress=False)
