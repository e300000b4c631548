from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcxr_core.config import OptimisationChoice, OrdinaryBatches, UserError
from dpcxr_core.data.images import to_input
from dpcxr_core.training.architectures import build_architecture, per_image_input
from dpcxr_core.training.pretraining import (
    PretrainingData,
    PretrainingRecipe,
    pretrain_supervised,
    take_steps,
)

RECIPE = PretrainingRecipe(
    kind="labels",
    batches=OrdinaryBatches(n_steps=40, batch_size=16),
    optimisation=OptimisationChoice(optimizer="adamw", learning_rate=3e-3),
    max_shift=1,
)


def _squares(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright square in one of four corners, and the corner of each image."""
    images = rng.integers(0, 100, (n, 32, 32), dtype=np.uint8)
    corners = rng.integers(0, 4, n)
    for image, corner in zip(images, corners, strict=True):
        top, left = 16 * (corner // 2) + 4, 16 * (corner % 2) + 4
        image[top : top + 8, left : left + 8] += 120
    return images, corners


def _logits(state: dict[str, torch.Tensor], images: np.ndarray, n_outputs: int) -> torch.Tensor:
    model = build_architecture("convnext_mini", n_outputs=n_outputs, seed=0)
    model.load_state_dict(state)
    with torch.no_grad():
        return model.eval()(to_input(images, per_image_input("convnext_mini")))


@pytest.fixture(scope="module")
def squares() -> tuple[np.ndarray, np.ndarray]:
    return _squares(160, np.random.default_rng(0))


def test_classes_are_learnt_by_images_never_seen(squares):
    images, corners = squares
    recipe = replace(RECIPE, kind="classes")
    result = pretrain_supervised(PretrainingData(images, corners, ("a", "b", "c", "d")), recipe, progress=False)
    assert result.head_outputs == ("a", "b", "c", "d")
    assert result.losses.shape == (40,)
    fresh, answer = _squares(200, np.random.default_rng(1))
    share_right = float((_logits(result.state, fresh, 4).argmax(1).numpy() == answer).mean())
    assert share_right > 0.9  # chance is 0.25, with a standard error of 0.03
    untrained = build_architecture("convnext_mini", n_outputs=4, seed=RECIPE.seed).state_dict()
    assert float((_logits(untrained, fresh, 4).argmax(1).numpy() == answer).mean()) < 0.6


def test_labels_are_learnt_and_an_unknown_label_teaches_nothing(squares):
    images, corners = squares
    top_left = np.stack([corners < 2, corners % 2 == 0, np.full(len(corners), np.nan)], 1)
    result = pretrain_supervised(PretrainingData(images, top_left, ("top", "left", "unknown")), RECIPE, progress=False)
    fresh, answer = _squares(200, np.random.default_rng(1))
    logits = _logits(result.state, fresh, 3).numpy()
    assert ((logits[:, 0] > 0) == (answer < 2)).mean() > 0.9
    # there is no weight decay, so a row of the head moves only where labels push it
    first = build_architecture("convnext_mini", n_outputs=3, seed=RECIPE.seed).get_parameter("head.fc.weight")
    last = result.state["head.fc.weight"]
    assert torch.equal(last[2], first[2])
    assert not torch.allclose(last[0], first[0])


def test_same_recipe_gives_the_same_weights_and_another_seed_does_not(squares):
    images, corners = squares
    data = PretrainingData(images, corners, ("a", "b", "c", "d"))
    recipe = replace(RECIPE, kind="classes", batches=OrdinaryBatches(n_steps=3, batch_size=8))
    first, again, other = (
        pretrain_supervised(data, each, progress=False).state["stem.0.weight"]
        for each in (recipe, recipe, replace(recipe, seed=1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_first_update_is_the_gradient_of_the_mean_loss(squares):
    images, corners = squares
    data = PretrainingData(images[:8], corners[:8], ("a", "b", "c", "d"))
    recipe = replace(
        RECIPE,
        kind="classes",
        batches=OrdinaryBatches(n_steps=1, batch_size=8),
        optimisation=OptimisationChoice(optimizer="sgd", learning_rate=0.1, momentum=0.0, warmup_fraction=0.0),
        max_shift=0,
    )
    result = pretrain_supervised(data, recipe, progress=False)
    model = build_architecture("convnext_mini", n_outputs=4, seed=recipe.seed)
    logits = model(to_input(data.images, per_image_input("convnext_mini")))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data.targets))
    loss.backward()
    assert result.losses[0] == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        # the batch is summed in another order, in float32
        expected = parameter.detach() - 0.1 * parameter.grad
        torch.testing.assert_close(result.state[name], expected, rtol=1e-4, atol=1e-6)


def test_depthwise_layers_are_the_fast_ones_for_as_long_as_it_trains():
    model = build_architecture("convnext_mini", n_outputs=4, seed=0)
    layer = model.stages[0].blocks[0].conv_dw
    seen = []

    def add_gradient(rows):
        seen.append("forward" in vars(layer))
        model(torch.zeros(2, 1, 32, 32)).sum().backward()
        return 0.0

    recipe = replace(RECIPE, batches=OrdinaryBatches(n_steps=2, batch_size=2))
    take_steps(model, recipe, 4, add_gradient, progress=False)
    assert seen == [True, True]
    assert "forward" not in vars(layer)


def test_every_image_is_used_once_before_any_is_used_twice():
    seen: list[int] = []

    def watch(rows: np.ndarray) -> float:
        seen.extend(rows.tolist())
        return 0.0

    recipe = replace(RECIPE, batches=OrdinaryBatches(n_steps=6, batch_size=4))
    take_steps(torch.nn.Linear(1, 1), recipe, 12, watch, progress=False)
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_loss_that_is_not_finite_stops_before_it_spoils_the_weights(bad):
    layer = torch.nn.Linear(1, 1)
    before = layer.weight.detach().clone()

    def diverge(rows: np.ndarray) -> float:
        (layer.weight.sum() * bad).backward()
        return bad

    with pytest.raises(UserError, match=r"diverged: the loss is (nan|inf) at step 0 of 40; lower learning_rate"):
        take_steps(layer, RECIPE, 16, diverge, progress=False)
    assert torch.equal(layer.weight, before)


def test_absurd_learning_rate_is_reported_as_divergence(squares):
    images, corners = squares
    recipe = replace(RECIPE, kind="classes", optimisation=OptimisationChoice(optimizer="sgd", learning_rate=1e30))
    with pytest.raises(UserError, match=r"diverged.*learning_rate \(1e\+30\)"):
        pretrain_supervised(PretrainingData(images, corners, ("a", "b", "c", "d")), recipe, progress=False)


@pytest.mark.parametrize(
    ("kind", "targets", "complaint"),
    [
        ("labels", np.zeros((16, 3)), r"targets must be \(n, 2\)"),
        ("labels", np.full((16, 2), 2.0), "labels must be 0, 1 or NaN"),
        ("classes", np.zeros(16), "classes must be .* integers"),
        ("classes", np.full(16, 2), "integers below 2"),
        ("classes", np.full(16, -1), "integers below 2"),
        ("labels", None, "needs targets"),
        ("vicreg", np.zeros((16, 2)), "needs targets and a kind with labels; got 'vicreg'"),
    ],
)
def test_targets_that_do_not_fit_the_kind_are_refused(kind, targets, complaint):
    data = PretrainingData(np.zeros((16, 32, 32), np.uint8), targets, ("a", "b"))
    with pytest.raises(UserError, match=complaint):
        pretrain_supervised(data, replace(RECIPE, kind=kind), progress=False)


def test_choices_and_data_out_of_range_are_refused():
    with pytest.raises(UserError, match="kind must be"):
        replace(RECIPE, kind="rotation")
    with pytest.raises(UserError, match="at least 2"):
        replace(RECIPE, kind="vicreg", batches=OrdinaryBatches(n_steps=1, batch_size=1))
    with pytest.raises(UserError, match="max_shift"):
        replace(RECIPE, max_shift=-1)
    with pytest.raises(UserError, match="seed"):
        replace(RECIPE, seed=-1)
    with pytest.raises(UserError, match="uint8"):
        PretrainingData(np.zeros((2, 32, 32)))
    with pytest.raises(UserError, match="2 images need as many targets"):
        PretrainingData(np.zeros((2, 32, 32), np.uint8), np.zeros(3))
    data = PretrainingData(np.zeros((3, 32, 32), np.uint8), np.zeros((3, 1)), ("a",))
    with pytest.raises(UserError, match="batch_size 16 is more than 3 images"):
        pretrain_supervised(data, RECIPE, progress=False)
