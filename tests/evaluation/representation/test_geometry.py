import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import UserError
from dpcxr_core.evaluation.representation.geometry import (
    effective_dimension,
    effective_dimensions_left_out,
    squared_displacements,
    unit_normalised,
)

_tables = settings(derandomize=True, deadline=None, max_examples=50)
_seed = st.integers(0, 10**6)


def _embeddings(seed, n_images=40, n_features=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_images, n_features)) * rng.uniform(0.1, 3, n_features) + rng.normal(size=n_features)


def _reference_from_eigenvalues(embeddings):
    eigenvalues = np.linalg.eigvalsh(np.cov(embeddings, rowvar=False, bias=True))
    return eigenvalues.sum() ** 2 / (eigenvalues**2).sum()


def test_rows_of_length_one_keep_their_direction():
    embeddings = _embeddings(0).astype(np.float32)
    unit = unit_normalised(embeddings)
    assert unit.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(unit * np.linalg.norm(embeddings.astype(float), axis=1)[:, None], embeddings)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_embedding_without_direction_is_refused(bad):
    embeddings = _embeddings(0)
    embeddings[3] = bad
    with pytest.raises(UserError, match="1 of 40"):
        unit_normalised(embeddings)


def test_displacement_is_twice_one_minus_the_cosine():
    before, after = unit_normalised(_embeddings(0)), unit_normalised(_embeddings(1))
    cosines = [float(a @ b) for a, b in zip(before, after, strict=True)]
    np.testing.assert_allclose(squared_displacements(before, after), [2 - 2 * cosine for cosine in cosines])
    np.testing.assert_array_equal(squared_displacements(before, before), 0)
    np.testing.assert_allclose(squared_displacements(before, -before), 4)


def test_displacement_of_other_images_is_refused():
    with pytest.raises(UserError, match=r"\(40, 6\) and \(39, 6\)"):
        squared_displacements(_embeddings(0), _embeddings(0)[:-1])


@_tables
@given(seed=_seed)
def test_effective_dimension_is_the_participation_ratio_of_eigenvalues(seed):
    embeddings = _embeddings(seed)
    found = effective_dimension(embeddings)
    assert found == pytest.approx(_reference_from_eigenvalues(embeddings), rel=1e-9)
    assert 1 <= found <= 6


@_tables
@given(seed=_seed, scale=st.floats(0.01, 100))
def test_effective_dimension_knows_no_axes_origin_or_unit(seed, scale):
    embeddings = _embeddings(seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(6, 6)))
    changed = scale * (embeddings @ rotation) + 5 * scale
    assert effective_dimension(changed) == pytest.approx(effective_dimension(embeddings), rel=1e-6)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_k_equal_directions_count_as_k(k):
    axes = np.eye(6)[:k]
    assert effective_dimension(np.concatenate([axes, -axes]) + 2) == pytest.approx(k)


def test_images_that_do_not_differ_have_no_dimension():
    assert np.isnan(effective_dimension(np.full((30, 4), 0.1)))


def test_leaving_out_a_group_is_as_if_it_were_not_there():
    embeddings, groups = _embeddings(3), np.arange(40) % 7
    expected = [effective_dimension(embeddings[groups != group]) for group in range(7)]
    np.testing.assert_allclose(effective_dimensions_left_out(embeddings, groups), expected)
