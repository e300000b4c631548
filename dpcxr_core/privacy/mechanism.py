"""The Gaussian mechanism: noise on the clipped sum, then the public denominator."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.privacy.errors import PrivacyEngineError
from dpcxr_core.privacy.gaussian import standard_normal
from dpcxr_core.privacy.streams import RandomStreams

_AT_ONCE = 1 << 17  # entries whose noise is drawn and added while they are in the cache of a core


def privatise(
    parameters: Iterable[nn.Parameter], specification: PrivacySpecification, streams: RandomStreams, step: int
) -> None:
    """Each trainable ``.grad`` becomes ``(grad + N(0, noise_std^2)) / expected_batch_size``, in place.

    ``add_noise`` and ``divide_by_expected_batch_size`` in one go, for one process.

    Source:
        Abadi et al. (2016), Algorithm 1, "Add noise", arXiv:1607.00133.
    """
    parameters = list(parameters)
    add_noise(parameters, specification, streams, step)
    divide_by_expected_batch_size(parameters, specification)


@torch.no_grad()
def add_noise(
    parameters: Iterable[nn.Parameter],
    specification: PrivacySpecification,
    streams: RandomStreams,
    step: int,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> None:
    """Adds ``N(0, noise_std^2)`` to each trainable ``.grad`` that falls to this ``rank``, in place.

    Promise:
        Independent float32 numbers, a function of ``streams``, ``step`` and the shapes of the parameters alone. Over
        all ranks together every parameter gets its noise exactly once, the same whatever ``world_size`` is.

    Args:
        parameters: Of the whole model, in its order; frozen ones are skipped. ``.grad`` holds clipped sums.
        specification: Gives ``noise_std``.
        streams: The secret of the run.
        step: From 0; must never be used again on other gradients.
        rank: This process among ``world_size``; blocks of parameters are dealt out in turn.
        world_size: Processes whose ``.grad`` are summed afterwards.

    Raises:
        PrivacyEngineError: A trainable parameter has no ``.grad``: it would get no noise.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    totals = [_flat_gradient(parameter) for parameter in trainable if parameter.grad is not None]
    if len(totals) < len(trainable):
        raise PrivacyEngineError(
            f"{len(trainable) - len(totals)} of {len(trainable)} trainable parameters have no gradient, so no "
            "noise would reach them; call add_clipped_sum first, for an empty batch as well"
        )

    def add(block: tuple[int, list[Tensor]]) -> None:
        place, members = block
        sizes = [member.numel() for member in members]
        noise = _normal_numbers(sum(sizes), members[0].device, streams, step, place)
        for member, numbers in zip(members, noise.split(sizes), strict=True):
            member.add_(numbers, alpha=specification.noise_std)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(add, list(enumerate(_blocks(totals)))[rank::world_size]))


@torch.no_grad()
def divide_by_expected_batch_size(parameters: Iterable[nn.Parameter], specification: PrivacySpecification) -> None:
    """Divides each ``.grad`` by the public constant of ``specification``, never by the size of a batch."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.div_(specification.expected_batch_size)


def _flat_gradient(parameter: nn.Parameter) -> Tensor:
    """A view of ``.grad`` as one row."""
    assert parameter.grad is not None
    if not parameter.grad.is_contiguous():
        parameter.grad = parameter.grad.contiguous()
    return parameter.grad.view(-1)


def _blocks(totals: list[Tensor]) -> list[list[Tensor]]:
    """``totals`` cut and grouped, in order, into blocks of at most ``_AT_ONCE`` entries; each has its own noise."""
    blocks: list[list[Tensor]] = []
    room = 0
    for total in totals:
        for piece in total.split(_AT_ONCE):
            if piece.numel() > room:
                blocks.append([])
                room = _AT_ONCE
            blocks[-1].append(piece)
            room -= piece.numel()
    return blocks


def _normal_numbers(n: int, device: torch.device, streams: RandomStreams, step: int, place: int) -> Tensor:
    if device.type == "cpu":
        return standard_normal(n, streams.at("noise", step, place))
    # torch's generator on the GPU is Philox, keyed with all 64 bits of its seed. Drawn in float64, as its float32
    # normals end at 6.8 deviations.
    seed = int(streams.seed("noise", step, place).generate_state(1, "uint64")[0])
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(n, generator=generator, device=device, dtype=torch.float64).to(torch.float32)
