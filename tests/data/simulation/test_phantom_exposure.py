import numpy as np
import pytest

from dpcxr_core.data.simulation.draws import Draws
from dpcxr_core.data.simulation.phantom_exposure import Acquisition, exposed, overprinted
from dpcxr_core.data.simulation.plane import square_plane

SIZE, N = 64, 40
PLANE = square_plane(SIZE)
STANDING = np.zeros((N, 1, 1), np.float32)


def _draws():
    return Draws(np.random.default_rng(0).random((N, 60), np.float32))


def _exposed(length, noise=None, **choices):
    lengths = np.full((N, SIZE, SIZE), length, np.float32)
    noise = np.zeros_like(lengths) if noise is None else noise
    return exposed(lengths, PLANE, STANDING, Acquisition(**choices), _draws(), noise)


def _printed(**choices):
    nothing = {"marked": 0, "captioned": 0, "collimated": 0}
    grey = np.full((N, SIZE, SIZE), 0.5, np.float32)
    return overprinted(grey, PLANE, Acquisition(**{**nothing, **choices}), _draws())


def test_longer_path_prints_lighter():
    greys = [_exposed(length) for length in (0.0, 0.2, 0.5, 0.9)]
    for darker, lighter in zip(greys, greys[1:], strict=False):
        assert (lighter > darker).all()
    assert greys[0].min() >= 0
    assert greys[-1].max() <= 1


def test_contrast_brightness_and_gamma_do_what_they_say():
    plain, low = (_exposed(0.8, contrast=c).mean() - _exposed(0.1, contrast=c).mean() for c in (1.0, 0.6))
    assert low < 0.8 * plain
    assert _exposed(0.4, brightness=0.1).mean() > _exposed(0.4).mean() > _exposed(0.4, gamma=1.3).mean()


def test_noise_has_the_stated_spread():
    noise = np.random.default_rng(1).standard_normal((N, SIZE, SIZE), np.float32)
    clean, noisy = (_exposed(0.45, each, noise_std=0.03) for each in (None, noise))
    spread = (noisy - clean).std() / (1.3 - 0.6 * clean.mean())
    # an image's own level varies by a factor exp(N(0, 0.25)), whose root mean square is 1.06
    assert abs(spread / (0.03 * 1.06) - 1) < 0.15
    assert _exposed(0.45, noise, noise_std=0.0).std() == _exposed(0.45).std()


def test_exposure_spread_is_between_images():
    assert _exposed(0.45, exposure_spread=0.3).mean(axis=(1, 2)).std() > 0.05
    tilt_alone = _exposed(0.47, exposure_spread=0.0).mean(axis=(1, 2)).std()
    assert tilt_alone < 0.005


def test_nothing_is_printed_where_nothing_is_asked_for():
    assert (_printed() == 0.5).all()


@pytest.mark.parametrize("what", ["marked", "captioned"])
def test_markers_and_writing_are_small_and_white(what):
    changed = _printed(**{what: 1}) != 0.5
    assert changed.any(axis=(1, 2)).mean() > 0.9
    assert changed.mean() < 0.03
    assert _printed(**{what: 1}).max() > 0.8


def test_collimation_blackens_borders_and_spares_the_middle():
    grey = _printed(collimated=1)
    assert grey[:, 16:48, 16:48].min() == 0.5
    assert (grey[:, [0, -1], :].min(axis=(1, 2)) < 0.1).mean() > 0.9
    share = (_printed(collimated=0.5) != 0.5).any(axis=(1, 2)).mean()
    assert abs(share - 0.5) / np.sqrt(0.25 / N) < 5
