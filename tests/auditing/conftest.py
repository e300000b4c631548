import numpy as np
import pytest

from dpcxr_core.auditing.audit import audit_of_scores, scores_of
from dpcxr_core.config import FINDINGS, OptimisationChoice, PrivacySpecification, RunConfig
from dpcxr_core.training.initialisation import build_initialisation
from dpcxr_core.training.training_set import TrainingData


@pytest.fixture
def claim():
    """Large rate and few steps: an attacker has little to guess. Its epsilon is 3.74."""
    return PrivacySpecification(
        sample_rate=0.5, n_steps=4, expected_batch_size=100, max_grad_norm=0.5, noise_multiplier=1.5, delta=1e-5
    )


@pytest.fixture
def config(claim):
    return RunConfig(
        dataset="toy",
        init_name="convnext_mini.random",
        head="reset",
        optimisation=OptimisationChoice(optimizer="sgd", learning_rate=0.3),
        privacy=claim,
        target_epsilon=4.0,
    )


@pytest.fixture
def data():
    """Twelve random images of the least size that the network takes, of six patients."""
    rng = np.random.default_rng(0)
    labels = (rng.random((12, len(FINDINGS))) < 0.4).astype(np.float32)
    labels[::4, 1] = np.nan
    return TrainingData(
        rng.integers(0, 256, (12, 32, 32), np.uint8), labels, patient_ids=np.repeat([f"p{n}" for n in range(6)], 2)
    )


@pytest.fixture
def start():
    return build_initialisation("convnext_mini.random", weights_dir=None, seed=0, head="reset")


def audit_of_gradients(gradients, included, config, claim, *, audit_seed):
    """As ``audit_run``, of noisy gradients ``(n_steps, n_canaries)`` that were made elsewhere."""
    scores = scores_of(gradients, config, claim, n_canaries=gradients.shape[1], n_steps=len(gradients))
    return audit_of_scores(scores, included, config, claim, audit_seed=audit_seed, confidence=0.95)
