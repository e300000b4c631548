"""The layers of timm's ViTs under book-keeping, and chance inside a layer (stochastic depth, dropout)."""

import copy
from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import DropPath, SwiGLU
from timm.models.convnext import ConvNeXt
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelThingsBlock, ResPostBlock, VisionTransformer
from torch import Tensor, nn

from dpcxr_core.privacy.bookkeeping import BookKeeper, attach
from dpcxr_core.privacy.errors import UnsupportedLayerError
from dpcxr_core.privacy.oracle import clipped_sum_of, gradients_of_units, gradients_one_by_one, norm_of

IMAGE_SIZE = 32
# float32 against float64; what the engine promises for the clipped sum
TOLERANCE = 1e-5

VITS = {
    "class token": {},
    "class token apart from positions": {"no_embed_class": True},
    "without class token": {"class_token": False, "global_pool": "avg"},
    "register tokens": {"reg_tokens": 3},
    "register tokens alone": {"class_token": False, "reg_tokens": 2, "no_embed_class": True, "global_pool": "avg"},
    "layer scale": {"init_values": 0.5},
    "norm of queries and keys": {"qk_norm": True},
    "norm inside attention and mlp": {"scale_attn_norm": True, "scale_mlp_norm": True, "pre_norm": True},
    "mean over tokens": {"global_pool": "avg"},
    "no bias": {"qkv_bias": False, "proj_bias": False},
    "no position embedding": {"pos_embed": "none"},
    "norm after each branch": {"block_fn": ResPostBlock, "init_values": 0.5},
    "parallel branches": {"block_fn": ParallelThingsBlock, "init_values": 0.5},
    "gated mlp": {"mlp_layer": SwiGLU},
}
_ROTARY = {"use_rot_pos_emb": True, "rope_type": "dinov3", "rope_rotate_half": True, "use_abs_pos_emb": False}
EVAS = {
    "as DINOv3": {**_ROTARY, "num_reg_tokens": 4, "init_values": 0.5, "qkv_bias": False, "use_fc_norm": False},
    "as DINOv3 at any image size": {**_ROTARY, "num_reg_tokens": 4, "qkv_bias": False, "dynamic_img_size": True},
    "gated mlp": {**_ROTARY, "num_reg_tokens": 1, "init_values": 0.5, "qkv_bias": False, "swiglu_mlp": True},
    "without class token": {**_ROTARY, "class_token": False, "qkv_bias": False},
    "norm of queries and keys": {**_ROTARY, "qk_norm": True, "qkv_bias": False, "global_pool": "token"},
    "both position embeddings": {"use_rot_pos_emb": True, "qkv_fused": False, "scale_mlp": True, "swiglu_mlp": True},
    "norm after each branch": {"use_post_norm": True, "qkv_fused": False},
}


def _vit(**options: object) -> nn.Module:
    shared = {"img_size": IMAGE_SIZE, "patch_size": 8, "in_chans": 1, "num_classes": 5}
    return _stirred(VisionTransformer(**{**shared, "embed_dim": 32, "depth": 2, "num_heads": 4, **options}))


def _eva(**options: object) -> nn.Module:
    shared = {"img_size": IMAGE_SIZE, "patch_size": 8, "in_chans": 1, "num_classes": 5}
    return _stirred(Eva(**{**shared, "embed_dim": 32, "depth": 2, "num_heads": 2, **options}))


@torch.no_grad()
def _stirred(model: nn.Module) -> nn.Module:
    """``model`` in train mode, moved off its first weights, where tokens and biases are near zero."""
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model.train()


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)


def _batch(n_images: int, in_chans: int = 1, image_size: int = IMAGE_SIZE) -> tuple[Tensor, Tensor]:
    return torch.randn(n_images, in_chans, image_size, image_size), (torch.rand(n_images, 5) < 0.5).float()


