"""How the book's learning rates were chosen: on patients of the public hospital that no other number is made from.

Run with ``python -m benchmarks.tune_recipe``; about three minutes on two cores. The hospital and the patients are
public in the story of the book, so nothing here spends privacy.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pandas as pd

from dpcxr_core.accounting.calibration import specification_for
from dpcxr_core.config import EvaluationChoice, content_key
from dpcxr_core.data.simulation.prepare_simulated import prepare_simulated
from dpcxr_core.data.storing.store_finishing import made_by
from dpcxr_core.provenance import git_state
from dpcxr_core.study.evaluating import metrics_table
from dpcxr_core.study.grid import TUNED_MECHANISM, Recipe, ordinary_run, private_run
from dpcxr_core.study.places import StudyPlaces
from dpcxr_core.study.preparation import PUBLIC_HOSPITAL, DataChoice
from dpcxr_core.study.run_table import runs_table
from dpcxr_core.study.runs import run_many
from dpcxr_core.study.starting_points import StartingPoints, make_initialisations

RESULTS = Path(__file__).parent / "results"
CACHE = Path(".cache") / "tuning" / content_key(made_by())
TUNING_SEED = 100  # patients that no chapter draws
N_TEST = 2000
PRODUCTS = (0.3, 0.65, 1.3)  # learning rate times noise multiplier


def header(defaults: DataChoice, commit: str) -> str:
    """What the table was made with, for the lines above it."""
    batch, steps, norm = (TUNED_MECHANISM[name] for name in ("expected_batch_size", "n_steps", "max_grad_norm"))
    return (
        f"python -m benchmarks.tune_recipe, {datetime.now(UTC).date().isoformat()}, commit {commit}: batch {batch}, "
        f"{steps} private steps, clip norm {norm}, {defaults.n_public:,} public images, "
        f"{Recipe().ordinary_n_steps} ordinary steps; one seed, {N_TEST:,} test images of patients that no chapter "
        f"draws.\nMacro AUROC. learning_rate is learning_rate_times_noise_multiplier "
        f"({', '.join(str(product) for product in PRODUCTS)}) over the noise multiplier; NaN: without privacy."
    )


def main() -> None:
    """Print macro AUROC by learning rate, for random and domain initialisation, and keep the table."""
    commit = git_state()  # before a file of the repository changes
    defaults = DataChoice(data_source="simulated")
    prepare = partial(prepare_simulated, hospital=PUBLIC_HOSPITAL, size=defaults.image_size)
    tuning = CACHE / "stores" / "tuning"
    prepare(tuning, n_train=defaults.n_train, n_valid=200, n_test=N_TEST, seed=TUNING_SEED)
    prepare(CACHE / "stores" / PUBLIC_HOSPITAL, n_train=defaults.n_public, n_valid=0, n_test=0, seed=TUNING_SEED + 1)
    places = StudyPlaces(
        stores=CACHE / "stores",
        weights=CACHE / "weights",
        runs=CACHE / "runs",
        scores=CACHE / "scores",
        evaluations=CACHE / "evaluations",
        public_dataset=PUBLIC_HOSPITAL,
        private_dataset="tuning",
        evaluation=EvaluationChoice(n_resamples=50),
    )
    names = make_initialisations(StartingPoints(seed=TUNING_SEED), places, jobs=2)
    configs = []
    for init_name in (names[0], names[-1]):
        for target_epsilon in (1.0, 8.0):
            specification = specification_for(
                target_epsilon=target_epsilon,
                delta=1e-5,
                n_units=defaults.n_train,
                **TUNED_MECHANISM,
            )
            configs += [
                private_run(
                    "tuning",
                    init_name,
                    target_epsilon,
                    specification,
                    Recipe(learning_rate_times_noise_multiplier=rate, randomness="seeded"),
                )
                for rate in PRODUCTS
            ]
        configs += [
            ordinary_run("tuning", init_name, replace(Recipe(), ordinary_learning_rate=rate)) for rate in (1e-3, 3e-3)
        ]
    folders = run_many(configs, places, n_jobs=2)
    metrics = metrics_table(folders, places, n_jobs=2)
    macro = metrics[
        (metrics["metric"] == "auroc") & (metrics["finding"] == "macro") & (metrics["group_column"] == "all")
    ]
    rates = [config.optimisation.learning_rate for config in configs if config.optimisation]
    runs = runs_table(folders).assign(learning_rate=rates)
    table = runs.merge(macro, on="run_id").pivot_table(
        index=["init_label", "target_epsilon", "learning_rate"], values="value", dropna=False
    )
    text = pd.DataFrame(table).dropna().round(3).to_string()
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "tune_recipe.txt").write_text(f"{header(defaults, commit)}\n\n{text}\n")
    print(text)


if __name__ == "__main__":
    main()
