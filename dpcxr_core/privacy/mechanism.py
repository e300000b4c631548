"""The Gaussian mechanism: noise on the clipped sum, then the public denominator."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.privacy.errors import PrivacyEngineError


@torch.no_grad()
def privatise(
    parameters: Iterable[nn.Parameter], specification: PrivacySpecification, rng: np.random.Generator
) -> None:
    """Each trainable ``.grad`` becomes ``(grad + N(0, noise_std^2)) / expected_batch_size``, in place.

    Promise:
        One standard normal float32 number per entry, drawn from ``rng`` alone in the order of
        ``parameters``, so the same generator state gives the same noise. The denominator is the public
        constant of ``specification``, never the size of a batch.

    Args:
        parameters: Frozen parameters are skipped. ``.grad`` holds the clipped sum of a logical batch.
        specification: Gives ``noise_std`` and ``expected_batch_size``.
        rng: Its state is a secret of the run, and must never be replayed on other data. A numpy generator,
            since torch's generator on the CPU keeps 32 bits of its seed: few enough to try them all.

    Raises:
        PrivacyEngineError: A trainable parameter has no ``.grad``: it would get no noise.

    Source:
        Abadi et al. (2016), Algorithm 1, "Add noise", arXiv:1607.00133.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    missing = sum(parameter.grad is None for parameter in trainable)
    if missing:
        raise PrivacyEngineError(
            f"{missing} of {len(trainable)} trainable parameters have no gradient, so no noise would reach them; "
            "call add_clipped_sum first, for an empty batch as well"
        )
    for parameter in trainable:
        noise = torch.from_numpy(np.asarray(rng.standard_normal(tuple(parameter.shape), dtype=np.float32)))
        assert parameter.grad is not None
        parameter.grad.add_(noise.to(parameter.grad.device), alpha=specification.noise_std)
        parameter.grad.div_(specification.expected_batch_size)
