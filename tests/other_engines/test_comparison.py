from dataclasses import replace

import pandas as pd
import pytest

from dpcxr_core.config import UserError
from dpcxr_core.data.store import open_store
from dpcxr_core.other_engines import comparison
from dpcxr_core.other_engines.comparison import GRADIENTS, compare_trainings, final_aurocs, survey_networks
from dpcxr_core.other_engines.gradient_survey import survey_gradients
from dpcxr_core.other_engines.opacus_engine import OpacusMethod
from dpcxr_core.study import starts
from dpcxr_core.training.initialisation import build_initialisation


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
    aurocs = compare_trainings([config], tiny_study.places, n_looks=2, n_jobs=1)
    assert aurocs.groupby("gradients", sort=False)["step"].agg(list).to_dict() == dict.fromkeys(GRADIENTS, [1, 2])
    assert aurocs["auroc"].between(0, 1).all()
    last = final_aurocs(aurocs)
    assert list(last.columns) == list(GRADIENTS)
    assert last.index.to_list() == [("random", 0)]
    shipped, cured, ours = last.iloc[0]
    assert cured == pytest.approx(ours, abs=1e-3)
    assert shipped != pytest.approx(ours, abs=1e-6)


def test_network_is_built_for_the_images_of_the_store(tiny_study, monkeypatch):
    sizes = []

    def build(name, *, image_size=None, **choices):
        sizes.append(image_size)
        return build_initialisation(name, image_size=image_size, **choices)

    monkeypatch.setattr(starts, "build_initialisation", build)
    private = next(config for config in tiny_study.configs if config.kind == "private")
    config = replace(private, init_name="convnext_mini.random", privacy=replace(private.privacy, n_steps=1))
    comparison._train(config, "this project", tiny_study.places, n_looks=1)
    assert sizes == [open_store(tiny_study.places.store(config.dataset)).images.shape[-1]]


def test_nothing_to_compare_gives_an_empty_table_and_no_look_is_refused(tiny_study):
    aurocs = compare_trainings([], tiny_study.places, n_looks=1, n_jobs=1)
    assert aurocs.empty
    assert {"gradients", "seed", "step", "auroc"} <= set(aurocs.columns)
    with pytest.raises(UserError, match="n_looks"):
        compare_trainings([], tiny_study.places, n_looks=0, n_jobs=1)
