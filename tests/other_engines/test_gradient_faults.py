import copy

import numpy as np
import pytest
import torch

from dpcxr_core.other_engines.gradient_faults import (
    WRONG_FROM,
    largest_contribution,
    layer_errors,
    opacus_sum,
    probe,
    sum_error,
)
from dpcxr_core.other_engines.opacus_engine import OpacusMethod
from dpcxr_core.privacy.clipping_checks import book_kept_sum, losses_of
from dpcxr_core.privacy.oracle import clipped_sum_of, gradients_one_by_one


def _oracle_sum(model, images, targets, max_grad_norm):
    return clipped_sum_of(gradients_one_by_one(model, images, targets, losses_of), max_grad_norm)


def _unclipped_sum(model, images, targets, max_grad_norm):
    return _oracle_sum(model, images, targets, 1e9)


@pytest.fixture
def probed(small_net, batch):
    return probe(small_net, *batch)


def test_sum_error_is_zero_for_the_oracle_and_sees_a_missing_clip(probed):
    assert sum_error(probed, _oracle_sum) < 1e-12
    assert sum_error(probed, book_kept_sum) < 1e-5
    assert sum_error(probed, _unclipped_sum) > WRONG_FROM


def test_largest_contribution_is_one_where_all_is_clipped_and_the_norm_where_nothing_is(probed):
    limit = 1e-2 * min(probed.norms)
    assert largest_contribution(probed, _oracle_sum, limit) == pytest.approx(1)
    assert largest_contribution(probed, book_kept_sum, limit) <= 1 + 1e-6
    assert largest_contribution(probed, _unclipped_sum, limit) == pytest.approx(max(probed.norms) / limit)


def test_network_without_layer_scale_is_wrong_in_the_depthwise_layers_too(probed):
    table = layer_errors(probed, OpacusMethod("hooks")).set_index("parameter")
    wrong = list(table[table["wrong"]].index)
    assert wrong == [name for name in table.index if name.endswith(("conv_dw.weight", "downsample.1.weight"))]
    # the view lies in the padding of a depthwise layer, so nothing is left of the gradient
    assert np.allclose(table.loc["stages.0.blocks.0.conv_dw.weight", ["gradient_error", "norm_error"]].astype(float), 1)
    assert (table.loc[~table["wrong"], "gradient_error"] < 1e-2 * WRONG_FROM).all()


def test_book_kept_sum_leaves_the_model_alone(probed):
    before = copy.deepcopy(probed.model.state_dict())
    book_kept_sum(probed.model, probed.images, probed.targets, 1.0)
    torch.testing.assert_close(probed.model.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in probed.model.parameters())
    assert not any("forward" in module.__dict__ for module in probed.model.modules())


def test_opacus_sum_is_that_of_its_method(probed):
    assert sum_error(probed, opacus_sum(OpacusMethod("hooks"))) > 0.1
    assert sum_error(probed, opacus_sum(OpacusMethod("hooks", fixed=True))) < 1e-5
