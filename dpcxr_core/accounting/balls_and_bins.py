"""Balls-and-bins sampling: an upper bound on epsilon by numerical integration, and a simulation to check it.

Every unit is thrown into one random step of each pass. For adding or removing a unit, the worst case of one pass is
one Gaussian a step, one of them, at random, shifted by the clip norm. With ``x`` drawn without the unit, the
likelihood ratio of a pass is an average of independent log-normal numbers, ``exp((x - 1/2) / noise^2)``, and delta
is the mean of a convex function of each of them. Spreading a number over the two neighbouring points of a grid so
that its mean stays can therefore only raise delta, in both directions; and averages are again spread onto the
grid. No sample is drawn, so the bound holds up to the rounding of floating-point numbers.

Source:
    Worst case: Chua et al. (2024), Balls-and-bins sampling for DP-SGD, arXiv:2412.16802. Spreading: Doroshenko et
    al. (2022), arXiv:2207.04380.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from dpcxr_core.accounting.loss_grids import LossGrid, composed, composed_from_below, epsilon_of
from dpcxr_core.accounting.passes import batches_per_pass
from dpcxr_core.accounting.values import check_values
from dpcxr_core.config import UserError

_LEAST_NOISE = 0.1
_REACH = 8.0  # standard deviations of one coordinate; beyond are some 1e-15
_N_POINTS = 4_000  # of the grid of the logarithm of one log-normal number
_N_CELLS = 1_500  # the same for the lower bound, whose averages take all pairs of cells
_Law = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Atoms:
    """A law of numbers, not on a grid, but at most one in each cell of one; without the unit."""

    values: _Law
    mass: _Law
    interval: float


def epsilon_balls_and_bins(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """Upper bound on epsilon for adding or removing one unit.

    Args:
        noise_multiplier: Noise standard deviation over the clip norm, positive.
        sample_rate: Chance that one unit enters one step, in (0, 1]; a pass has as many steps as fit, and what is
            missing to one is the chance that a unit stays out of a pass.
        n_steps: Number of steps; the last pass need not be whole.
        delta: Chance allowed for the guarantee to fail, in (0, 1).

    Raises:
        UserError: A value is outside its range.
    """
    _check(noise_multiplier, sample_rate, n_steps, delta)
    n_bins = batches_per_pass(sample_rate)
    n_passes, n_left = divmod(n_steps, n_bins)
    single, centre, interval, left_out = _single_number(noise_multiplier)
    passes = [
        (_ratio_of_pass(single, centre, interval, n_seen, sample_rate), n)
        for n_seen, n in ((n_bins, n_passes), (n_left, 1))
        if n_seen and n
    ]
    left = delta - n_steps * left_out
    logs = (np.arange(len(single)) - centre) * interval
    with_unit = [(LossGrid(law * np.exp(logs), -centre, interval), n) for law, n in passes]
    without = [(LossGrid(law[::-1], -(len(law) - 1 - centre), interval), n) for law, n in passes]
    return max(epsilon_of(composed([(_trimmed(grid), n) for grid, n in way]), left) for way in (with_unit, without))


def epsilon_balls_and_bins_at_least(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> float:
    """Lower bound on the same epsilon; arguments and errors as there.

    Numbers that fall into one cell of the grid become their mean, which can only lower delta; in the end losses
    are rounded down.
    """
    _check(noise_multiplier, sample_rate, n_steps, delta)
    n_bins = batches_per_pass(sample_rate)
    n_passes, n_left = divmod(n_steps, n_bins)
    single = _single_atoms(noise_multiplier)
    passes = [
        (_atoms_of_pass(single, n_seen, sample_rate), n)
        for n_seen, n in ((n_bins, n_passes), (n_left, 1))
        if n_seen and n
    ]
    with_unit = [(np.log(atoms.values), atoms.mass * atoms.values, n) for atoms, n in passes]
    without = [(-np.log(atoms.values), atoms.mass, n) for atoms, n in passes]
    return max(epsilon_of(composed_from_below(way), delta) for way in (with_unit, without))


def _check(noise_multiplier: float, sample_rate: float, n_steps: int, delta: float) -> None:
    check_values(noise_multiplier, sample_rate, n_steps, delta)
    if noise_multiplier < _LEAST_NOISE:
        raise UserError(
            f"noise_multiplier must be at least {_LEAST_NOISE} for balls and bins; got {noise_multiplier}. With less, "
            "likelihood ratios are too large to be averaged, and no guarantee is worth the name."
        )


def _single_number(noise_multiplier: float) -> tuple[_Law, int, float, float]:
    """Law of the logarithm of one log-normal number on a grid, the place of zero, the interval, and what is left out.

    Masses are without the unit; each cell is spread onto its ends so that mass and mean stay.
    """
    low = (-_REACH * noise_multiplier - 0.5) / noise_multiplier**2
    high = (1 + _REACH * noise_multiplier - 0.5) / noise_multiplier**2
    interval = (high - low) / _N_POINTS
    centre = math.ceil(-low / interval)
    logs = (np.arange(centre + math.ceil(high / interval) + 1) - centre) * interval
    at: _Law = np.asarray(noise_multiplier * logs + 0.5 / noise_multiplier, dtype=np.float64)  # in standard deviations
    mass, mean = _cells(at), _cells(at - 1 / noise_multiplier)  # the mean of a cell is its mass with the unit
    values = np.exp(logs)
    upper = np.clip((mean - values[:-1] * mass) / np.diff(values), 0.0, mass)
    law = np.zeros(len(logs))
    law[1:] += upper
    law[:-1] += mass - upper
    left_out = float(
        ndtr(at[0]) + ndtr(-at[-1]) + ndtr(at[0] - 1 / noise_multiplier) + ndtr(1 / noise_multiplier - at[-1])
    )
    return law, centre, interval, left_out


def _cells(at: _Law) -> _Law:
    """Normal mass between neighbouring points, from the tail that keeps more digits."""
    return np.where(at[1:] < 0, np.diff(ndtr(at)), -np.diff(ndtr(-at)))


def _ratio_of_pass(single: _Law, centre: int, interval: float, n_seen: int, sample_rate: float) -> _Law:
    """Law of the likelihood ratio of one pass of which ``n_seen`` steps are seen, without the unit."""
    law, n = single, 1
    for digit in bin(n_seen)[3:]:  # doubling and adding one, from the second binary digit on
        law, n = _averaged(law, law, 0.5, interval), 2 * n
        if digit == "1":
            law, n = _averaged(law, single, n / (n + 1), interval), n + 1
    chance = min(1.0, n_seen * sample_rate)
    if chance > 1 - 1e-9:
        return law
    constant = np.zeros(len(single))
    constant[centre] = 1.0  # a unit that is in no step that is seen changes nothing
    return _averaged(law, constant, chance, interval)


def _averaged(first: _Law, second: _Law, weight: float, interval: float) -> _Law:
    """Law of ``weight`` times one number plus one minus ``weight`` times another, as logarithms on one grid.

    For all pairs of points at one distance, the average is equally far from the first point, so each distance is
    one multiplication of shifted laws.
    """
    n_points = len(first)
    result = np.zeros(n_points + 1)
    for distance in range(1 - n_points, n_points):
        begin, end = max(0, -distance), min(n_points, n_points - distance)
        joint = first[begin:end] * second[begin + distance : end + distance]
        offset = np.logaddexp(math.log(weight), math.log1p(-weight) + distance * interval) / interval
        offset = min(max(offset, min(0, distance)), max(0, distance))  # between the two, also as rounded
        whole = math.floor(offset)
        share = math.expm1((offset - whole) * interval) / math.expm1(interval)  # keeps the mean
        result[begin + whole : end + whole] += (1 - share) * joint
        result[begin + whole + 1 : end + whole + 1] += share * joint
    return result[:n_points]


def _trimmed(grid: LossGrid) -> LossGrid:
    """Without the ends where there is no mass."""
    some = np.flatnonzero(grid.mass > 0)
    return LossGrid(grid.mass[some[0] : some[-1] + 1], grid.first + int(some[0]), grid.interval)


def _single_atoms(noise_multiplier: float) -> _Atoms:
    """One log-normal number, each cell at its mean."""
    ends: _Law = np.linspace(-_REACH, 1 / noise_multiplier + _REACH, _N_CELLS + 1)  # in standard deviations
    mass, mean = _cells(ends), _cells(ends - 1 / noise_multiplier)
    kept = (mass > 1e-300) & (mean > 1e-300)
    return _Atoms(mean[kept] / mass[kept], mass[kept], float(ends[1] - ends[0]) / noise_multiplier)


def _atoms_of_pass(single: _Atoms, n_seen: int, sample_rate: float) -> _Atoms:
    """As ``_ratio_of_pass``, from below."""
    atoms, n = single, 1
    for digit in bin(n_seen)[3:]:
        atoms, n = _averaged_atoms(atoms, atoms, 0.5), 2 * n
        if digit == "1":
            atoms, n = _averaged_atoms(atoms, single, n / (n + 1)), n + 1
    chance = min(1.0, n_seen * sample_rate)
    return _Atoms(chance * atoms.values + (1 - chance), atoms.mass, atoms.interval)


def _averaged_atoms(first: _Atoms, second: _Atoms, weight: float) -> _Atoms:
    """All pairs, of which those that fall into one cell become their mean."""
    values = (weight * first.values[:, None] + (1 - weight) * second.values).ravel()
    mass = (first.mass[:, None] * second.mass).ravel()
    cells = np.floor(np.log(values) / first.interval).astype(np.int64)
    cells -= cells.min()
    total, sums = np.bincount(cells, mass), np.bincount(cells, mass * values)
    kept = (total > 1e-22) | (sums > 1e-22)  # what is left out only lowers the bound
    return _Atoms(sums[kept] / total[kept], total[kept].astype(np.float64), first.interval)
