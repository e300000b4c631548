from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS

Tables = tuple[pd.DataFrame, pd.DataFrame]


def _tables(
    *,
    dataset: str = "north",
    n_patients: int = 200,
    images_per_patient: int = 3,
    prevalence: float = 0.3,
    signal: float = 1.0,
    run_id: str = "run-a",
    seed: int = 0,
    score_seed: int = 1,
) -> Tables:
    """A scores and a cohort table; labels depend on ``seed``, scores also on ``score_seed``."""
    rng = np.random.default_rng(seed)
    n_images = n_patients * images_per_patient
    patient = np.repeat(np.arange(n_patients), images_per_patient)
    cohort = pd.DataFrame(
        {
            "dataset": dataset,
            "image_id": [f"{dataset}-{i:05d}" for i in range(n_images)],
            "patient_id": [f"{dataset}-p{p:04d}" for p in patient],
            "split": "test",
            "view": "PA",
            "sex": rng.choice(np.array(["F", "M"], dtype=object), n_patients)[patient],
            "age_years": rng.uniform(18, 95, n_patients)[patient],
            "path": None,
            **{finding: (rng.random(n_images) < prevalence).astype(float) for finding in FINDINGS},
        }
    )
    noise = np.random.default_rng(score_seed)
    scores = pd.concat(
        [
            pd.DataFrame(
                {
                    "run_id": run_id,
                    "dataset": dataset,
                    "image_id": cohort["image_id"],
                    "patient_id": cohort["patient_id"],
                    "finding": finding,
                    "y_true": cohort[finding],
                    # two decimals, so that ties occur
                    "y_score": np.round(1 / (1 + np.exp(-noise.normal(signal * (cohort[finding] - 0.5)))), decimals=2),
                }
            )
            for finding in FINDINGS
        ],
        ignore_index=True,
    )
    return scores, cohort


@pytest.fixture
def make_tables() -> Callable[..., Tables]:
    return _tables