def _difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    assert found.keys() == expected.keys()
    return norm_of({name: found[name] - expected[name] for name in expected}) / norm_of(expected)


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def _assert_matches_oracle(model: nn.Module, images: Tensor, targets: Tensor, rows_per_unit: list[int] | None = None):
    """Clipped sum, norms and input gradient of one pass, against single images in float64."""
    counts = rows_per_unit or [1] * len(images)
    # the gradient of a patient is the mean over its images: the caller divides the losses
    share = torch.cat([torch.full((count,), 1 / count) for count in counts])
    rows = gradients_one_by_one(model, images, targets, _losses)
    rows = [
        {name: part * float(part_of) for name, part in row.items()} for row, part_of in zip(rows, share, strict=True)
    ]
    oracle = gradients_of_units(rows, counts)
    norms = torch.tensor([norm_of(gradient) for gradient in oracle], dtype=torch.float64)
    max_grad_norm = 0.9 * float(norms.median()) if len(norms) > 1 else 0.5 * float(norms[0])
    images = images.clone().requires_grad_()
    (input_gradient,) = torch.autograd.grad((_losses(model(images), targets) * share).sum(), images)
    keeper = attach(model)
    losses = _losses(model(images), targets) * share
    report = keeper.add_clipped_sum(losses, max_grad_norm, rows_per_unit=rows_per_unit)
    keeper.detach()
    assert _difference(_gradients(model), clipped_sum_of(oracle, max_grad_norm)) < TOLERANCE
    torch.testing.assert_close(report.norms, norms, rtol=TOLERANCE, atol=0)
    torch.testing.assert_close(images.grad, input_gradient, rtol=1e-4, atol=1e-6)
    model.zero_grad()


@pytest.mark.parametrize("kind", VITS)
def test_vit_matches_single_images_and_patients(kind):
    torch.manual_seed(0)
    model = _vit(**VITS[kind])
    images, targets = _batch(6)
    _assert_matches_oracle(model, images, targets)
    _assert_matches_oracle(model, images, targets, [1, 3, 2])


@pytest.mark.parametrize("kind", EVAS)
def test_rotary_vit_matches_single_images_and_patients(kind):
    torch.manual_seed(0)
    model = _eva(**EVAS[kind])
    images, targets = _batch(6)
    _assert_matches_oracle(model, images, targets)
    _assert_matches_oracle(model, images, targets, [2, 2, 1, 1])


@pytest.mark.parametrize("make", [_vit, lambda: _eva(**EVAS["as DINOv3"])])
def test_every_batch_from_one_image_to_eight_matches_single_images(make):
    torch.manual_seed(0)
    model = make()
    images, targets = _batch(8)
    for n_images in range(1, 9):
        _assert_matches_oracle(model, images[:n_images], targets[:n_images])
        _assert_matches_oracle(model, images[:n_images], targets[:n_images], [n_images])


@settings(derandomize=True, deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    grid=st.integers(1, 4),
    patch_size=st.integers(1, 6),
    n_heads=st.sampled_from([1, 2, 4]),
    width=st.sampled_from([1, 3, 8]),
    options=st.sampled_from(sorted(VITS)),
)
def test_vit_of_any_shape_matches_single_images(seed, grid, patch_size, n_heads, width, options):
    torch.manual_seed(seed)
    image_size = grid * patch_size
    # a vector of two equal halves cannot be normalised: at least four channels
    shape = {"img_size": image_size, "patch_size": patch_size, "embed_dim": 4 * n_heads * width, "num_heads": n_heads}
    model = _vit(**{**VITS[options], **shape, "depth": 1})
    _assert_matches_oracle(model, *_batch(3, image_size=image_size), [2, 1])


def test_vit_tiny_of_timm_matches_single_images_in_both_memory_formats():
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=5).train()
    images, targets = _batch(3, in_chans=3, image_size=64)
    _assert_matches_oracle(model, images, targets)
    _assert_matches_oracle(model, images.to(memory_format=torch.channels_last), targets, [1, 2])


def test_frozen_tokens_are_skipped_and_the_rest_is_right():
    torch.manual_seed(0)
    model = _vit(reg_tokens=2, init_values=0.5)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in ("pos_embed", "cls_token", "patch_embed.proj.weight"))
    _assert_matches_oracle(model, *_batch(3))


def test_only_tokens_trained_is_right_too():
    torch.manual_seed(0)
    model = _eva(**EVAS["as DINOv3"])
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in ("cls_token", "reg_token"))
    _assert_matches_oracle(model, *_batch(3))


