import numpy as np
import pytest

from dpcxr_core.data.simulation.draws import Draws


def _uniforms(n_rows=6, n_columns=40, seed=0):
    return np.random.default_rng(seed).random((n_rows, n_columns), np.float32)


def _everything(draws):
    chance = draws.chance(0.3)
    return [draws.uniform(-1, 2), draws.normal(1, 2), chance, draws.side(), draws.field(3, 8)]


def test_quantities_depend_on_their_own_row_only():
    uniforms = _uniforms()
    together = _everything(Draws(uniforms))
    alone = _everything(Draws(uniforms[4:5]))
    for many, one in zip(together, alone, strict=True):
        np.testing.assert_array_equal(many[4:5], one)
        assert many.dtype == np.float32


def test_each_call_reads_a_column_of_its_own():
    draws = Draws(_uniforms(n_rows=2000, n_columns=2))
    first, second = draws.uniform(0, 1).ravel(), draws.uniform(0, 1).ravel()
    z = np.corrcoef(first, second)[0, 1] * np.sqrt(2000)
    assert abs(z) < 5
    assert abs(np.corrcoef(first, first)[0, 1] * np.sqrt(2000)) > 5  # the mistake: the same column twice


def test_normal_has_the_mean_and_spread_asked_for():
    values = Draws(_uniforms(20_000, 1)).normal(3, 0.5).ravel().astype(float)
    assert abs((values.mean() - 3) / (0.5 / np.sqrt(20_000))) < 5
    variance_z = (values.var() / 0.25 - 1) / np.sqrt(2 / 20_000)
    assert abs(variance_z) < 5
    assert abs((values.var() / 0.5 - 1) / np.sqrt(2 / 20_000)) > 5  # the mistake: a variance for a deviation


def test_normal_stays_finite_at_the_ends():
    assert np.isfinite(Draws(np.array([[0.0], [1 - 2**-24]], np.float32)).normal(0, 1)).all()


def test_chance_takes_one_probability_per_row():
    probability = np.array([0.0, 1.0], np.float32)[:, None, None]
    assert Draws(_uniforms(2, 1)).chance(probability).ravel().tolist() == [0, 1]


def test_field_is_the_same_landscape_at_every_size():
    small, large = (Draws(_uniforms()).field(5, size) for size in (32, 96))
    averaged = large.reshape(6, 32, 3, 32, 3).mean(axis=(2, 4))
    assert np.abs(small - averaged).max() < 0.05  # curvature within a pixel
    assert small.std() > 0.3


def test_drawing_more_than_a_row_holds_is_refused():
    draws = Draws(_uniforms(2, 3))
    draws.uniform(0, 1)
    with pytest.raises(IndexError, match="asks for 5"):
        draws.field(2, 8)
