"""What resampling patients costs, beside scikit-learn: ``python -m benchmarks.resampling``.

Seconds of this process's CPU time, all its threads together, of scores shaped as those of the NIH test images: AUROC
of every finding in every group on every resample, by our sums over patients and by ``sklearn.metrics.roc_auc_score``
once per group, finding and resample; and all of ``evaluate``. They take turns. Scikit-learn's time for few resamples is
scaled to as many as ours. Results are printed and written as CSV, with where, when and by which commit beside them in
``resampling.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.made import write_made
from dpcxr_core.config import FINDINGS, EvaluationChoice
from dpcxr_core.evaluation.evaluate import evaluate
from dpcxr_core.evaluation.resampling.patients import Resamples, image_weights, of_images
from dpcxr_core.evaluation.scored_images import ScoredImages, scored_images, shared_resamples
from dpcxr_core.evaluation.statistics.auroc import weighted_aurocs
from dpcxr_core.provenance import PROJECT_FOLDER, git_state

RESULTS = PROJECT_FOLDER / "benchmarks" / "results"
PREVALENCE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resampling", description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=25_596, help="images, as in the test set of ChestX-ray14")
    parser.add_argument("--patients", type=int, default=2_797, help="patients they are of")
    parser.add_argument("--resamples", type=int, default=1_000, help="resamples of patients")
    parser.add_argument("--by-sklearn", type=int, default=20, help="resamples that scikit-learn measures")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV file")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    commit = git_state()  # before files of the repository change
    scores, cohort = random_tables(options.images, options.patients)
    table = resampling_times(scores, cohort, options.resamples, options.by_sklearn, options.rounds)
    print(summary(table).to_string(index=False))
    table.to_csv(options.out / "resampling.csv", index=False, float_format="%.6g")
    shape = {"images": options.images, "patients": options.patients}
    write_made(options.out / "resampling.json", commit, clock="CPU", **shape)


def random_tables(n_images: int, n_patients: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A scores and a cohort table of patients at random: every finding at ``PREVALENCE``, every group recorded."""
    rng = np.random.default_rng(20260101)
    patient = np.concatenate([np.arange(n_patients), rng.integers(n_patients, size=n_images - n_patients)])
    sex, age = rng.choice(np.array(["F", "M"], dtype=object), n_patients), rng.uniform(5, 95, n_patients)
    cohort = pd.DataFrame(
        {
            "dataset": "random",
            "image_id": [f"{i:07d}" for i in range(n_images)],
            "patient_id": [f"p{p:06d}" for p in patient],
            "split": "test",
            "view": rng.choice(np.array(["AP", "PA"], dtype=object), n_images),
            "sex": sex[patient],
            "age_years": age[patient],
            "path": None,
            **{finding: (rng.random(n_images) < PREVALENCE).astype(float) for finding in FINDINGS},
        }
    )
    parts = [
        cohort[["dataset", "image_id", "patient_id"]].assign(
            run_id="random",
            finding=finding,
            y_true=cohort[finding],
            y_score=1 / (1 + np.exp(2 - rng.normal(cohort[finding]))),
        )
        for finding in FINDINGS
    ]
    return pd.concat(parts, ignore_index=True), cohort


def resampling_times(
    scores: pd.DataFrame, cohort: pd.DataFrame, n_resamples: int, n_by_sklearn: int, n_rounds: int
) -> pd.DataFrame:
    """``round way resamples seconds seconds_scaled``, a row a turn of each way; scaled to ``n_resamples``.

    Every way measures the data themselves beside its resamples.

    Raises:
        AssertionError: Two ways give different AUROCs.
    """
    choice, few = (EvaluationChoice(n_resamples=n) for n in (n_resamples, n_by_sklearn))
    images = scored_images(scores, cohort, choice)[0]
    all_resamples, few_resamples = shared_resamples(images, choice), shared_resamples(images, few)
    # scikit-learn adds up at most a trapezium an image, each rounded; ours is one ratio of whole numbers
    rounding = len(images.y_true) * np.finfo(float).eps
    found, expected = aurocs(images, few_resamples), aurocs_by_sklearn(images, few_resamples)
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding)
    thresholds = dict.fromkeys(FINDINGS, 0.2)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "our AUROCs": (n_resamples, lambda: aurocs(images, all_resamples)),
        "scikit-learn's AUROCs": (n_by_sklearn, lambda: aurocs_by_sklearn(images, few_resamples)),
        "every metric of evaluate": (n_resamples, lambda: evaluate(scores, cohort, choice, thresholds)),
    }
    rows = []
    for turn in range(n_rounds):
        for way, (resamples, work) in ways.items():
            started = time.process_time()
            work()
            seconds = time.process_time() - started
            row = {"round": turn, "way": way, "resamples": resamples, "seconds": seconds}
            rows.append(row | {"seconds_scaled": seconds * (1 + n_resamples) / (1 + resamples)})
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Median and range over the turns of each way, in seconds."""
    ways = table.groupby("way", sort=False)["seconds_scaled"]
    return ways.agg(["median", "min", "max"]).reset_index()


def aurocs(images: ScoredImages, resamples: Resamples) -> NDArray[np.float64]:
    """``(n, 1 + n_resamples)``: AUROC of each group and finding, by one sum over patients each."""
    found = []
    for group, f in _groups_and_findings(images):
        of_group = of_images(resamples, group)
        y_true, y_score = images.y_true[group, f], images.y_score[group, f]
        found.append(weighted_aurocs(y_true, y_score, of_group.weights, of_group.patient_of_image))
    return np.array(found)


def aurocs_by_sklearn(images: ScoredImages, resamples: Resamples) -> NDArray[np.float64]:
    """The same, each resample written out as a table of its images."""
    found = []
    for group, f in _groups_and_findings(images):
        drawn = [np.repeat(group, row) for row in image_weights(of_images(resamples, group))]
        found.append([roc_auc_score(images.y_true[rows, f], images.y_score[rows, f]) for rows in drawn])
    return np.array(found)


def _groups_and_findings(images: ScoredImages) -> Iterator[tuple[NDArray, int]]:
    for column in images.columns:
        for group in column.groups:
            for f in range(len(images.findings)):
                yield np.flatnonzero(column.of_image == group), f


if __name__ == "__main__":
    main()
