import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from dpcxr_core.privacy.bookkeeping import attach
from dpcxr_core.privacy.copies import ReshapedVector, copies_of
from dpcxr_core.privacy.errors import UnsupportedLayerError


def test_reshaped_vector_refuses_a_use_it_does_not_know():
    vector = ReshapedVector(nn.Parameter(torch.ones(4)), 2, recorder=None)
    with pytest.raises(UnsupportedLayerError, match="reshaped to"):
        vector.reshape(4, 1, 1)
    with pytest.raises(TypeError):
        torch.ones(2, 4) * vector


def test_position_embedding_that_is_resampled_is_refused_by_name():
    model = VisionTransformer(img_size=32, embed_dim=24, depth=1, num_heads=2, num_classes=2, dynamic_img_size=True)
    with pytest.raises(UnsupportedLayerError, match="dynamic_img_size"):
        attach(model)


def test_module_with_a_parameter_that_no_rule_copies_has_no_copies():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))

    assert copies_of("path", Own()) == {}
    with pytest.raises(UnsupportedLayerError, match=r"Own with parameters \['cls_token'\]"):
        attach(Own())
