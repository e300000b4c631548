import numpy as np

from dpcxr_core.data.simulation.plane import bump, fourth, posed, square_plane


def _one(value):
    return np.full((1, 1, 1), value, np.float32)


def test_square_plane_is_centred_and_points_right_and_down():
    plane = square_plane(64)
    assert plane.x.shape == (1, 64, 64)
    assert plane.x[0, 0, -1] == -plane.x[0, 0, 0] == plane.y[0, -1, 0] > 0.98
    assert np.isclose(plane.x[0, 0, 1] - plane.x[0, 0, 0], plane.pixel)


def test_inside_steps_from_nought_to_one_around_zero():
    plane = square_plane(64)
    step = plane.inside(np.array([-1, -0.11, 0, 0.11, 1], np.float32), softness=0.2)
    np.testing.assert_allclose(step, [0, 0, 0.5, 1, 1])


def test_edges_and_lines_never_alias():
    plane = square_plane(32)
    edge = plane.inside(plane.x, softness=0)[0, 0]
    assert ((edge > 0) & (edge < 1)).sum() == 2
    area = plane.line(plane.x - 0.01, 1e-6)[0, 0].sum()
    moved = plane.line(plane.x - 0.03, 1e-6)[0, 0].sum()
    # a hair line keeps its weight wherever it falls: a Gaussian of 0.5 pixels sampled at pixels ripples by 3%
    assert abs(area / moved - 1) < 0.04


def test_fourth_and_bump_are_the_powers_they_replace():
    values = np.linspace(-3, 3, 50, dtype=np.float32)
    np.testing.assert_allclose(fourth(values), values.astype(float) ** 4, rtol=1e-6)
    np.testing.assert_allclose(bump(values**2), np.exp(-(values.astype(float) ** 2)), rtol=1e-5)


def test_posed_moves_turns_and_magnifies():
    plane = square_plane(64)
    still = posed(plane, _one(0), _one(0), _one(0), _one(1))
    np.testing.assert_allclose(still.x, plane.x)
    moved = posed(plane, _one(0.25), _one(-0.5), _one(0), _one(1))
    np.testing.assert_allclose(moved.x, plane.x - 0.25)
    np.testing.assert_allclose(moved.y, plane.y + 0.5)
    large = posed(plane, _one(0), _one(0), _one(0), _one(2))
    np.testing.assert_allclose(large.x, plane.x / 2)
    turned = posed(plane, _one(0), _one(0), _one(np.pi / 2), _one(1))
    np.testing.assert_allclose(turned.x, plane.y, atol=1e-6)
    np.testing.assert_allclose(turned.y, -plane.x, atol=1e-6)
