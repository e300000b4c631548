import copy
import math
import random
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
from dpcxr_core.privacy import mechanism
from dpcxr_core.privacy.mechanism import privatise
from dpcxr_core.privacy.sampling import poisson_draw
from dpcxr_core.privacy.streams import RandomStreams, seeded_streams
from dpcxr_core.privacy.units import images_of, units_of
from dpcxr_core.training import loop
from dpcxr_core.training.augmentation import draw_shifts, shift_images
from dpcxr_core.training.averaging import decay_at
from dpcxr_core.training.checkpoint import CheckpointPlace, read_checkpoint
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.loop import DivergedError, predict, train
from dpcxr_core.training.optimisation import loss_per_image
from dpcxr_core.training.training_set import TrainingData

N = 24
SGD = OptimisationChoice(optimizer="sgd", learning_rate=0.2, momentum=0.0, warmup_fraction=0.0, schedule="constant")
ADAMW = OptimisationChoice(optimizer="adamw", learning_rate=1e-3, weight_decay=0.01)
PRIVACY = PrivacySpecification(
    sample_rate=0.25, n_steps=4, expected_batch_size=6, max_grad_norm=0.5, noise_multiplier=0.7, delta=1e-3
)
PER_PATIENT = replace(PRIVACY, privacy_unit="patient", max_images_per_patient=2, sample_rate=0.5)
PRIVATE = RunConfig(
    dataset="toy",
    init_name="convnext_mini.random",
    head="reset",
    optimisation=SGD,
    privacy=PRIVACY,
    target_epsilon=9.0,
    max_shift=2,
    physical_batch_size=6,
)
ORDINARY = replace(PRIVATE, privacy=None, target_epsilon=None, ordinary=OrdinaryBatches(n_steps=5, batch_size=8))


@pytest.fixture
def data():
    """Images that lie among others in their store, of twelve patients with one to four of them."""
    rng = np.random.default_rng(0)
    labels = (rng.random((N, len(FINDINGS))) < 0.4).astype(np.float32)
    labels[::5, 2] = np.nan
    images = rng.integers(0, 256, (2 * N, 32, 32), np.uint8)
    patients = np.repeat([f"p{number}" for number in range(12)], [1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4])
    return TrainingData(images, labels, rows=rng.permutation(2 * N)[:N], patient_ids=rng.permutation(patients))


@pytest.fixture
def start():
    return build_initialisation("convnext_mini.random", weights_dir=None, seed=0, head="reset")


@pytest.fixture
def train_fresh(data, start):
    """Train a copy of the same first model; the model and the trace."""

    def run(config, **how):
        model = copy.deepcopy(how.pop("model", start.model))
        return model, train(model, how.pop("data", data), config, start.input_transform, progress=False, **how)

    return run


def _weights(model):
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


def _gradient_of_unit(model, data, config, transform, images, shifts):
    """The average gradient of the shifted copies of all images of one unit: one at a time, in float64."""
    model.zero_grad()
    copies = np.repeat(images, config.augmentation_multiplicity)
    for image, shift in zip(copies, shifts, strict=True):
        picture = shift_images(data.images[[data.rows[image]]], shift[None])
        logits = model(to_input(picture, transform).double())
        loss = loss_per_image(logits, torch.from_numpy(data.labels[[image]]).double())
        (loss.sum() / len(copies)).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def _by_hand(model, data, config, transform):
    """The private updates as their definition reads."""
    model = copy.deepcopy(model).double()
    average = _weights(model)
    streams, spec = seeded_streams(config.seed), config.privacy
    units = units_of(spec, data.patient_ids)
    for step in range(spec.n_steps):
        drawn = poisson_draw(spec, units.n_units, streams.at("draws", step))
        images, per_unit = images_of(units, drawn, spec, streams.at("images", step))
        copies = config.augmentation_multiplicity
        shifts = draw_shifts(len(images) * copies, config.max_shift, streams.at("augmentation", step))
        total = [torch.zeros_like(parameter) for parameter in model.parameters()]
        ends = np.cumsum(per_unit)
        for first, end in zip(ends - per_unit, ends, strict=True):
            own_shifts = shifts[first * copies : end * copies]
            gradient = _gradient_of_unit(model, data, config, transform, images[first:end], own_shifts)
            norm = math.sqrt(sum(float(part.square().sum()) for part in gradient))
            bound = spec.max_grad_norm
            factor = {"flat": min(1.0, bound / norm), "automatic": bound / (norm + 0.01), "none": 1.0}[spec.clipping]
            for accumulated, part in zip(total, gradient, strict=True):
                accumulated += factor * part
        for parameter, accumulated in zip(model.parameters(), total, strict=True):
            parameter.grad = accumulated
        privatise(model.parameters(), spec, streams, step)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= config.optimisation.learning_rate * parameter.grad
        decay = decay_at(step, config.ema_decay) if config.ema_decay else 0.0
        average = decay * average + (1 - decay) * _weights(model)
    return average


