"""The Gaussian mechanism: noise on the clipped sum, then the public denominator."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from dpcxr_core.config import PrivacySpecification
from dpcxr_core.privacy.errors import PrivacyEngineError
from dpcxr_core.privacy.gaussian import standard_normal
from dpcxr_core.privacy.streams import RandomStreams

_AT_ONCE = 1 << 17  # entries whose noise is drawn and added while they are in a core's cache


@torch.no_grad()
def privatise(
    parameters: Iterable[nn.Parameter],
    specification: PrivacySpecification,
    streams: RandomStreams,
    step: int,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> None:
    """Each trainable ``.grad`` becomes ``(grad + N(0, noise_std^2)) / expected_batch_size``, in place.

    Of several processes each divides all, but adds the noise of every ``world_size``-th block of entries only: it is
    the *sum* of ``.grad`` over the processes, taken afterwards, that holds the noise of every entry once.

    Promise:
        Independent float32 numbers, a function of ``streams``, ``step``, the shapes of the parameters and the kind of
        their device alone (a GPU has another generator): the same whatever ``world_size`` is. The denominator is the
        public constant of ``specification``, never the size of a batch.

    Args:
        parameters: Of the whole model, in its order; frozen ones are skipped. ``.grad`` holds clipped sums.
        specification: Gives ``noise_std`` and ``expected_batch_size``.
        streams: The secret of the run.
        step: From 0; must never be used again on other gradients.
        rank: This process among ``world_size``.
        world_size: Processes whose ``.grad`` are summed afterwards.

    Raises:
        PrivacyEngineError: A trainable parameter has no ``.grad``: it would get no noise.

    Source:
        Abadi et al. (2016), Algorithm 1, "Add noise", arXiv:1607.00133.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    totals = [_flat_gradient(parameter) for parameter in trainable if parameter.grad is not None]
    if len(totals) < len(trainable):
        raise PrivacyEngineError(
            f"{len(trainable) - len(totals)} of {len(trainable)} trainable parameters have no gradient, so no "
            "noise would reach them; call add_clipped_sum first, for an empty batch as well"
        )

    def finish(block: tuple[int, list[Tensor]]) -> None:
        place, members = block
        on_cpu = members[0].device.type == "cpu"
        seed = streams.seed("noise", step, place) if place % world_size == rank else None
        finish_block = _finish_on_cpu if on_cpu else _finish_on_gpu
        finish_block(members, specification, seed)

    blocks = list(enumerate(_blocks(totals)))
    if torch.get_num_threads() == 1:  # a thread costs more than the noise of a small network
        for block in blocks:
            finish(block)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(finish, blocks))


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


def _finish_on_cpu(
    members: list[Tensor], specification: PrivacySpecification, seed: np.random.SeedSequence | None
) -> None:
    """Noise, unless ``seed`` is None, and the denominator; by numpy, which keeps to the thread it is called from."""
    sizes = [member.numel() for member in members]
    noise = np.zeros(0, np.float32)
    if seed is not None:
        noise = standard_normal(sum(sizes), np.random.Generator(np.random.SFC64(seed)))
        noise *= np.float32(specification.noise_std)
    divisor = np.float32(specification.expected_batch_size)
    start = 0
    for member, size in zip(members, sizes, strict=True):
        values = member.numpy()
        if seed is not None:
            values += noise[start : start + size]
        values /= divisor
        start += size


def _finish_on_gpu(
    members: list[Tensor], specification: PrivacySpecification, seed: np.random.SeedSequence | None
) -> None:
    """As ``_finish_on_cpu``, by torch's generator on the GPU: Philox, keyed with all 64 bits of its seed."""
    device, sizes = members[0].device, [member.numel() for member in members]
    if seed is not None:
        generator = torch.Generator(device).manual_seed(int(seed.generate_state(1, np.uint64)[0]))
        # In float64, as its float32 normals end at 6.8 deviations.
        noise = torch.randn(sum(sizes), generator=generator, device=device, dtype=torch.float64).to(torch.float32)
        torch._foreach_add_(members, noise.split(sizes), alpha=specification.noise_std)
    torch._foreach_div_(members, specification.expected_batch_size)
