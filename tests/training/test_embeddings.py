import numpy as np
import pytest
import torch

from dpcxr_core.data.images import to_input
from dpcxr_core.training.architectures import build_architecture, head_name, per_image_input
from dpcxr_core.training.embeddings import embeddings_of

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 64, 64)).astype(np.uint8)


@pytest.mark.parametrize(("architecture", "n_features"), [("convnext_mini", 96), ("vit_tiny_patch16_224", 192)])
def test_embeddings_are_what_the_head_reads(architecture, n_features):
    model = build_architecture(architecture, n_outputs=5, seed=1, image_size=64)
    transform = per_image_input(architecture)
    embeddings = embeddings_of(model, IMAGES, transform, batch_size=2)
    assert embeddings.shape == (5, n_features)
    assert embeddings.dtype == np.float32
    with torch.no_grad():
        by_embeddings = model.get_submodule(head_name(model))(torch.from_numpy(embeddings))
        by_model = model(to_input(IMAGES, transform))
    # batches of 2 and of 5 sum in another order
    torch.testing.assert_close(by_embeddings, by_model, rtol=1e-4, atol=1e-5)
    assert embeddings_of(model, IMAGES[:0], transform).shape == (0, n_features)


def test_rows_come_in_the_order_asked_for_and_from_a_model_at_rest():
    model = build_architecture("convnext_mini", n_outputs=5, seed=1).train()
    transform = per_image_input("convnext_mini")
    some = embeddings_of(model, IMAGES, transform, rows=np.array([3, 0]))
    assert not model.training
    np.testing.assert_allclose(some, embeddings_of(model, IMAGES, transform)[[3, 0]], rtol=1e-4, atol=1e-6)
