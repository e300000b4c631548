from dataclasses import replace

import numpy as np
import pytest

from dpcxr_core.data.simulation import phantom_anatomy as anatomy
from dpcxr_core.data.simulation.draws import Draws
from dpcxr_core.data.simulation.plane import square_plane

PLANE = square_plane(96)
N = 6


def _column(value):
    return np.full((N, 1, 1), value, np.float32)


BUILD = anatomy.Build(
    cage=_column(0.8),
    apex=_column(-0.82),
    base=_column(0.42),
    collapse=_column(0),
    midline=_column(0),
    heart=_column(0.4),
    stout=_column(0.3),
    breast=_column(0),
    ageing=_column(0),
    supine=_column(0),
)


def _draws():
    return Draws(np.random.default_rng(0).random((N, 900), np.float32))


def _lungs(build=BUILD):
    return anatomy.lungs(PLANE, build, _draws())


def _width(silhouette):
    """Widest row of each silhouette, in plane units."""
    return silhouette.sum(axis=2).max(axis=1) * PLANE.pixel


def test_lungs_lie_within_the_cage_and_above_the_diaphragm():
    air = _lungs().air
    outside = (np.abs(PLANE.x) > 0.95) | (PLANE.y < -0.95) | (PLANE.y > 0.85)
    assert air.min() >= 0
    assert air.max() <= 1
    assert (air * outside).max() == 0
    share = air.mean(axis=(1, 2))
    assert ((share > 0.2) & (share < 0.5)).all()


def test_right_dome_stands_higher_than_left():
    dome = _lungs().dome
    middle = dome.shape[1] // 2
    right, left = dome[:, middle, : dome.shape[2] // 2 - 5], dome[:, middle, dome.shape[2] // 2 + 5 :]
    np.testing.assert_allclose(left[:, ::-1] - right, 0.05, atol=1e-5)


@pytest.mark.parametrize("side", [-1, 1])
def test_collapse_lifts_the_dome_of_its_own_side(side):
    lifted = _lungs().dome - _lungs(replace(BUILD, collapse=_column(0.1 * side))).dome
    own, other = (np.broadcast_to(sign * PLANE.x > 0.1, lifted.shape) for sign in (side, -side))  # they meet between
    np.testing.assert_allclose(lifted[own], 0.1, atol=1e-6)
    assert np.abs(lifted[other]).max() == 0


def test_heart_is_wider_by_what_its_reach_gains():
    air = _lungs()
    small = anatomy.heart(PLANE, BUILD, air, _draws())
    large = anatomy.heart(PLANE, replace(BUILD, heart=_column(0.5)), air, _draws())
    # 0.10 on the left and 0.35 of it on the right, to within the pixel width
    np.testing.assert_allclose(_width(large) - _width(small), 0.135, atol=0.025)
    assert small[:, :, 48:].sum() > 1.5 * small[:, :, :48].sum()  # most of a heart lies left of the midline


def test_body_surrounds_the_lungs_and_leaves_air_above_the_shoulders():
    tissue = anatomy.body(PLANE, BUILD, _draws())
    assert (tissue[_lungs().air > 0.9] > 0.2).all()
    assert tissue[:, :3, :10].max() == tissue[:, :3, -10:].max() == 0
    stout = anatomy.body(PLANE, replace(BUILD, stout=_column(1)), _draws())
    assert (stout.sum(axis=(1, 2)) > tissue.sum(axis=(1, 2))).all()


def test_breasts_are_drawn_only_where_there_are_any_and_low_on_the_chest():
    assert anatomy.breasts(PLANE, BUILD, _draws()).max() == 0
    shadow = anatomy.breasts(PLANE, replace(BUILD, breast=_column(0.3)), _draws())
    assert (shadow.max(axis=(1, 2)) > 0.2).all()
    height = (shadow * PLANE.y).sum(axis=(1, 2)) / shadow.sum(axis=(1, 2))
    assert ((height > 0.05) & (height < 0.5)).all()


def test_age_widens_the_aorta_and_youth_does_not_narrow_it():
    young, middle, old = (
        anatomy.mediastinum(PLANE, replace(BUILD, ageing=_column(decades)), _draws()).sum() for decades in (-3, 0, 3)
    )
    assert young == middle < old


@pytest.mark.parametrize("part", [anatomy.spine, anatomy.bones])
def test_bones_absorb_and_lie_where_bones_are(part):
    bone = part(PLANE, BUILD, _draws())
    assert bone.min() >= 0
    assert (bone.max(axis=(1, 2)) > 0.05).all()
    near_middle = np.broadcast_to(np.abs(PLANE.x) < 0.05, bone.shape)
    assert (bone[near_middle].mean() > bone[~near_middle].mean()) == (part is anatomy.spine)


def test_vessels_stay_in_the_lungs_and_thin_out_from_the_hilum():
    vessels = anatomy.lung_vessels(PLANE, BUILD, _lungs(), _draws(), _draws())
    assert vessels[_lungs().hull == 0].max() == 0
    far = np.broadcast_to(np.hypot(np.abs(PLANE.x) - 0.17, PLANE.y + 0.02), vessels.shape)
    lung = _lungs().air > 0.9
    assert vessels[lung & (far < 0.3)].mean() > 3 * vessels[lung & (far > 0.5)].mean()


def test_abdomen_lies_under_the_diaphragm():
    air = _lungs()
    belly = anatomy.abdomen(PLANE, BUILD, air, _draws(), _draws())
    above = np.broadcast_to(PLANE.y, belly.shape) < air.dome - 0.05
    assert np.abs(belly[above]).max() == 0
    assert belly[:, -5:, 40:56].min() > 0.1
