"""The noise multiplier for any target, rate, length and delta of practice, looked up in a table of estimates.

The table answers in microseconds and in a page without a kernel; ``accounting.quick`` made it, and its estimates are
never a claim. It lies beside this file, with the error of looking things up in it, measured. To make it anew, a
minute: ``python -m dpcxr_core.accounting.noise_table``.
"""

from __future__ import annotations

import base64
import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from dpcxr_core.accounting.quick import gaussian_limit, quick_epsilons, quick_noise_multiplier
from dpcxr_core.accounting.quick_rdp import quick_epsilons_rdp, quick_noise_multiplier_rdp
from dpcxr_core.config import UserError
from dpcxr_core.files import write_json

TABLE_FILE = Path(__file__).with_suffix(".json")
# Powers of two, so that passes over rate is a whole number of steps at every node.
RATES = tuple(2.0**-k for k in range(13))
PASSES = tuple(2.0**k for k in range(9))
DELTAS = tuple(10.0**-k for k in range(3, 9))
EPSILONS = tuple(float(epsilon) for epsilon in np.geomspace(0.05, 10.0, 18))
_LEVELS = 65535  # a value takes two bytes
_NOISES, _NOISES_RDP = 16, 64  # noises of a run whose epsilons are turned round
_SMALLEST_EPSILON = 1e-3


@dataclass(frozen=True, eq=False)
class NoiseTable:
    """Logarithms of noise multipliers on an even grid of logarithms.

    Attributes:
        log_noise: Shape (rates, passes, deltas, epsilons), by composition of privacy losses.
        log_noise_rdp: The same by Renyi accounting.
        largest_error: Largest relative error found when ``log_noise`` was looked up between nodes.
        largest_error_rdp: The same of ``log_noise_rdp``, which bends sharply where few large losses decide.
        n_errors: At how many random places.
    """

    log_noise: np.ndarray
    log_noise_rdp: np.ndarray
    largest_error: float
    largest_error_rdp: float
    n_errors: int

    def noise_multiplier(self, *, target_epsilon: float, delta: float, sample_rate: float, passes: float) -> float:
        """An estimate of the noise multiplier; ``passes`` is the sample rate times the steps.

        Raises:
            UserError: A value lies outside the table.
        """
        return _looked_up(self.log_noise, (sample_rate, passes, delta, target_epsilon))

    def noise_multiplier_rdp(self, *, target_epsilon: float, delta: float, sample_rate: float, passes: float) -> float:
        """What Renyi accounting would ask for; arguments and errors as above."""
        return _looked_up(self.log_noise_rdp, (sample_rate, passes, delta, target_epsilon))


@functools.cache
def noise_table() -> NoiseTable:
    """The table that lies beside this file."""
    stored = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
    shape = tuple(len(axis["nodes"]) for axis in stored["axes"])
    return NoiseTable(
        log_noise=_unpacked(stored["log_noise"], shape),
        log_noise_rdp=_unpacked(stored["log_noise_rdp"], shape),
        largest_error=stored["largest_error"],
        largest_error_rdp=stored["largest_error_rdp"],
        n_errors=stored["n_errors"],
    )


def make_noise_table(n_errors: int) -> NoiseTable:
    """The table, computed, and its error measured at ``n_errors`` random places."""
    shape = (len(RATES), len(PASSES), len(DELTAS), len(EPSILONS))
    log_noise, log_noise_rdp = np.empty(shape), np.empty(shape)
    for i, rate in enumerate(RATES):
        for j, passes in enumerate(PASSES):
            n_steps = round(passes / rate)
            log_noise[i, j] = _of_one_run(functools.partial(_by_losses, rate, n_steps), rate, n_steps, _NOISES)
            log_noise_rdp[i, j] = _of_one_run(functools.partial(_by_rdp, rate, n_steps), rate, n_steps, _NOISES_RDP)
    table = NoiseTable(log_noise, log_noise_rdp, math.nan, math.nan, 0)
    rng = np.random.default_rng(0)
    errors = np.array([lookup_errors(table, rng) for _ in range(n_errors)])
    by_losses, by_rdp = errors.max(axis=0)
    return NoiseTable(log_noise, log_noise_rdp, float(by_losses), float(by_rdp), n_errors)


def lookup_errors(table: NoiseTable, rng: np.random.Generator) -> tuple[float, float]:
    """Relative errors of both noise multipliers at one random place, against the accountants behind them."""
    rate, n_steps, delta, epsilon = _random_place(rng)
    by_losses = quick_noise_multiplier(target_epsilon=epsilon, delta=delta, sample_rate=rate, n_steps=n_steps)
    by_rdp = quick_noise_multiplier_rdp(target_epsilon=epsilon, delta=delta, sample_rate=rate, n_steps=n_steps)
    place = {"target_epsilon": epsilon, "delta": delta, "sample_rate": rate, "passes": n_steps * rate}
    return abs(table.noise_multiplier(**place) / by_losses - 1), abs(table.noise_multiplier_rdp(**place) / by_rdp - 1)


