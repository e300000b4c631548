import math

import numpy as np
import pytest
import torch
from scipy import stats

from dpcxr_core.privacy import gaussian
from dpcxr_core.privacy.gaussian import standard_normal

N_PAIRS = 400_000
BLOCK = 50_000


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


def _pairs(n_pairs: int, fill, rng: np.random.Generator) -> np.ndarray:
    """``(2, n_pairs)`` numbers and their partners, which are made of the same random bits."""
    blocks = []
    for _ in range(n_pairs // BLOCK):
        block = np.empty(2 * BLOCK, np.float32)
        fill(block, rng)
        blocks.append(block.reshape(2, -1))
    return np.concatenate(blocks, axis=1)


def _z_scores(pairs: np.ndarray) -> dict[str, float]:
    """How far ``pairs`` are from independent standard normal numbers, as z of one statistic each."""
    first, second = pairs.astype(float)
    n = len(first)
    distance = stats.kstest(first, "norm")
    angles = np.bincount(((np.arctan2(second, first) / (2 * np.pi) + 0.5) * 4096).astype(int) % 4096, minlength=4096)
    return {
        "mean": first.mean() * math.sqrt(n),
        "variance": (first.var() - 1) * math.sqrt(n / 2),
        "kurtosis": stats.kurtosis(first) * math.sqrt(n / 24),
        "distribution": stats.norm.isf(distance.pvalue / 2),
        "correlation of the pair": (first * second).mean() * math.sqrt(n),
        "correlation of the squares": ((first**2 - 1) * (second**2 - 1)).mean() * math.sqrt(n) / 2,
        "correlation with the next": (first[1:] * first[:-1]).mean() * math.sqrt(n),
        "angles": (((angles - n / 4096) ** 2).sum() / (n / 4096) - 4095) / math.sqrt(2 * 4095),
    }


def _z_of_tail(fill) -> dict[str, float]:
    """Too few or too many far out, among 16 million numbers and among their 8 million pairs."""
    pairs = _pairs(8_000_000, fill, _rng())
    counts = {
        "numbers beyond 4.5": ((np.abs(pairs) > 4.5).sum(), pairs.size * 2 * stats.norm.sf(4.5)),
        "pairs beyond 4.95": ((np.square(pairs).sum(0) > 4.95**2).sum(), pairs.shape[1] * math.exp(-(4.95**2) / 2)),
    }
    return {name: (count - expected) / math.sqrt(expected) for name, (count, expected) in counts.items()}


def _failed(scores: dict[str, float]) -> set[str]:
    return {name for name, z in scores.items() if not abs(z) < 5}


def test_numbers_are_independent_and_standard_normal():
    assert _failed(_z_scores(_pairs(N_PAIRS, gaussian._fill, _rng()))) == set()


def _box_muller(radius_share: np.ndarray, angle_share: np.ndarray) -> np.ndarray:
    radius = np.sqrt(-2 * np.log(radius_share))
    return np.concatenate([radius * np.cos(2 * np.pi * angle_share), radius * np.sin(2 * np.pi * angle_share)])


def _shifted(block: np.ndarray, rng: np.random.Generator) -> None:
    """Wrong: the uniform numbers of the radius start at 0.001."""
    n = len(block) // 2
    block[:] = _box_muller(0.001 + 0.999 * rng.random(n), rng.random(n))


def _sixteen_bits(block: np.ndarray, rng: np.random.Generator) -> None:
    """Wrong: the radius has 16 random bits, so no value is beyond 4.8."""
    n = len(block) // 2
    block[:] = _box_muller((rng.integers(0, 2**16, n) + 0.5) / 2**16, rng.random(n))


def _eight_bit_angle(block: np.ndarray, rng: np.random.Generator) -> None:
    """Wrong: 256 directions only, the first of them along an axis."""
    n = len(block) // 2
    block[:] = _box_muller(1 - rng.random(n), rng.integers(0, 256, n) / 256)


def _same_bits(block: np.ndarray, rng: np.random.Generator) -> None:
    """Wrong: radius and angle of a pair from the same number."""
    share = 1 - rng.random(len(block) // 2)
    block[:] = _box_muller(share, share)


def _sum_of_twelve(block: np.ndarray, rng: np.random.Generator) -> None:
    """Wrong: a bell, but not the normal one."""
    block[:] = rng.random((12, len(block))).sum(0) - 6


def _biased(block: np.ndarray, rng: np.random.Generator) -> None:
    """Wrong: off by a hundredth."""
    gaussian._fill(block, rng)
    block += 0.01


def _each_twice(block: np.ndarray, rng: np.random.Generator) -> None:
    """Wrong: neighbours are alike."""
    gaussian._fill(block, rng)
    block[1::2] = block[::2]


@pytest.mark.parametrize(
    ("wrong", "seen_by"),
    [
        (_biased, "mean"),
        (_same_bits, "variance"),
        (_same_bits, "correlation of the pair"),
        (_shifted, "correlation of the squares"),
        (_eight_bit_angle, "angles"),
        (_eight_bit_angle, "distribution"),
        (_sum_of_twelve, "kurtosis"),
        (_each_twice, "correlation with the next"),
    ],
)
def test_wrong_generators_are_refused(wrong, seen_by):
    assert seen_by in _failed(_z_scores(_pairs(N_PAIRS, wrong, _rng())))


def test_tail_is_as_long_as_it_should_be_which_that_of_wrong_generators_is_not():
    assert _failed(_z_of_tail(gaussian._fill)) == set()
    assert "numbers beyond 4.5" in _failed(_z_of_tail(_shifted))
    assert "pairs beyond 4.95" in _failed(_z_of_tail(_sixteen_bits))


class _Chosen:
    """A generator whose integers, and then whose fractions, are given."""

    def __init__(self, words: list[int], fractions: list[float]) -> None:
        self._words, self._fractions = words, fractions

    def integers(self, low, high, size, dtype, endpoint):
        return np.array(self._words, np.uint64)

    def random(self, size):
        assert size == len(self._fractions)
        return np.array(self._fractions)


def _radius_of(whole: int, fraction: float | None) -> float:
    """The radius made from the integer ``whole``; an angle of 0 leaves it as it is."""
    noise = np.empty(4, np.float32)
    ordinary = 2**30  # of the other pair, which needs no further digits
    fractions = [] if fraction is None else [fraction]
    gaussian._fill(noise, _Chosen([whole % 2**32 | ordinary << 32, 0], fractions))
    return float(noise[0])


def test_tail_goes_on_where_32_bits_end():
    unit = 2.0**-31
    for whole, fraction in ((0, 0.75), (0, 0.5 + 1e-9), (0, 0.5), (1, 0.0), (1, 0.999), (200, 0.3), (-200, 0.3)):
        share = max(abs(abs(whole) + fraction - 0.5), 2.0**-50) * unit
        expected = math.sqrt(-2 * math.log(share))
        assert _radius_of(whole, fraction) == pytest.approx(expected, rel=1e-6)
    assert _radius_of(1000, None) == pytest.approx(math.sqrt(-2 * math.log(1000.5 * unit)), rel=1e-6)
    assert _radius_of(0, 0.5) > 10


def test_refined_and_plain_integers_meet_without_gap_or_overlap():
    # around each integer the fraction spreads over exactly one unit, so all shares are equally likely up to the next
    fractions = np.linspace(0, 1, 2001)[:-1] + 0.25 / 1000
    shares = []
    for whole in range(-3, 4):
        repeated = np.full(len(fractions), abs(whole), np.float32)
        further = gaussian._further_digits(repeated, _Chosen([], fractions.tolist()))
        shares.append(repeated + further)
    counts, _ = np.histogram(np.concatenate(shares), bins=7, range=(0, 3.5))
    np.testing.assert_allclose(counts, 2000, atol=2)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 131_071, 131_073, 300_001])
def test_any_count_is_drawn_from_the_generator_alone(n):
    numbers = standard_normal(n, _rng(4))
    assert numbers.shape == (n,)
    assert numbers.dtype == np.float32
    assert np.isfinite(numbers).all()
    torch.manual_seed(1)
    assert np.array_equal(numbers, standard_normal(n, _rng(4)))
    assert n < 2 or not np.array_equal(numbers, standard_normal(n, _rng(5)))


def test_blocks_are_not_repeated():
    numbers = standard_normal(4 * 65_536, _rng()).reshape(2, -1)
    z = float((numbers[0] * numbers[1]).mean(dtype=float)) * math.sqrt(numbers.shape[1])
    assert abs(z) < 5