def test_attached_vit_computes_and_saves_the_same_and_survives_a_failing_forward():
    torch.manual_seed(0)
    model = _vit(reg_tokens=2)
    images, targets = _batch(2)
    names, expected = list(model.state_dict()), model(images)
    keeper = attach(model)
    torch.testing.assert_close(model(images), expected)
    with pytest.raises(AssertionError, match="doesn't match model"):
        model(images[..., :16, :16])
    assert not {"cls_token", "reg_token", "pos_embed"} & set(vars(model))
    assert list(model.state_dict()) == names
    keeper.detach()
    _losses(model(images), targets).sum().backward()
    assert model.cls_token.grad is not None


class _Replay(nn.Module):
    """Multiplies by the masks that a layer of chance drew for a batch, one image a call, in order."""

    def __init__(self, masks: Tensor) -> None:
        super().__init__()
        self.masks, self.n_calls = masks, 0

    def forward(self, x: Tensor) -> Tensor:
        self.n_calls += 1
        return x * self.masks[self.n_calls - 1 : self.n_calls]


def _record_masks(model: nn.Module) -> dict[str, Tensor]:
    """Filled, during the next forward pass, with what each layer of chance multiplies its input by."""
    masks: dict[str, Tensor] = {}

    def recorder(path: str) -> Callable:
        def draw_twice(module: nn.Module, inputs: tuple[Tensor]) -> None:
            assert path not in masks
            before = torch.get_rng_state()
            masks[path] = module.forward(torch.ones_like(inputs[0])).detach()
            torch.set_rng_state(before)  # so that the layer itself draws the same

        return draw_twice

    for path, module in model.named_modules():
        if (isinstance(module, DropPath) and module.drop_prob) or (isinstance(module, nn.Dropout) and module.p):
            module.register_forward_pre_hook(recorder(path))
    return masks


def _replaying(model: nn.Module, masks: dict[str, Tensor]) -> nn.Module:
    replaying = copy.deepcopy(model)
    for path, drawn in masks.items():
        replaying.set_submodule(path, _Replay(drawn))
    return replaying


CHANCE = {
    "ConvNeXt, stochastic depth": lambda: _stirred(
        ConvNeXt(in_chans=1, num_classes=5, depths=(1, 1, 2, 1), dims=(8, 8, 16, 16), drop_path_rate=0.6)
    ),
    "ConvNeXt, dropout": lambda: _stirred(
        ConvNeXt(in_chans=1, num_classes=5, depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), drop_rate=0.5)
    ),
    "ViT, stochastic depth": lambda: _vit(init_values=0.5, drop_path_rate=0.6),
    "ViT, dropout": lambda: _vit(drop_rate=0.3, pos_drop_rate=0.3, proj_drop_rate=0.3, attn_drop_rate=0.3),
    "DINOv3, stochastic depth": lambda: _eva(**EVAS["as DINOv3"], drop_path_rate=0.6),
    "DINOv3, dropout": lambda: _eva(**EVAS["as DINOv3"], proj_drop_rate=0.3, attn_drop_rate=0.3),
}


@pytest.mark.parametrize("kind", CHANCE)
def test_each_image_keeps_the_chance_that_was_drawn_for_it(kind):
    torch.manual_seed(0)
    model = CHANCE[kind]()
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False  # the fused kernel hides its mask; what surrounds it is the same
    plain = copy.deepcopy(model)
    masks = _record_masks(model)
    images, targets = _batch(6)
    keeper = attach(model)
    losses = _losses(model(images), targets)
    assert masks
    oracle = gradients_one_by_one(_replaying(plain, masks), images, targets, _losses)
    max_grad_norm = 0.7 * max(norm_of(gradient) for gradient in oracle)
    report = keeper.add_clipped_sum(losses, max_grad_norm)
    assert _difference(_gradients(model), clipped_sum_of(oracle, max_grad_norm)) < TOLERANCE
    norms = torch.tensor([norm_of(gradient) for gradient in oracle], dtype=torch.float64)
    torch.testing.assert_close(report.norms, norms, rtol=TOLERANCE, atol=0)
    # the test knows one image's draw from another's
    moved = _replaying(plain, {path: drawn.roll(1, 0) for path, drawn in masks.items()})
    others = gradients_one_by_one(moved, images, targets, _losses)
    assert _difference(_gradients(model), clipped_sum_of(others, max_grad_norm)) > 1e-2