def _ablation(privacy):
    return replace(PRIVATE, target_epsilon=None, privacy=privacy)


DEFINITIONS = {
    "image": PRIVATE,
    "multiplicity": replace(PRIVATE, augmentation_multiplicity=3),
    "patient": replace(PRIVATE, privacy=PER_PATIENT),
    "automatic": replace(PRIVATE, privacy=replace(PRIVACY, clipping="automatic")),
    "no clipping": _ablation(replace(PRIVACY, clipping="none")),
    "no clipping, patient": _ablation(replace(PER_PATIENT, clipping="none")),
    "all": replace(
        PRIVATE, privacy=replace(PER_PATIENT, clipping="automatic"), augmentation_multiplicity=2, ema_decay=0.15
    ),
}


@pytest.mark.parametrize("config", DEFINITIONS.values(), ids=DEFINITIONS)
def test_private_training_equals_its_definition_one_image_at_a_time(config, data, start, train_fresh):
    # so little noise that the gradients are most of each update, and a bound that some of their norms are below
    config = replace(config, privacy=replace(config.privacy, noise_multiplier=1e-3, max_grad_norm=1.6))
    before = _weights(start.model).double()
    wanted = _by_hand(start.model, data, config, start.input_transform) - before
    model, trace = train_fresh(config)
    moved = _weights(model).double() - before
    # float32 sums of some images; and the weights are rounded to float32 after each of the four steps
    assert float((moved - wanted).norm()) < 1e-5 * float(wanted.norm()) + 4 * 2**-24 * float(before.norm())
    assert trace.diagnostics["share_clipped"].sum() > 0


@pytest.mark.parametrize("name", ["image", "all"])
def test_physical_batches_do_not_change_the_update(name, train_fresh):
    config = DEFINITIONS[name]
    models = [train_fresh(replace(config, physical_batch_size=size))[0] for size in (4, 7, 100)]
    for other in models[1:]:
        assert torch.allclose(_weights(models[0]), _weights(other), atol=1e-6)


def test_same_seed_repeats_the_run_and_another_seed_does_not(train_fresh):
    first, again, other = (train_fresh(replace(PRIVATE, seed=seed))[0] for seed in (0, 0, 1))
    assert torch.equal(_weights(first), _weights(again))
    assert not torch.equal(_weights(first), _weights(other))


def test_secret_randomness_never_repeats_a_run(train_fresh):
    secret = replace(PRIVATE, randomness="secret")
    assert not torch.equal(_weights(train_fresh(secret)[0]), _weights(train_fresh(secret)[0]))


def _global_states():
    torch_state = torch.get_rng_state().numpy().tobytes()
    numpy_state = np.random.get_state()  # noqa: NPY002 - the state that nothing may touch
    return torch_state, numpy_state[1].tobytes(), numpy_state[2], random.getstate()


@pytest.mark.parametrize("config", [PRIVATE, ORDINARY], ids=["private", "ordinary"])
def test_no_global_generator_is_read_or_moved(config, start, train_fresh):
    start.model.head.drop = nn.Dropout(0.5)  # knows only the global generator
    torch.manual_seed(1)
    before = _global_states()
    first, _ = train_fresh(config)
    assert _global_states() == before
    torch.manual_seed(2)
    again, _ = train_fresh(config)
    assert torch.equal(_weights(first), _weights(again))


class _KilledError(Exception):
    pass