def packed_table(table: NoiseTable) -> dict[str, Any]:
    """What the page and ``noise_table`` read: axes, and values of two bytes each in base64."""
    return {
        "axes": [{"name": name, "nodes": list(nodes)} for name, nodes in _AXES.items()],
        "largest_error": round(table.largest_error, 5),
        "largest_error_rdp": round(table.largest_error_rdp, 5),
        "n_errors": table.n_errors,
        "log_noise": _packed(table.log_noise),
        "log_noise_rdp": _packed(table.log_noise_rdp),
    }


_AXES: dict[str, Sequence[float]] = {
    "sample_rate": RATES,
    "passes": PASSES,
    "delta": DELTAS,
    "target_epsilon": EPSILONS,
}


def _looked_up(values: np.ndarray, where: tuple[float, ...]) -> float:
    """Cubic interpolation along one axis after the other; the page does the same (noise_explorer.js)."""
    for (name, nodes), value in zip(_AXES.items(), where, strict=True):
        low, high = min(nodes), max(nodes)
        if not low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
            raise UserError(f"{name} must be from {low:g} to {high:g} to be looked up; got {value:g}")
        step = math.log(nodes[1] / nodes[0])
        position = math.log(value / nodes[0]) / step
        first = min(max(math.floor(position) - 1, 0), len(nodes) - 4)
        t = position - first
        weights = [
            -(t - 1) * (t - 2) * (t - 3) / 6,
            t * (t - 2) * (t - 3) / 2,
            -t * (t - 1) * (t - 3) / 2,
            t * (t - 1) * (t - 2) / 6,
        ]
        values = np.tensordot(weights, values[first : first + 4], 1)
    return math.exp(float(values))


def _random_place(rng: np.random.Generator) -> tuple[float, int, float, float]:
    """Rate, steps, delta and epsilon, log-uniform within the table."""
    while True:
        rate, passes, delta, epsilon = (
            math.exp(rng.uniform(math.log(min(nodes)), math.log(max(nodes)))) for nodes in _AXES.values()
        )
        n_steps = round(passes / rate)
        if min(PASSES) <= n_steps * rate <= max(PASSES):
            return rate, n_steps, delta, epsilon


def _by_losses(rate: float, n_steps: int, noises: Sequence[float]) -> np.ndarray:
    return np.array([quick_epsilons(noise, rate, n_steps, DELTAS) for noise in noises])


def _by_rdp(rate: float, n_steps: int, noises: Sequence[float]) -> np.ndarray:
    return quick_epsilons_rdp(noises, rate, n_steps, DELTAS)


def _of_one_run(
    epsilons_of: Callable[[Sequence[float]], np.ndarray], rate: float, n_steps: int, n_noises: int
) -> np.ndarray:
    """Log noise of one rate and length at all deltas and epsilons: epsilons of some noises, turned round."""
    low = gaussian_limit(EPSILONS[-1], max(DELTAS), rate, n_steps)
    high = gaussian_limit(EPSILONS[0], min(DELTAS), rate, n_steps)
    while epsilons_of([low])[0].min() <= EPSILONS[-1]:
        low *= 0.95
    while epsilons_of([high])[0].max() >= EPSILONS[0]:
        high *= 1.1
    noises = np.geomspace(low, high, n_noises)
    epsilons = epsilons_of([float(noise) for noise in noises])
    found = np.empty((len(DELTAS), len(EPSILONS)))
    for column in range(len(DELTAS)):
        known = epsilons[:, column] > _SMALLEST_EPSILON
        rising = np.log(epsilons[known, column])[::-1], np.log(noises[known])[::-1]
        found[column] = Akima1DInterpolator(*rising, method="makima", extrapolate=True)(np.log(EPSILONS))
    return found


def _packed(values: np.ndarray) -> dict[str, float | str]:
    low, high = float(values.min()), float(values.max())
    levels = np.rint((values - low) / (high - low) * _LEVELS).astype("<u2")
    return {"low": low, "high": high, "levels": base64.b64encode(levels.tobytes()).decode()}


def _unpacked(packed: dict, shape: tuple[int, ...]) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(packed["levels"]), dtype="<u2").reshape(shape)
    return packed["low"] + levels * ((packed["high"] - packed["low"]) / _LEVELS)


if __name__ == "__main__":
    write_json(TABLE_FILE, packed_table(make_noise_table(n_errors=300)))