def test_dropout_inside_the_fused_attention_gives_what_autograd_gives():
    torch.manual_seed(0)
    model = _vit(attn_drop_rate=0.3)
    plain = copy.deepcopy(model)
    images, targets = _batch(4)
    torch.manual_seed(7)
    _losses(plain(images), targets).sum().backward()
    keeper = attach(model)
    torch.manual_seed(7)
    keeper.add_clipped_sum(_losses(model(images), targets), 1e9)
    assert _difference(_gradients(model), _gradients(plain)) < TOLERANCE


def _attached(**options: object) -> BookKeeper:
    return attach(_vit(**options))


def test_vits_without_a_rule_are_refused_by_name():
    with pytest.raises(UnsupportedLayerError, match="the model itself: dynamic_img_size resamples"):
        _attached(dynamic_img_size=True)
    with pytest.raises(UnsupportedLayerError, match=r"^attn_pool: AttentionPoolLatent with parameters \['latent'\]"):
        _attached(global_pool="map", class_token=False)
    with pytest.raises(UnsupportedLayerError, match=r"^blocks.0.attn: EvaAttention with .*'q_bias', 'v_bias'"):
        attach(_eva(qkv_bias=True))
    with pytest.raises(UnsupportedLayerError, match=r"^rope: RotaryEmbeddingMixed with parameters \['freqs'\]"):
        attach(_eva(use_rot_pos_emb=True, rope_type="mixed", qkv_fused=False))


def test_subclass_of_a_vit_is_refused_since_it_may_use_its_tokens_in_another_way():
    class Twice(VisionTransformer):
        pass

    model = Twice(img_size=32, patch_size=8, in_chans=1, num_classes=5, embed_dim=32, depth=1, num_heads=4)
    with pytest.raises(UnsupportedLayerError, match=r"Twice with parameters \['cls_token', 'pos_embed'\]"):
        attach(model)


def test_norm_shared_by_queries_and_keys_is_refused_by_its_path():
    torch.manual_seed(0)
    model = _vit(qk_norm=True)
    model.blocks[1].attn.k_norm = model.blocks[1].attn.q_norm
    images, targets = _batch(2)
    with pytest.raises(UnsupportedLayerError, match=r"blocks.1.attn.q_norm.weight: used more than once"):
        attach(model).add_clipped_sum(_losses(model(images), targets), 1.0)


def test_tokens_shared_by_two_names_are_refused():
    model = _vit(reg_tokens=1)
    model.reg_token = model.cls_token
    # torch lists a parameter with two names once, under the first; its use under the second is not lost
    images, targets = _batch(2)
    with pytest.raises(UnsupportedLayerError, match="cls_token: gradient arrived outside the layer"):
        attach(model).add_clipped_sum(_losses(model(images), targets), 1.0)


def test_tokens_used_outside_the_forward_of_their_vit_are_refused():
    torch.manual_seed(0)
    model = _vit()
    images, _ = _batch(2)
    with pytest.raises(UnsupportedLayerError, match="cls_token: gradient arrived outside the layer that owns it"):
        attach(model).add_clipped_sum(model.forward_features(images).flatten(1).sum(1), 1.0)


def test_position_embedding_that_is_never_used_is_refused_by_name():
    torch.manual_seed(0)
    model = _vit(pos_embed="none")
    model.pos_embed = nn.Parameter(torch.randn(1, 17, 32))
    model._pos_embed = lambda x: torch.cat([model.cls_token, x], 1)
    images, targets = _batch(2)
    with pytest.raises(UnsupportedLayerError, match="pos_embed: trainable, but no gradient was recorded"):
        attach(model).add_clipped_sum(_losses(model(images), targets), 1.0)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: timm.create_model("resnet18", num_classes=5), "bn1: BatchNorm2d"),
        (lambda: _vit(norm_layer=nn.BatchNorm1d), "blocks.0.norm1: BatchNorm1d"),
        (
            lambda: ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8), conv_mlp=True, norm_layer="batchnorm2d"),
            "stem.1: BatchNorm2d",
        ),
    ],
)
def test_networks_with_batch_normalisation_are_refused_with_the_reason(make, path):
    with pytest.raises(UnsupportedLayerError, match=f"^{path} mixes the images of a batch"):
        attach(make())