def _kill_at(monkeypatch, step, *, after_update):
    """Let the optimizer's update of ``step`` fail, before or after it has changed the weights."""
    make, taken = loop.make_optimizer, []

    def made(model, choice):
        optimizer = make(model, choice)
        update = optimizer.step

        def fail_once():
            taken.append(0)
            if after_update or len(taken) <= step:
                update()
            if len(taken) == step + 1:
                raise _KilledError

        optimizer.step = fail_once
        return optimizer

    monkeypatch.setattr(loop, "make_optimizer", made)


RESUMED = {
    "private": replace(DEFINITIONS["all"], optimisation=ADAMW),
    "momentum": replace(PRIVATE, optimisation=replace(SGD, momentum=0.9, learning_rate=0.02)),
    "ordinary": replace(ORDINARY, optimisation=ADAMW, ema_decay=0.9, physical_batch_size=3),
}


@pytest.mark.parametrize(
    ("config", "every_seconds"),
    [*((config, 0.0) for config in RESUMED.values()), (RESUMED["momentum"], 1e9)],
    ids=[*RESUMED, "from the first step"],
)
def test_run_that_was_killed_at_any_step_ends_with_the_same_bits(
    config, every_seconds, start, train_fresh, tmp_path, monkeypatch
):
    start.model.head.drop = nn.Dropout(0.2)
    whole, whole_trace = train_fresh(config)
    for step in range(4):
        place = CheckpointPlace(tmp_path / f"{step}.pt", {"run": "a"}, every_seconds)
        with monkeypatch.context() as patch:
            _kill_at(patch, step, after_update=step % 2 == 0)
            with pytest.raises(_KilledError):
                train_fresh(config, checkpoint=place)
        found = read_checkpoint(place)
        assert (found.next_step if found else 0) == (step if every_seconds == 0 else 0)
        model, trace = train_fresh(config, checkpoint=place)
        assert torch.equal(_weights(model), _weights(whole))
        assert trace.ledger.equals(whole_trace.ledger)
        assert trace.diagnostics.equals(whole_trace.diagnostics)


def test_finished_run_that_is_resumed_takes_no_step_and_uses_its_average(train_fresh, tmp_path):
    place = CheckpointPlace(tmp_path / "c.pt", {}, 0.0)
    config = DEFINITIONS["all"]
    whole, trace = train_fresh(config, checkpoint=place)
    again, again_trace = train_fresh(config, checkpoint=place)
    assert torch.equal(_weights(whole), _weights(again))
    assert again_trace.ledger.equals(trace.ledger)
    last = torch.cat([read_checkpoint(place).model[name].flatten() for name, _ in whole.named_parameters()])
    assert not torch.equal(last, _weights(whole))


def test_secret_run_goes_on_with_its_own_secret(train_fresh, tmp_path, monkeypatch):
    secret, place = replace(PRIVATE, randomness="secret"), CheckpointPlace(tmp_path / "c.pt", {}, 0.0)
    with monkeypatch.context() as patch:
        _kill_at(patch, 2, after_update=False)
        with pytest.raises(_KilledError):
            train_fresh(secret, checkpoint=place)
    entropy = read_checkpoint(place).entropy
    model, _ = train_fresh(secret, checkpoint=place)
    assert read_checkpoint(place).entropy == entropy > 2**64
    monkeypatch.setattr(loop, "secret_streams", lambda: RandomStreams(entropy))
    assert torch.equal(_weights(model), _weights(train_fresh(secret)[0]))


def test_checkpoint_of_another_run_is_refused(train_fresh, tmp_path):
    train_fresh(PRIVATE, checkpoint=CheckpointPlace(tmp_path / "c.pt", {"data": "a"}, 0.0))
    with pytest.raises(UserError, match="data: a there, b here"):
        train_fresh(PRIVATE, checkpoint=CheckpointPlace(tmp_path / "c.pt", {"data": "b"}, 0.0))


