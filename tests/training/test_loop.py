import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dpcxr_core.config import (
    FINDINGS,
    OptimisationChoice,
    OrdinaryBatches,
    PrivacySpecification,
    RunConfig,
    UserError,
)
from dpcxr_core.data.images import to_input
from dpcxr_core.privacy.sampling import poisson_draws
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.loop import (
    TrainingData,
    learning_rate_at,
    loss_per_image,
    predict,
    randomness_of,
    train,
)

SGD = OptimisationChoice(optimizer="sgd", learning_rate=0.2, momentum=0.0, warmup_fraction=0.0, schedule="constant")
PRIVACY = PrivacySpecification(
    sample_rate=0.25, n_steps=4, expected_batch_size=6, max_grad_norm=0.5, noise_multiplier=0.7, delta=1e-3
)
PRIVATE = RunConfig(
    dataset="toy",
    init_name="convnext_mini.random",
    head="reset",
    optimisation=SGD,
    privacy=PRIVACY,
    target_epsilon=9.0,
    physical_batch_size=4,
)
ORDINARY = replace(PRIVATE, privacy=None, target_epsilon=None, ordinary=OrdinaryBatches(n_steps=5, batch_size=8))


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = (rng.random((24, len(FINDINGS))) < 0.4).astype(np.float32)
    labels[::5, 2] = np.nan
    return TrainingData(rng.integers(0, 256, (24, 32, 32), np.uint8), labels)


@pytest.fixture
def start():
    return build_initialisation("convnext_mini.random", weights_dir=None, seed=0, head="reset")


def _weights(model):
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


def _by_hand(model, data, config, transform):
    """The private update as its definition reads: one image at a time, in float64, noise from the same draws."""
    model = copy.deepcopy(model).double()
    chance = randomness_of(config)
    spec = config.privacy
    for rows in poisson_draws(spec, len(data.images), chance.batches):
        total = [torch.zeros_like(parameter) for parameter in model.parameters()]
        for row in rows:
            model.zero_grad()
            logits = model(to_input(data.images[[row]], transform).double())
            loss_per_image(logits, torch.from_numpy(data.labels[[row]]).double()).sum().backward()
            norm = math.sqrt(sum(float(parameter.grad.square().sum()) for parameter in model.parameters()))
            for accumulated, parameter in zip(total, model.parameters(), strict=True):
                accumulated += parameter.grad * min(1.0, spec.max_grad_norm / norm)
        with torch.no_grad():
            for accumulated, parameter in zip(total, model.parameters(), strict=True):
                noise = torch.from_numpy(chance.noise.standard_normal(tuple(parameter.shape), dtype=np.float32))
                update = (accumulated + spec.noise_std * noise) / spec.expected_batch_size
                parameter -= config.optimisation.learning_rate * update
    return model


def test_private_training_equals_its_definition_one_image_at_a_time(data, start):
    expected = _by_hand(start.model, data, PRIVATE, start.input_transform)
    before = _weights(start.model).double()
    train(start.model, data, PRIVATE, start.input_transform, progress=False)
    moved = _weights(start.model).double() - before
    wanted = _weights(expected) - before
    # float32 sums of 24 images and four steps of momentum-free SGD
    assert float((moved - wanted).norm() / wanted.norm()) < 1e-5


def test_physical_batches_do_not_change_the_update(data, start):
    other = copy.deepcopy(start.model)
    train(start.model, data, PRIVATE, start.input_transform, progress=False)
    train(other, data, replace(PRIVATE, physical_batch_size=100), start.input_transform, progress=False)
    assert torch.allclose(_weights(start.model), _weights(other), atol=1e-6)


