import numpy as np
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.simulation.textures import ATTRIBUTES, SHAPES, generate_scenes

SCENES = generate_scenes(1200, 64, seed=0)


def _holds(name):
    return SCENES.attributes[:, ATTRIBUTES.index(name)] == 1


def test_scenes_are_grey_images_with_named_attributes():
    assert SCENES.images.shape == (1200, 64, 64)
    assert SCENES.images.dtype == np.uint8
    assert SCENES.attributes.shape == (1200, len(SCENES.names))
    assert SCENES.attributes.dtype == np.float32
    assert set(np.unique(SCENES.attributes)) == {0, 1}
    assert (SCENES.images.std(axis=(1, 2)) > 5).all()


def test_same_seed_gives_the_same_scenes_and_more_begin_with_the_same():
    again = generate_scenes(37, 64, seed=0)
    np.testing.assert_array_equal(again.images, SCENES.images[:37])
    np.testing.assert_array_equal(again.attributes, SCENES.attributes[:37])
    assert (generate_scenes(37, 64, seed=1).images != again.images).any(axis=(1, 2)).all()
    assert generate_scenes(0, 64, seed=0).images.shape == (0, 64, 64)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attribute_holds_in_the_stated_share(name):
    expected = 8 / 15 if name.removeprefix("has_") in SHAPES else 1 / 2
    assert abs(_holds(name).mean() - expected) / np.sqrt(0.25 / 1200) < 5
    assert abs(_holds(name).mean() - expected - 0.1) / np.sqrt(0.25 / 1200) > 5


def test_attributes_are_independent_but_for_the_rule_that_a_shape_is_there():
    shapes = SCENES.attributes[:, : len(SHAPES)]
    assert shapes.max(axis=1).min() == 1
    others = np.corrcoef(SCENES.attributes[:, len(SHAPES) :].T)
    z = (others - np.eye(len(others))) * np.sqrt(1200)
    assert np.abs(z).max() < 5


def test_bright_background_is_bright():
    corners = SCENES.images[:, [0, 0, -1, -1], [0, -1, 0, -1]].astype(float)
    bright = np.median(corners, axis=1) > 120
    assert (bright == _holds("bright_background")).mean() > 0.9


def test_large_and_crowded_scenes_cover_more_of_the_background():
    ground = np.median(SCENES.images.reshape(1200, -1), axis=1)[:, None, None]
    covered = (np.abs(SCENES.images - ground) > 25).mean(axis=(1, 2))
    for name in ("large_shapes", "crowded"):
        assert covered[_holds(name)].mean() > 1.2 * covered[~_holds(name)].mean()


def test_upright_scenes_vary_more_sideways():
    grey = SCENES.images.astype(float)
    sideways = np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
    downwards = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2))
    leaning = np.log(sideways / downwards)
    assert leaning[_holds("upright")].mean() > leaning[~_holds("upright")].mean() + 0.2


def test_textures_roughen_the_surfaces():
    rough = np.abs(np.diff(SCENES.images.astype(float), axis=2)).mean(axis=(1, 2))
    checks = _holds("has_checks")
    assert rough[checks].mean() > 1.1 * rough[~checks].mean()


@pytest.mark.parametrize(
    ("arguments", "message"), [((-1, 64, 0), "n must"), ((1, 8, 0), "size must"), ((1, 64, -2), "seed must")]
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        generate_scenes(*arguments)
