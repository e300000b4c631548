"""Random calibrations, none of which may exceed its target or set the accountants against each other.

Run with ``python -m benchmarks.calibration_check [--n 200] [--jobs 2]``. The table goes to
``benchmarks/results/calibration_check.csv``; the first five settings are
checked by the test suite as well. Some twenty minutes of processor time.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.made import write_made
from dpcxr_core.accounting.by_rdp import noise_multiplier_by_rdp
from dpcxr_core.accounting.calibration import specification_for
from dpcxr_core.accounting.certificate import certify
from dpcxr_core.config import UserError
from dpcxr_core.provenance import PROJECT_FOLDER, git_state
from dpcxr_core.workers import worker_pool

RESULT = PROJECT_FOLDER / "benchmarks" / "results" / "calibration_check.csv"
_RANGES = {"n_units": (500, 300_000), "batch_share": (3e-4, 0.5), "passes": (0.5, 200), "target_epsilon": (0.05, 10)}


@dataclass(frozen=True)
class Setting:
    """One random calibration; ``delta`` is between a hundredth of one over the units, and one over the units."""

    n_units: int
    expected_batch_size: int
    n_steps: int
    target_epsilon: float
    delta: float


def random_settings(n: int, seed: int = 20_260_119) -> list[Setting]:
    """``n`` settings, drawn evenly on the logarithm of each range."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        drawn = {name: math.exp(rng.uniform(*np.log(ends))) for name, ends in _RANGES.items()}
        n_units = int(drawn["n_units"])
        batch = max(1, round(drawn["batch_share"] * n_units))
        n_steps = max(1, round(drawn["passes"] * n_units / batch))
        delta = 10 ** rng.uniform(-2, 0) / n_units
        found.append(Setting(n_units, batch, n_steps, drawn["target_epsilon"], delta))
    return found


def check(setting: Setting) -> dict[str, object]:
    """The certificate's numbers for ``setting``, with the noise that RDP would ask for and the seconds it all took."""
    started = time.process_time()
    values = asdict(setting)
    specification = specification_for(**values, max_grad_norm=1.0)
    calibrated = time.process_time()
    certificate = certify(specification, setting.n_units, setting.target_epsilon)
    try:
        by_rdp = noise_multiplier_by_rdp(
            target_epsilon=setting.target_epsilon,
            delta=setting.delta,
            sample_rate=specification.sample_rate,
            n_steps=setting.n_steps,
        )
    except UserError:
        by_rdp = math.nan
    return values | {
        "noise_multiplier": specification.noise_multiplier,
        "epsilon_pld": certificate.epsilon_pld,
        "epsilon_prv_low": certificate.epsilon_prv_low,
        "epsilon_prv": certificate.epsilon_prv,
        "epsilon_rdp": certificate.epsilon_rdp,
        "noise_multiplier_rdp": by_rdp,
        "missing_because": certificate.epsilon_prv_missing_because,
        "seconds_calibrating": calibrated - started,
        "seconds_certifying": time.process_time() - calibrated,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration_check", description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    commit = git_state()
    with worker_pool(options.jobs) as pool:
        found = []
        for row in pool.map(check, random_settings(options.n)):
            found.append(row)
            print(f"{len(found)} of {options.n}", end="\r", flush=True)
    table = pd.DataFrame(found)
    table.to_csv(options.out, index=False, float_format="%.8g")
    write_made(options.out.with_suffix(".json"), commit)
    above = table["epsilon_pld"] / table["epsilon_prv"] - 1
    print(table.describe().T.to_string())
    print(f"over the target: {(table['epsilon_pld'] > table['target_epsilon']).sum()} of {len(table)}")
    print(f"no PRV: {table['epsilon_prv'].isna().sum()}; PLD above the upper end of PRV by at most {above.max():.3%}")


if __name__ == "__main__":
    main()