def _moves_of_empty_steps(train_fresh):
    """What each of three steps without any image moved the weights by, in units of the noise's deviation."""
    rarely = replace(PRIVACY, sample_rate=1e-9, n_steps=3)
    config, seen = replace(PRIVATE, privacy=rarely), []
    for n_steps in (1, 2, 3):
        model, trace = train_fresh(replace(config, privacy=replace(rarely, n_steps=n_steps)))
        assert (trace.diagnostics["n_drawn"] == 0).all()
        assert len(trace.ledger) == n_steps
        seen.append(_weights(model))
    first = _weights(train_fresh(replace(config, optimisation=replace(SGD, learning_rate=1e-30)))[0])
    unit = SGD.learning_rate * rarely.noise_std / rarely.expected_batch_size
    return [(after - before).double() / unit for before, after in zip([first, *seen], seen, strict=False)]


def _z_of_noise(moves):
    """Of mean, variance, and correlation between steps, against independent standard normal numbers."""
    n = moves[0].numel()
    means = [float(move.mean()) * math.sqrt(n) for move in moves]
    variances = [(float(move.var()) - 1) * math.sqrt(n / 2) for move in moves]
    between = [float((one * other).mean()) * math.sqrt(n) for one, other in zip(moves, moves[1:], strict=False)]
    return np.abs([*means, *variances, *between]).max()


def test_empty_draws_take_steps_of_fresh_noise(train_fresh, monkeypatch):
    assert _z_of_noise(_moves_of_empty_steps(train_fresh)) < 5

    def repeated(parameters, spec, streams, step, **ranks):  # the mistake: the same noise at every step
        privatise(parameters, spec, streams, 0, **ranks)

    monkeypatch.setattr(loop, "privatise", repeated)
    assert _z_of_noise(_moves_of_empty_steps(train_fresh)) > 5


def test_noise_is_drawn_from_the_streams_of_the_run(start, train_fresh):
    rarely = replace(PRIVATE, seed=3, privacy=replace(PRIVACY, sample_rate=1e-9, n_steps=1))
    model, _ = train_fresh(rarely)
    parameters = list(start.model.parameters())
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    privatise(parameters, PRIVACY, seeded_streams(3), 0)
    noise = torch.cat([parameter.grad.flatten() for parameter in parameters])
    torch.testing.assert_close(_weights(model), _weights(start.model) - 0.2 * noise)


def test_a_unit_that_gives_no_finite_gradient_is_counted_and_adds_nothing(start, train_fresh):
    with torch.no_grad():
        start.model.get_parameter("stem.0.weight")[0, 0, 0, 0] = torch.inf
    for config in (PRIVATE, DEFINITIONS["all"]):
        _, trace = train_fresh(config)
        assert trace.diagnostics["n_non_finite"].sum() == trace.diagnostics["n_drawn"].sum() > 0


def test_ledger_holds_nothing_computed_from_images(data, train_fresh):
    _, trace = train_fresh(PRIVATE)
    assert set(trace.ledger.columns) == {"step", "learning_rate", "noise_std"}
    fewer = TrainingData(data.images, data.labels[:9], rows=data.rows[:9])
    assert train_fresh(PRIVATE, data=fewer)[1].ledger.equals(trace.ledger)


def test_waiting_for_images_is_part_of_the_time_and_of_no_table(train_fresh):
    _, trace = train_fresh(PRIVATE)
    assert trace.seconds_loading > 0
    assert not {"loading", "seconds"} & {*trace.ledger.columns, *trace.diagnostics.columns}


def test_patient_unit_needs_to_know_the_patients(data, train_fresh):
    unknown = TrainingData(data.images, data.labels, rows=data.rows)
    with pytest.raises(UserError, match="patient_ids"):
        train_fresh(DEFINITIONS["patient"], data=unknown)


def test_lower_precision_of_the_passes_changes_the_update_only_a_little(start, train_fresh):
    exact = replace(PRIVATE, privacy=replace(PRIVACY, noise_multiplier=1e-6, clipping="automatic"))
    one, other = (_weights(train_fresh(replace(exact, precision=p))[0]) for p in ("float32", "bfloat16"))
    distance = (one - other).norm() / (one - _weights(start.model)).norm()
    assert 0 < float(distance) < 0.1  # bfloat16 keeps 8 bits, a few dozen roundings deep