def test_same_seed_repeats_the_run_and_another_seed_does_not(data, start):
    models = [copy.deepcopy(start.model) for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        train(model, data, replace(PRIVATE, seed=seed), start.input_transform, progress=False)
    assert torch.equal(_weights(models[0]), _weights(models[1]))
    assert not torch.equal(_weights(models[0]), _weights(models[2]))


def test_secret_randomness_never_repeats_a_run(data, start):
    other = copy.deepcopy(start.model)
    secret = replace(PRIVATE, randomness="secret")
    train(start.model, data, secret, start.input_transform, progress=False)
    train(other, data, secret, start.input_transform, progress=False)
    assert not torch.equal(_weights(start.model), _weights(other))


def test_empty_draws_take_a_noisy_step_and_are_in_the_ledger(data, start):
    rarely = replace(PRIVACY, sample_rate=1e-9)
    before = _weights(start.model)
    trace = train(start.model, data, replace(PRIVATE, privacy=rarely), start.input_transform, progress=False)
    assert (trace.diagnostics["n_drawn"] == 0).all()
    assert len(trace.ledger) == rarely.n_steps
    moved = _weights(start.model) - before
    # four independent steps of lr * noise_std / expected batch size
    expected = SGD.learning_rate * rarely.noise_std / rarely.expected_batch_size * math.sqrt(rarely.n_steps)
    z = (float(moved.std()) / expected - 1) * math.sqrt(2 * moved.numel())
    assert abs(z) < 5


def test_an_image_that_gives_no_finite_gradient_is_counted_and_adds_nothing(data, start):
    with torch.no_grad():
        start.model.get_parameter("stem.0.weight")[0, 0, 0, 0] = torch.inf
    trace = train(start.model, data, PRIVATE, start.input_transform, progress=False)
    assert trace.diagnostics["n_non_finite"].sum() == trace.diagnostics["n_drawn"].sum() > 0


def test_ledger_holds_nothing_computed_from_images(data, start):
    trace = train(start.model, data, PRIVATE, start.input_transform, progress=False)
    assert set(trace.ledger.columns) == {"step", "learning_rate", "noise_std"}


def test_ordinary_training_equals_plain_autograd(data, start):
    plain = copy.deepcopy(start.model).train()
    train(start.model, data, ORDINARY, start.input_transform, progress=False)
    optimizer = torch.optim.SGD(plain.parameters(), lr=SGD.learning_rate)
    rng = randomness_of(ORDINARY).batches
    order, position = rng.permutation(24), 0
    for _ in range(ORDINARY.ordinary.n_steps):
        if position + 8 > 24:
            order, position = rng.permutation(24), 0
        rows = order[position : position + 8]
        position += 8
        optimizer.zero_grad()
        logits = plain(to_input(data.images[rows], start.input_transform))
        loss_per_image(logits, torch.from_numpy(data.labels[rows])).mean().backward()
        optimizer.step()
    assert torch.allclose(_weights(start.model), _weights(plain), atol=1e-5)


def test_diverging_loss_without_privacy_is_an_error_that_names_the_step(data, start):
    wild = replace(SGD, learning_rate=1e30)
    with pytest.raises(UserError, match="learning_rate"):
        train(start.model, data, replace(ORDINARY, optimisation=wild), start.input_transform, progress=False)


def test_public_only_reference_refuses_to_train(data, start):
    public = RunConfig(dataset="toy", init_name="convnext_mini.standin_domain", head="kept")
    with pytest.raises(UserError, match="public-only"):
        train(start.model, data, public, start.input_transform, progress=False)


def test_unknown_labels_add_nothing_to_the_loss():
    logits = torch.tensor([[1.0, -2.0]])
    known = loss_per_image(logits, torch.tensor([[1.0, 0.0]]))
    half = loss_per_image(logits, torch.tensor([[1.0, math.nan]]))
    expected = nn.functional.softplus(torch.tensor([-1.0, -2.0]))
    assert known.item() == pytest.approx(expected.mean().item(), rel=1e-6)
    assert half.item() == pytest.approx(expected[0].item() / 2, rel=1e-6)


def test_learning_rate_warms_up_then_falls_to_zero():
    choice = replace(SGD, warmup_fraction=0.2, schedule="cosine")
    rates = [learning_rate_at(step, 100, choice) for step in range(100)]
    assert rates[0] < rates[10] < rates[20] == max(rates) == choice.learning_rate
    assert all(later < earlier for earlier, later in zip(rates[20:], rates[21:], strict=False))
    assert rates[-1] < 0.001 * choice.learning_rate


def test_training_data_refuses_logically_wrong_shapes():
    with pytest.raises(UserError, match="uint8"):
        TrainingData(np.zeros((2, 8, 8)), np.zeros((2, 5), np.float32))
    with pytest.raises(UserError, match="a row an image"):
        TrainingData(np.zeros((2, 8, 8), np.uint8), np.zeros((3, 5), np.float32))


def test_predict_gives_probabilities_whatever_the_batch_size(data, start):
    train(start.model, data, ORDINARY, start.input_transform, progress=False)
    whole = predict(start.model, data.images, start.input_transform)
    pieces = predict(start.model, data.images, start.input_transform, batch_size=5)
    assert whole.shape == (24, len(FINDINGS))
    assert ((whole > 0) & (whole < 1)).all()
    assert np.allclose(whole, pieces, atol=1e-6)
    assert predict(start.model, data.images[:0], start.input_transform).shape == (0, len(FINDINGS))
