"""Runs that do not do what their certificate says: what an audit is for, and what shows that it works."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace

from torch import nn

from dpcxr_core.auditing.audit import Audit, audit_run
from dpcxr_core.config import PrivacySpecification, RunConfig
from dpcxr_core.data.images import InputTransform
from dpcxr_core.training.training_set import TrainingData

AS_CERTIFIED = "as certified"


def planted_bugs(claim: PrivacySpecification) -> dict[str, PrivacySpecification]:
    """What runs in place of ``claim``, by name; the first is ``claim`` itself."""
    return {
        AS_CERTIFIED: claim,
        "no clipping": replace(claim, clipping="none"),
        "half the noise": replace(claim, noise_multiplier=claim.noise_multiplier / 2),
        # as if noise meant for the sum were added to it after a division of its own
        "noise divided twice": replace(
            claim, noise_multiplier=claim.noise_multiplier / max(2, claim.expected_batch_size)
        ),
        "shuffled batches": replace(claim, sampler="shuffled"),
    }


def audit_each(
    model: nn.Module,
    data: TrainingData,
    config: RunConfig,
    run: Mapping[str, PrivacySpecification],
    transform: InputTransform,
    executor: Executor,
    *,
    n_canaries: int,
    audit_seed: int,
) -> dict[str, Audit]:
    """The audit of each specification in ``run`` against that of ``config``, which is claimed of all of them.

    Arguments as for ``audit_run``.
    """
    claim = config.privacy
    assert claim is not None
    jobs = {}
    for name, actual in run.items():
        target = config.target_epsilon if actual.promises else None
        told = replace(config, privacy=actual, target_epsilon=target)
        jobs[name] = executor.submit(
            audit_run, model, data, told, claim, transform, n_canaries=n_canaries, audit_seed=audit_seed
        )
    return {name: job.result() for name, job in jobs.items()}
