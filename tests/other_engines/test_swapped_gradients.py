import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from dpcxr_core.config import OptimisationChoice, OrdinaryBatches, PrivacySpecification, RunConfig, UserError
from dpcxr_core.other_engines.opacus_engine import OpacusMethod
from dpcxr_core.other_engines.swapped_gradients import private_updates
from dpcxr_core.training.architectures import build_architecture, per_image_input
from dpcxr_core.training.loop import train
from dpcxr_core.training.training_set import TrainingData

MINI = "convnext_mini"
PRIVACY = PrivacySpecification(
    sample_rate=0.3, n_steps=4, expected_batch_size=6, max_grad_norm=0.5, noise_multiplier=0.5, delta=1e-3
)
CONFIG = RunConfig(
    dataset="toy",
    init_name=f"{MINI}.random",
    head="reset",
    optimisation=OptimisationChoice(optimizer="sgd", learning_rate=0.3),
    privacy=PRIVACY,
    target_epsilon=8.0,
    max_shift=2,
    physical_batch_size=3,
)


@pytest.fixture
def work():
    rng = np.random.default_rng(0)
    labels = (rng.random((20, 5)) < 0.5).astype(np.float32)
    data = TrainingData(rng.integers(0, 256, (20, 32, 32), dtype=np.uint8), labels)
    return build_architecture(MINI, n_outputs=5, seed=0), data


def _weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _trained(work, config, method):
    *_, last = private_updates(*work, config, per_image_input(MINI), method)
    return _weights(last.model)


def test_with_our_gradients_it_is_the_run_of_the_loop(work):
    model, data = work
    expected = copy.deepcopy(model)
    train(expected, data, CONFIG, per_image_input(MINI), progress=False)
    start = _weights(model)
    updates = [(u.step, _weights(u.model)) for u in private_updates(*work, CONFIG, per_image_input(MINI), None)]
    assert [step for step, _ in updates] == [0, 1, 2, 3]
    torch.testing.assert_close(updates[-1][1], _weights(expected), rtol=0, atol=1e-6)
    assert torch.equal(_weights(model), start)


def test_right_gradients_of_opacus_give_the_same_run_and_wrong_ones_do_not(work):
    quiet = replace(CONFIG, privacy=replace(PRIVACY, noise_multiplier=1e-4))  # else noise hides the gradients
    ours = _trained(work, quiet, None)
    moved = (ours - _weights(work[0])).norm()
    assert (_trained(work, quiet, OpacusMethod("hooks", fixed=True)) - ours).norm() < 1e-4 * moved
    assert (_trained(work, quiet, OpacusMethod("hooks")) - ours).norm() > 0.1 * moved


def test_empty_draws_take_a_noisy_step_that_all_share(work):
    rare = replace(CONFIG, privacy=replace(PRIVACY, sample_rate=1e-6))
    assert len(list(private_updates(*work, rare, per_image_input(MINI), OpacusMethod("hooks")))) == 4
    shipped, ours = _trained(work, rare, OpacusMethod("hooks")), _trained(work, rare, None)
    assert torch.equal(shipped, ours)
    assert not torch.equal(ours, _weights(work[0]))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"randomness": "secret"}, "seeded private runs"),
        ({"privacy": None, "target_epsilon": None, "ordinary": OrdinaryBatches(n_steps=1, batch_size=1)}, "seeded"),
        ({"privacy": replace(PRIVACY, privacy_unit="patient", max_images_per_patient=2)}, "must be 'image'"),
        ({"privacy": replace(PRIVACY, clipping="automatic")}, "clipping must be 'flat'; got 'automatic'"),
        ({"augmentation_multiplicity": 2}, "augmentation_multiplicity must be 1; got 2"),
        ({"ema_decay": 0.9}, "ema_decay must be 0.0; got 0.9"),
        ({"precision": "bfloat16"}, "precision must be 'float32'; got 'bfloat16'"),
    ],
)
def test_other_runs_are_refused(work, changes, reason):
    with pytest.raises(UserError, match=reason):
        next(private_updates(*work, replace(CONFIG, **changes), per_image_input(MINI), None))
