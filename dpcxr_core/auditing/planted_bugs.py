"""Runs that do not do what their certificate says: what an audit is for, and what shows that it works."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from dpcxr_core.auditing.audit import Audit, audit_run
from dpcxr_core.config import PrivacySpecification, RunConfig
from dpcxr_core.data.images import InputTransform
from dpcxr_core.training.training_set import TrainingData

AS_CERTIFIED = "as certified"


@dataclass(frozen=True)
class PlantedRun:
    """What runs in place of what is claimed.

    Attributes:
        specification: Of the run.
        denominator: As for ``audit_run``.
    """

    specification: PrivacySpecification
    denominator: Literal["public", "drawn"] = "public"

    @property
    def in_family(self) -> bool:
        """Whether it is Gaussian noise of some size on Poisson draws, of which ``epsilon_in_family`` speaks."""
        return self.specification.promises and self.denominator == "public"


def planted_bugs(claim: PrivacySpecification) -> dict[str, PlantedRun]:
    """What runs in place of ``claim``, by name; the first is ``claim`` itself."""
    return {
        AS_CERTIFIED: PlantedRun(claim),
        "no clipping": PlantedRun(replace(claim, clipping="none")),
        "half the noise": PlantedRun(replace(claim, noise_multiplier=claim.noise_multiplier / 2)),
        # the noise of a mean on a sum: it is then divided once more, together with the sum
        "noise divided twice": PlantedRun(
            replace(claim, noise_multiplier=claim.noise_multiplier / max(2, claim.expected_batch_size))
        ),
        "divided by the drawn": PlantedRun(claim, denominator="drawn"),
        "shuffled batches": PlantedRun(replace(claim, sampler="shuffled")),
    }


def audit_each(
    model: nn.Module,
    data: TrainingData,
    config: RunConfig,
    runs: Mapping[str, PlantedRun],
    transform: InputTransform,
    executor: Executor,
    *,
    n_canaries: int,
    audit_seed: int,
) -> dict[str, Audit]:
    """The audit of each of ``runs`` against the specification of ``config``, which is claimed of all of them.

    Arguments as for ``audit_run``.
    """
    claim = config.privacy
    assert claim is not None
    jobs = {}
    for name, actual in runs.items():
        target = config.target_epsilon if actual.specification.promises else None
        told = replace(config, privacy=actual.specification, target_epsilon=target)
        jobs[name] = executor.submit(
            audit_run,
            model,
            data,
            told,
            claim,
            transform,
            n_canaries=n_canaries,
            audit_seed=audit_seed,
            denominator=actual.denominator,
        )
    return {name: job.result() for name, job in jobs.items()}
