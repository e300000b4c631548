import copy

import numpy as np
import pytest
import timm
import torch
from torch import nn

from dpcxr_core.config import UserError
from dpcxr_core.privacy import selfcheck
from dpcxr_core.privacy.errors import PrivacyEngineError, UnsupportedLayerError
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.selfcheck import (
    book_kept_sum,
    brief_selfcheck,
    check_clipped_sum,
    check_contributions,
    check_noise,
    check_sampler,
    full_selfcheck,
    losses_of,
    run_selfcheck,
)


def _of_timm(architecture: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(architecture, pretrained=False, in_chans=1, num_classes=5)


def _failed(results) -> set[str]:
    return {result.name for result in results if not result.passed}


def test_every_check_passes_on_the_small_net_and_leaves_it_alone(small_net, batch):
    before = copy.deepcopy(small_net.state_dict())
    results = run_selfcheck(small_net, batch[0])
    assert _failed(results) == set()
    assert len(results) == 15
    assert all(torch.equal(before[name], value) for name, value in small_net.state_dict().items())
    assert all(parameter.grad is None for parameter in small_net.parameters())


def test_brief_check_passes_on_a_zeroed_head_and_in_channels_last(small_net):
    nn.init.zeros_(small_net.head.fc.weight)
    brief_selfcheck(small_net.eval(), (1, 64, 64))
    assert not small_net.training
    brief_selfcheck(small_net.to(memory_format=torch.channels_last), (1, 64, 64))


@pytest.mark.parametrize("architecture", ["convnext_atto", "convnextv2_atto"])
def test_architectures_pass(architecture):
    assert _failed(full_selfcheck(_of_timm(architecture), (1, 64, 64))) == set()


def test_architecture_with_a_layer_that_has_no_rule_is_refused_by_its_path():
    with pytest.raises(UnsupportedLayerError, match=r"stem\.1: SimpleNorm2d"):
        full_selfcheck(_of_timm("convnext_zepto_rms"), (1, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["convnext_tiny.dinov3_lvd1689m", "convnext_small"])
def test_study_architectures_pass(architecture):
    assert _failed(full_selfcheck(_of_timm(architecture), (1, 64, 64))) == set()


def test_too_few_images_are_refused(small_net):
    with pytest.raises(UserError, match="at least 3"):
        run_selfcheck(small_net, torch.randn(2, 1, 64, 64))


def test_patches_read_as_if_contiguous_are_refused(small_net, batch, monkeypatch):
    """The mistake of Opacus 1.6.0: strides of a contiguous image on one that is not."""
    from dpcxr_core.privacy import layers

    right = layers._dense_record

    def misread(weight, x, gradient, **geometry):
        wrong = x.as_strided(x.shape, torch.empty(x.shape).stride())
        return right(weight, wrong, gradient, **geometry)

    monkeypatch.setattr(layers, "_dense_record", misread)
    assert "clipped sum, contiguous" in _failed(check_clipped_sum(small_net, *batch))


def test_sums_without_clipping_are_refused(small_net, batch):
    def unclipped(model, images, targets, max_grad_norm):
        return book_kept_sum(model, images, targets, 1e9)

    assert not check_contributions(small_net, *batch, clipped_sum=unclipped).passed
    assert _failed(check_clipped_sum(small_net, *batch, clipped_sum=unclipped)) >= {"clipped sum, contiguous"}


def test_clipping_the_mean_instead_of_each_image_is_refused(small_net, batch):
    def clipped_together(model, images, targets, max_grad_norm):
        losses_of(model(images), targets).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        found = {name: p.grad.clone() for name, p in model.named_parameters()}
        model.zero_grad()
        return found

    assert not check_contributions(small_net, *batch, clipped_sum=clipped_together).passed
    assert _failed(check_clipped_sum(small_net, *batch, clipped_sum=clipped_together))


def test_image_that_is_not_finite_must_contribute_nothing(small_net, batch):
    def without_guard(model, images, targets, max_grad_norm):
        found = book_kept_sum(model, images, targets, max_grad_norm)
        if not images.isfinite().all():
            next(iter(found.values())).fill_(torch.nan)
        return found

    result = check_contributions(small_net, *batch, clipped_sum=without_guard)
    assert not result.passed
    assert check_contributions(small_net, *batch).passed


def _scaled(factor):
    def mechanism(parameters, specification, generator):
        privatise(parameters, specification, generator)
        for parameter in parameters:
            parameter.grad.mul_(factor)

    return mechanism


def _repeated(parameters, specification, generator):
    privatise(parameters, specification, np.random.default_rng(0))


def _uniform(parameters, specification, rng):
    width = specification.noise_std * 12**0.5 / specification.expected_batch_size
    for parameter in parameters:
        parameter.grad = torch.from_numpy((rng.random(parameter.shape, np.float32) - 0.5) * np.float32(width))


@pytest.mark.parametrize(
    ("mechanism", "refused_by"),
    [
        (_scaled(0.5), "noise variance"),
        (_scaled(1.02), "noise variance"),
        (_scaled(1 / 0.7), "noise variance"),  # the clip norm forgotten
        (_repeated, "noise of two steps"),
        (_uniform, "noise shape"),
    ],
)
def test_wrong_noise_is_refused(mechanism, refused_by):
    assert refused_by in _failed(check_noise(mechanism=mechanism))
    assert _failed(check_noise()) == set()


def _fixed_size(specification, n_units, rng):
    for _ in range(specification.n_steps):
        yield rng.choice(n_units, size=round(n_units * specification.sample_rate), replace=False)


def _shuffled(specification, n_units, rng):
    size = round(n_units * specification.sample_rate)
    order = np.empty(0, dtype=np.int64)
    for _ in range(specification.n_steps):
        if len(order) < size:
            order = rng.permutation(n_units)
        yield order[:size]
        order = order[size:]


def _rate_off(specification, n_units, rng):
    for _ in range(specification.n_steps):
        yield np.flatnonzero(rng.random(n_units) < specification.sample_rate + 0.001)


def _with_replacement(specification, n_units, rng):
    for _ in range(specification.n_steps):
        yield rng.integers(n_units, size=rng.binomial(n_units, specification.sample_rate))


@pytest.mark.parametrize(
    ("sampler", "refused_by"),
    [
        (_fixed_size, "sampler variance"),
        (_shuffled, "sampler evenness"),
        (_rate_off, "sampler mean"),
        (_with_replacement, "sampler repeats"),
    ],
)
def test_wrong_samplers_are_refused(sampler, refused_by):
    assert refused_by in _failed(check_sampler(sampler=sampler))
    assert _failed(check_sampler()) == set()


def test_failed_check_stops_the_run_and_says_what_was_measured(small_net, monkeypatch):
    monkeypatch.setattr(selfcheck, "LARGEST_SUM_ERROR", 0.0)
    with pytest.raises(PrivacyEngineError, match="nothing was trained: clipped sum, contiguous: .*limit 0"):
        brief_selfcheck(small_net, (1, 64, 64))


def test_model_of_the_timm_registry_may_be_checked_as_it_is(batch):
    model = timm.create_model("convnext_atto", in_chans=1, num_classes=5, drop_path_rate=0.2)
    assert _failed(run_selfcheck(model, batch[0], brief=True)) == set()
