import math
from itertools import combinations
from typing import get_args

import numpy as np
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.privacy.streams import Purpose, RandomStreams, secret_streams, seeded_streams

PURPOSES = get_args(Purpose)
N = 20_000
GOLDEN = [3811560577, 3357857828, 2866157300, 290391488, 3899635124]


def _correlation(one: np.random.Generator, other: np.random.Generator) -> float:
    """Of the first numbers of two generators, as z."""
    return float((one.standard_normal(N) * other.standard_normal(N)).mean() * math.sqrt(N))


def _neighbours(streams: RandomStreams) -> list[np.random.Generator]:
    """Generators of places that a careless seed, such as a sum of their numbers, would confuse."""
    places = [(purpose, step) for purpose in PURPOSES for step in (0, 1, 2)]
    places += [("noise", 0, 0), ("noise", 0, 1), ("noise", 1, 0), ("noise", 1, 1), ("noise", 0, 0, 0)]
    return [streams.at(*place) for place in places]


def test_streams_of_other_purposes_steps_and_parameters_are_independent():
    first = [generator.random(4).tobytes() for generator in _neighbours(seeded_streams(0))]
    assert len(set(first)) == len(first)
    for one, other in combinations(range(len(first)), 2):
        streams = _neighbours(seeded_streams(0))
        assert abs(_correlation(streams[one], streams[other])) < 5
    same = _neighbours(seeded_streams(0))[3], _neighbours(seeded_streams(0))[3]  # the mistake: one stream for two
    assert abs(_correlation(*same)) > 5


def test_streams_of_neighbouring_secrets_are_independent():
    z = [_correlation(RandomStreams(seed).at("noise", 0), RandomStreams(seed + 1).at("noise", 0)) for seed in range(20)]
    assert np.abs(z).max() < 5


@pytest.mark.parametrize("bit", [0, 31, 32, 63, 64, 100, 127])
def test_every_bit_of_the_secret_matters(bit):
    one, other = (RandomStreams(entropy).at("noise", 3).random(8) for entropy in (2**128 - 1, 2**128 - 1 - 2**bit))
    assert not np.isclose(one, other).any()


def test_a_place_always_has_the_same_numbers_from_their_beginning():
    streams = seeded_streams(5)
    before = streams.at("draws", 7).random(10)
    streams.at("draws", 6).random(100)
    np.testing.assert_array_equal(before, streams.at("draws", 7).random(10))
    np.testing.assert_array_equal(before, RandomStreams(5).at("draws", 7).random(10))


def test_places_and_secrets_that_numpy_would_confuse_with_others_are_refused():
    confused = [np.random.SeedSequence(0, spawn_key=key).generate_state(4) for key in ((3, 2**32), (3, 0, 1))]
    np.testing.assert_array_equal(*confused)  # why
    for place in ((2**32,), (0, 2**32), (-1,)):
        with pytest.raises(ValueError, match=r"\[0, 2\*\*32\)"):
            seeded_streams(0).at("noise", *place)
    for entropy in (-1, 2**128):
        with pytest.raises(UserError, match="entropy"):
            RandomStreams(entropy)


def test_what_a_seed_means_does_not_change():
    # golden: numpy's SeedSequence and SFC64 keep their streams between versions (NEP 19), and our numbering must too
    found = [int(RandomStreams(1).at(purpose, 2).integers(2**32)) for purpose in PURPOSES]
    assert found == GOLDEN


def test_secrets_are_long_and_never_repeat():
    entropies = [secret_streams().entropy for _ in range(200)]
    assert len(set(entropies)) == 200
    assert max(entropies).bit_length() > 120
    ones = sum(entropy.bit_count() for entropy in entropies)
    assert abs(ones - 200 * 64) / math.sqrt(200 * 128 / 4) < 5
