import numpy as np
import pytest
import torch
from torchvision.ops import StochasticDepth

from dpcxr_core.config import UserError
from dpcxr_core.other_engines.gradient_survey import (
    OURS,
    public_convnext,
    random_batch,
    survey_gradients,
)
from dpcxr_core.other_engines.opacus_engine import OpacusMethod
from dpcxr_core.privacy.clipping_checks import MEMORY_FORMATS, losses_of

SHIPPED, CURED, GHOST = OpacusMethod("hooks"), OpacusMethod("hooks", fixed=True), OpacusMethod("ghost")


def test_survey_has_a_case_for_each_method_and_format_and_tells_right_from_wrong():
    found = survey_gradients(["timm/convnext_mini"], [SHIPPED, CURED, GHOST], memory_formats=list(MEMORY_FORMATS))
    cases = found.cases.set_index(["memory_format", "method"])
    assert len(cases) == 2 * 4
    for memory_format in MEMORY_FORMATS:
        here = cases.loc[memory_format]
        assert here.loc[SHIPPED.name, "n_wrong"] == 7  # three that halve the image, four depthwise ones
        assert here.loc[SHIPPED.name, "sum_error"] > 0.1
        assert here.loc[CURED.name, "n_wrong"] == 0
        assert here.loc[[CURED.name, OURS], "sum_error"].max() < 1e-5
        assert here.loc[OURS, "contribution"] <= 1 + 1e-6
        # a linear layer with input in four dimensions has no norm rule there
        assert here.loc[GHOST.name, "failure"].startswith("AttributeError")
        assert np.isnan(here.loc[GHOST.name, "sum_error"])
    layers = found.layers.groupby(["memory_format", "method"])["wrong"].agg(["size", "sum"])
    assert (layers["size"] == cases["n_parameters"].dropna().unique().item()).all()
    assert layers["sum"].sum() == 2 * 7


@pytest.mark.parametrize("name", ["timm/convnext_mini", "torchvision/convnext_tiny"])
def test_network_has_no_chance_and_no_constant_parameter(name):
    state = torch.random.get_rng_state()
    model, again = public_convnext(name), public_convnext(name)
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.std() > 0
    assert model.training
    assert all(module.p == 0 for module in model.modules() if isinstance(module, StochasticDepth))


def test_batch_fits_the_network():
    model = public_convnext("timm/convnext_mini")
    images, targets = random_batch(model, 2, 32)
    assert images.shape == (2, 1, 32, 32)
    assert set(targets.unique().tolist()) <= {0.0, 1.0}
    assert losses_of(model(images), targets).shape == (2,)


def test_library_must_be_named():
    with pytest.raises(UserError, match="timm/... or torchvision/...; got 'convnext_tiny'"):
        public_convnext("convnext_tiny")
