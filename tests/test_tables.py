import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import FINDINGS, UserError
from dpcxr_core.tables import COHORT, METRICS, SCORES, checked


def _cohort(**changes):
    row = {
        "dataset": "sim-a",
        "image_id": "i1",
        "patient_id": "p1",
        "split": "train",
        "view": None,
        "sex": "F",
        "age_years": np.nan,
        "path": None,
        **dict.fromkeys(FINDINGS, 1),
    }
    return pd.DataFrame([{**row, **changes}])


def _scores(**changes):
    row = {
        "run_id": "r",
        "dataset": "sim-a",
        "image_id": "i1",
        "patient_id": "p1",
        "finding": "pneumonia",
        "y_true": 1.0,
        "y_score": 0.3,
    }
    return pd.DataFrame([{**row, **changes}])


def test_cohort_contract_accepts_missing_demographics_and_labels():
    table = checked(_cohort(sex=None, pneumonia=np.nan), COHORT)
    assert table["pneumonia"].isna().all()


@pytest.mark.parametrize(
    ("column", "value"),
    [("age_years", 411.0), ("sex", "Female"), ("split", "dev"), ("view", "LATERAL"), ("pneumonia", -1.0)],
)
def test_cohort_contract_names_the_column_and_the_value_out_of_range(column, value):
    with pytest.raises(UserError, match=f"{column}.*{value}"):
        checked(_cohort(**{column: value}), COHORT)


def test_cohort_contract_refuses_an_image_listed_twice():
    with pytest.raises(UserError, match="image_id"):
        checked(pd.concat([_cohort(), _cohort()], ignore_index=True), COHORT)


def test_scores_contract_refuses_a_logit():
    with pytest.raises(UserError, match="y_score"):
        checked(_scores(y_score=2.3), SCORES)


def test_missing_columns_are_named():
    with pytest.raises(UserError, match=r"lacks the columns \['y_score'\]"):
        checked(_scores().drop(columns="y_score"), SCORES)


def test_metrics_contract_refuses_an_unknown_column():
    row = dict.fromkeys(METRICS.columns, "x") | {
        "n": 1,
        "n_positive": 0,
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "noise_floor": float("nan"),
    }
    assert len(checked(pd.DataFrame([row]), METRICS)) == 1
    with pytest.raises(UserError, match="noise_floor"):
        checked(pd.DataFrame([row | {"noise_floor": -0.1}]), METRICS)
    with pytest.raises(UserError, match="extra"):
        checked(pd.DataFrame([row | {"extra": 1}]), METRICS)
