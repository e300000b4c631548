from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.gradient_comparison import GRADIENTS, compare_trainings, final_aurocs, survey_networks
from dpcxr_core.privacy.opacus_engine import OpacusMethod
from dpcxr_core.training.gradient_survey import survey_gradients


def test_networks_side_by_side_give_what_they_give_alone():
    networks, methods = ["timm/convnext_mini", "timm/convnext_femto"], [OpacusMethod("hooks")]
    together = survey_networks(networks, methods, n_jobs=2)
    assert list(together.cases["network"].unique()) == networks
    alone = survey_gradients(networks[:1], methods, n_images=2)
    pd.testing.assert_frame_equal(together.cases.iloc[: len(alone.cases)], alone.cases, rtol=1e-3)
    pd.testing.assert_frame_equal(together.layers.iloc[: len(alone.layers)], alone.layers, rtol=1e-3, atol=1e-5)


def test_each_training_is_scored_on_the_way_and_right_gradients_agree(tiny_study):
    private = next(config for config in tiny_study.configs if config.kind == "private" and config.seed == 0)
    config = replace(private, init_name="convnext_mini.random", privacy=replace(private.privacy, n_steps=3))
    losses, aurocs = compare_trainings([config], tiny_study.places, n_looks=2, n_jobs=1)
    assert losses.groupby("gradients", sort=False)["step"].agg(list).to_dict() == dict.fromkeys(GRADIENTS, [0, 1, 2])
    assert aurocs.groupby("gradients", sort=False)["step"].agg(list).to_dict() == dict.fromkeys(GRADIENTS, [1, 2])
    assert aurocs["auroc"].between(0, 1).all()
    last = final_aurocs(aurocs)
    assert list(last.columns) == list(GRADIENTS)
    assert last.index.to_list() == [("random", 0)]
    shipped, cured, ours = last.iloc[0]
    assert cured == pytest.approx(ours, abs=1e-3)
    assert shipped != pytest.approx(ours, abs=1e-6)
    first = losses[losses["step"] == 0]["loss"]  # before any update, on the same draws
    assert np.ptp(first) < 1e-5


def test_nothing_to_compare_gives_empty_tables_and_no_look_is_refused(tiny_study):
    losses, aurocs = compare_trainings([], tiny_study.places, n_looks=1, n_jobs=1)
    assert losses.empty
    assert aurocs.empty
    assert {"gradients", "seed", "step", "auroc"} <= set(aurocs.columns)
    with pytest.raises(UserError, match="n_looks"):
        compare_trainings([], tiny_study.places, n_looks=0, n_jobs=1)
