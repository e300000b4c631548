import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from dpcxr_core.evaluation.representation.association import rank_associations

MODELS = pd.DataFrame(
    {
        "init_label": ["x"] * 4 + ["y"] * 4,
        "auroc": [0.6, 0.7, 0.8, 0.9, 0.1, 0.2, 0.3, 0.4],
        "gap": [4.0, 3.0, 2.0, 1.0, 0.4, 0.3, 0.2, 0.1],
        "constant": 1.0,
    }
)


def test_ranks_are_compared_over_all_and_within_each_group():
    found = rank_associations(MODELS, "auroc", ["gap"], "init_label").set_index("group")
    assert found["n"].to_dict() == {"all": 8, "x": 4, "y": 4}
    assert found["rho"]["x"] == pytest.approx(-1)
    assert found["rho"]["y"] == pytest.approx(-1)
    # groups apart in both turn the sign over all models: why each group is looked at alone
    assert found["rho"]["all"] == pytest.approx(spearmanr(MODELS["auroc"], MODELS["gap"]).statistic)
    assert found["rho"]["all"] > 0
    assert set(found["reason"]) == {""}


def test_few_models_or_one_value_have_no_correlation():
    models = MODELS.assign(gap=MODELS["gap"].where(MODELS.index > 1))
    found = rank_associations(models, "auroc", ["gap", "constant"], "init_label").set_index(["group", "measure"])
    assert found.loc[("x", "gap"), ["n", "reason"]].to_list() == [2, "fewer than 4 models"]
    assert found.loc[("y", "constant"), "reason"] == "one value in all models"
    assert np.isnan(found.loc[[("x", "gap"), ("y", "constant")], "rho"]).all()