@pytest.mark.parametrize("copies", [1, 2])
def test_ordinary_training_equals_plain_autograd(copies, data, start, train_fresh):
    plain = copy.deepcopy(start.model).train()
    model, _ = train_fresh(replace(ORDINARY, augmentation_multiplicity=copies))
    optimizer = torch.optim.SGD(plain.parameters(), lr=SGD.learning_rate)
    streams = seeded_streams(ORDINARY.seed)
    for step in range(ORDINARY.ordinary.n_steps):
        order = streams.at("batches", step // 3).permutation(N)
        rows = np.repeat(order[8 * (step % 3) :][:8], copies)
        shifts = draw_shifts(8 * copies, 2, streams.at("augmentation", step))
        optimizer.zero_grad()
        pictures = shift_images(data.images[data.rows[rows]], shifts)
        logits = plain(to_input(pictures, start.input_transform))
        loss_per_image(logits, torch.from_numpy(data.labels[rows])).mean().backward()
        optimizer.step()
    assert torch.allclose(_weights(model), _weights(plain), atol=1e-5)


def test_diverging_loss_without_privacy_is_an_error_that_names_the_step(train_fresh):
    wild = replace(SGD, learning_rate=1e30)
    with pytest.raises(UserError, match=r"at step \d.*learning_rate"):
        train_fresh(replace(ORDINARY, optimisation=wild))


NO_NOISE = _ablation(replace(PRIVACY, noise_multiplier=0.0))
NEITHER = _ablation(replace(PRIVACY, noise_multiplier=0.0, clipping="none"))


def test_ablation_without_noise_does_not_depend_on_the_noise_of_its_streams(train_fresh, monkeypatch):
    first = _weights(train_fresh(NO_NOISE)[0])
    with_noise = _weights(train_fresh(replace(PRIVATE, privacy=PRIVACY))[0])
    assert not torch.equal(first, with_noise)
    monkeypatch.setattr(mechanism, "standard_normal", lambda n, rng: np.ones(n, np.float32))
    assert torch.equal(_weights(train_fresh(NO_NOISE)[0]), first)
    assert not torch.equal(_weights(train_fresh(replace(PRIVATE, privacy=PRIVACY))[0]), with_noise)


def test_ablation_that_diverges_ends_and_a_private_run_never_does(train_fresh):
    wild = replace(SGD, learning_rate=1e30)
    with pytest.raises(DivergedError, match=r"at step \d.*learning_rate"):
        train_fresh(replace(NEITHER, optimisation=wild))
    _, trace = train_fresh(replace(PRIVATE, optimisation=wild))
    assert len(trace.ledger) == PRIVACY.n_steps  # to end early would tell of the images


def test_one_spoilt_image_does_not_end_an_ablation(data, start):
    labels = data.labels.copy()
    labels[3] = np.inf
    spoilt = replace(data, labels=labels)
    trace = train(copy.deepcopy(start.model), spoilt, NEITHER, start.input_transform, progress=False)
    assert trace.diagnostics["n_non_finite"].sum() > 0
    assert len(trace.ledger) == PRIVACY.n_steps


def test_model_is_its_own_again_after_training_and_after_an_error(train_fresh, monkeypatch):
    def own(model):
        return not model.training and not [m for m in model.modules() if "forward" in m.__dict__]

    for config in (PRIVATE, ORDINARY):
        model, _ = train_fresh(config)
        assert own(model)
        with monkeypatch.context() as patch:
            _kill_at(patch, 1, after_update=False)
            kept = []
            patch.setattr(loop, "prepare_model", lambda model, compute, kept=kept: kept.append(model))
            with pytest.raises(_KilledError):
                train_fresh(config)
        assert own(kept[0])


def test_public_only_reference_refuses_to_train(train_fresh):
    public = RunConfig(dataset="toy", init_name="convnext_mini.standin_domain", head="kept")
    with pytest.raises(UserError, match="public-only"):
        train_fresh(public)


def test_predict_gives_probabilities_whatever_the_batch_size(data, start, train_fresh):
    model, _ = train_fresh(ORDINARY)
    whole = predict(model, data.images[data.rows], start.input_transform)
    pieces = predict(model, data.images, start.input_transform, batch_size=5, rows=data.rows)
    assert whole.shape == (N, len(FINDINGS))
    assert whole.dtype == np.float32
    assert ((whole > 0) & (whole < 1)).all()
    assert np.allclose(whole, pieces, atol=1e-6)
    assert predict(model, data.images[:0], start.input_transform).shape == (0, len(FINDINGS))
