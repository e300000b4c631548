from dataclasses import replace

import numpy as np
import pytest

from dpcxr_core.data.simulation.phantom import CAUSES, N_IMAGE_DRAWS, Chests, draw_radiographs
from dpcxr_core.data.simulation.phantom_anatomy import N_ANATOMY_DRAWS
from dpcxr_core.data.simulation.phantom_exposure import Acquisition

N = 8
PLAIN = Acquisition(marked=0, captioned=0, collimated=0, device_share=0, noise_std=0)


def _chests(n=N, **changes):
    rng = np.random.default_rng(0)
    healthy = Chests(
        patient_draws=rng.random((n, N_ANATOMY_DRAWS), np.float32),
        image_draws=rng.random((n, N_IMAGE_DRAWS), np.float32),
        severity=np.zeros((n, len(CAUSES))),
        supine=np.zeros(n),
        female=np.zeros(n),
        ageing=np.zeros(n),
    )
    return replace(healthy, **changes)


def _drawn(chests, size=64, acquisition=PLAIN):
    noise = np.random.default_rng(1).standard_normal((len(chests.supine), size, size), np.float32)
    return draw_radiographs(chests, acquisition, noise)


def _only(cause, severity=1.0):
    severities = np.zeros((N, len(CAUSES)))
    severities[:, CAUSES.index(cause)] = severity
    return severities


@pytest.mark.parametrize("size", [32, 64, 100, 224])
def test_images_are_square_grey_and_use_the_range(size):
    images = _drawn(_chests(), size)
    assert images.shape == (N, size, size)
    assert images.dtype == np.uint8
    assert (np.ptp(images, axis=(1, 2)) > 120).all()


def test_anatomy_is_the_same_at_every_size():
    small, large = _drawn(_chests(), 64), _drawn(_chests(), 192)
    averaged = large.reshape(N, 64, 3, 64, 3).mean(axis=(2, 4))
    likeness = [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(small, averaged, strict=True)]
    assert min(likeness) > 0.99
    other_patient = np.corrcoef(small[0].ravel(), averaged[1].ravel())[0, 1]
    assert other_patient < 0.99  # the mistake: anatomy drawn anew at each size


def test_image_does_not_depend_on_the_images_beside_it():
    chests = _chests()
    alone = Chests(**{name: values[3:4] for name, values in vars(chests).items()})
    noise = np.random.default_rng(1).standard_normal((N, 64, 64), np.float32)
    together = draw_radiographs(chests, PLAIN, noise)
    np.testing.assert_array_equal(together[3:4], draw_radiographs(alone, PLAIN, noise[3:4]))


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_is_seen_and_grows_with_severity(cause):
    healthy, mild, severe = (_drawn(_chests(severity=_only(cause, s))).astype(float) for s in (0, 0.5, 1.1))
    change = [np.abs(ill - healthy).mean(axis=(1, 2)) for ill in (mild, severe)]
    assert (change[0] > 0.25).all()
    assert change[1].mean() > 1.3 * change[0].mean()
    assert (severe - healthy).mean() > 0  # each of them costs the beam more


def test_causes_are_told_apart_by_where_they_lie():
    healthy = _drawn(_chests()).astype(float)
    y, x = np.mgrid[0:64, 0:64] / 31.5 - 1
    centre = {}
    for cause in CAUSES:
        change = np.clip(_drawn(_chests(severity=_only(cause))) - healthy, 0, None).mean(axis=0)
        centre[cause] = ((change * y).sum() / change.sum(), (change * x).sum() / change.sum())
    assert centre["pneumonia"][0] < min(centre["pleural_effusion"][0], centre["atelectasis"][0])
    assert centre["cardiomegaly"][1] > 0.1  # the heart grows to the patient's left


def test_the_same_draws_give_two_exposures_of_one_patient_the_same_build():
    chests = _chests()
    anew = np.random.default_rng(7).random(chests.image_draws.shape, np.float32)
    first, second = _drawn(chests), _drawn(replace(chests, image_draws=anew))
    same = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, second, strict=True)]
    crossed = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(first, np.roll(second, 1, axis=0), strict=True)]
    assert np.mean(same) > np.mean(crossed)


def test_sex_and_age_change_the_image_where_they_are_drawn():
    plain = _drawn(_chests())
    for field, value in (("female", 1.0), ("ageing", 3.0)):
        assert (_drawn(_chests(**{field: np.full(N, value)})) != plain).any(axis=(1, 2)).all()
