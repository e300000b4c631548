import json
import math

import numpy as np
import pytest

from dpcxr_core.accounting import noise_table as module
from dpcxr_core.accounting.noise_table import (
    DELTAS,
    EPSILONS,
    PASSES,
    RATES,
    TABLE_FILE,
    NoiseTable,
    lookup_errors,
    noise_table,
    packed_table,
)
from dpcxr_core.accounting.quick import quick_noise_multiplier
from dpcxr_core.config import UserError

PAPER = {"target_epsilon": 0.9, "delta": 6e-6, "sample_rate": 1024 / 86524, "passes": 2000 * 1024 / 86524}


def test_table_holds_what_the_accountant_says_at_its_nodes():
    """A table older than the accountant fails here."""
    table, rng = noise_table(), np.random.default_rng(3)
    for _ in range(6):
        i, j, k, m = (int(rng.integers(n)) for n in table.log_noise.shape)
        exact = quick_noise_multiplier(
            target_epsilon=EPSILONS[m], delta=DELTAS[k], sample_rate=RATES[i], n_steps=round(PASSES[j] / RATES[i])
        )
        assert math.exp(table.log_noise[i, j, k, m]) == pytest.approx(exact, rel=3e-3)


def test_table_between_its_nodes_errs_no_more_than_it_says():
    table, rng = noise_table(), np.random.default_rng(11)
    errors = np.array([lookup_errors(table, rng) for _ in range(8)])
    assert 0 < table.largest_error < 0.02
    assert np.all(errors.max(axis=0) <= [1.5 * table.largest_error, 1.5 * table.largest_error_rdp])


def test_paper_setting():
    table = noise_table()
    assert table.noise_multiplier(**PAPER) == pytest.approx(2.387, rel=5e-3)  # 2.391 with the claim's rounding up
    assert table.noise_multiplier_rdp(**PAPER) == pytest.approx(2.57, rel=1e-2)


def test_renyi_accounting_never_asks_for_less():
    table = noise_table()
    assert (table.log_noise_rdp - table.log_noise).min() > -0.005


def test_noise_rises_with_rate_and_passes_and_falls_with_epsilon_and_delta():
    values = noise_table().log_noise
    assert np.all(values[:-1, 1:] > values[1:, :-1])  # half the rate, as many steps
    assert np.all(np.diff(values, axis=1) > 0)
    assert np.all(np.diff(values, axis=2) > 0)  # deltas fall
    assert np.all(np.diff(values, axis=3) < 0)


@pytest.mark.parametrize(
    ("name", "value"), [("target_epsilon", 11.0), ("delta", 0.01), ("sample_rate", 1e-4), ("passes", 300.0)]
)
def test_places_outside_the_table_are_refused_by_name(name, value):
    with pytest.raises(UserError, match=name):
        noise_table().noise_multiplier(**PAPER | {name: value})


def test_lookup_is_exact_for_cubics_in_the_logarithms():
    shape = tuple(len(axis) for axis in (RATES, PASSES, DELTAS, EPSILONS))
    q, p, d, e = np.meshgrid(*(np.log(axis) for axis in (RATES, PASSES, DELTAS, EPSILONS)), indexing="ij")
    values = 0.01 * q**3 - 0.02 * p**2 + 0.03 * d - 0.1 * e**3 + 0.01 * q * e
    assert values.shape == shape
    table = NoiseTable(values, values, 0.0, 0.0, 0)
    q, p, d, e = (math.log(PAPER[name]) for name in ("sample_rate", "passes", "delta", "target_epsilon"))
    exact = 0.01 * q**3 - 0.02 * p**2 + 0.03 * d - 0.1 * e**3 + 0.01 * q * e
    assert math.log(table.noise_multiplier(**PAPER)) == pytest.approx(exact, abs=1e-9)


def test_packing_keeps_values_to_their_last_level_and_the_file_is_small():
    table = noise_table()
    packed = json.loads(json.dumps(packed_table(table)))
    assert np.allclose(module._unpacked(packed["log_noise"], table.log_noise.shape), table.log_noise, atol=1e-4)
    assert TABLE_FILE.stat().st_size < 100_000


def test_one_run_of_the_table_is_made_again():
    found = module._of_one_run(lambda noises: module._by_losses(RATES[2], 32, noises), RATES[2], 32, 16)
    assert found == pytest.approx(noise_table().log_noise[2, 3], abs=1e-3)
