"""One run on several processes, as ``torchrun`` starts them: who does which share, and how the shares are summed.

Every process takes every step, with units or without, so that none waits for another in vain. Values of a step
that all must agree on come from the first rank.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dpcxr_core.config import UserError
from dpcxr_core.training.device import find_compute

_BUCKET_BYTES = 64 * 2**20
# A rank that died without closing its connection is noticed after this long; a step never takes that long.
_PATIENCE = timedelta(minutes=30)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one run together.

    Attributes:
        rank: Number of this process, from 0.
        world_size: How many processes there are.
        local_rank: Number of this process on its machine, from 0; it picks the GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise UserError(f"rank must be in [0, {self.world_size}); got {self.rank}. Start the run with torchrun.")

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0


ALONE = Ranks()


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """The ranks that ``torchrun`` started, connected until the block ends; without ``torchrun``, this process alone.

    Tensors travel by gloo on CPUs and by NCCL on GPUs.

    Raises:
        UserError: The environment states a rank that is not among the processes, or there are fewer GPUs than
            processes on this machine.
    """
    ranks = _ranks_of_environment()
    if ranks.world_size == 1:
        yield ranks
        return
    backend = "gloo"
    if torch.cuda.is_available():
        find_compute("float32", ranks.local_rank)  # NCCL would otherwise put every rank on the first GPU
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield ranks
    finally:
        dist.destroy_process_group()


def _ranks_of_environment() -> Ranks:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if "RANK" not in os.environ:
        return Ranks()
    try:
        return Ranks(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError):
        found = {name: os.environ.get(name) for name in names}
        raise UserError(f"RANK is set, so {names} must all be integers, as torchrun sets them; got {found}") from None


def share_of(ranks: Ranks, n: int) -> slice:
    """Which of ``n`` consecutive units this rank processes.

    Promise:
        The shares of all ranks follow each other, cover every unit once, and differ in size by at most one.
    """
    return slice(n * ranks.rank // ranks.world_size, n * (ranks.rank + 1) // ranks.world_size)


def sum_gradients(ranks: Ranks, parameters: Iterable[nn.Parameter]) -> None:
    """Each ``.grad`` becomes the sum over all ranks, the same to the last bit on each; nothing with one rank.

    A gradient that no rank has stays None; one that only some have counts as zeros on the others.
    """
    if ranks.world_size == 1:
        return
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if not trainable:
        return
    has_gradient = torch.tensor([parameter.grad is not None for parameter in trainable], dtype=torch.int32)
    dist.all_reduce(has_gradient)
    gradients = []
    for parameter, anywhere in zip(trainable, has_gradient.tolist(), strict=True):
        if anywhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        _sum_at_once(bucket)


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Runs of ``tensors`` of bounded size: one message each, without a second copy of the whole model."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size + tensor.nbytes > _BUCKET_BYTES or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.nbytes
    if bucket:
        yield bucket


@torch.no_grad()
def _sum_at_once(tensors: list[Tensor]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, piece in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(piece.view(tensor.shape))


def gather(ranks: Ranks, value: Value) -> list[Value]:
    """``value`` of every rank, in the order of the ranks, on every rank; for small values that can be pickled."""
    if ranks.world_size == 1:
        return [value]
    values: list[Any] = [None] * ranks.world_size
    dist.all_gather_object(values, value)
    return values


def agree(ranks: Ranks, value: Value) -> Value:
    """``value`` of the first rank, on every rank; for values that can be pickled."""
    if ranks.world_size == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def from_first(ranks: Ranks, action: Callable[[], Value]) -> Value:
    """Result of ``action``, which runs on the first rank alone, on every rank.

    Raises:
        Exception: What ``action`` raised, on every rank, so that none is left waiting.
    """
    if ranks.world_size == 1:
        return action()
    outcome: tuple[Any, Exception | None] = (None, None)
    if ranks.is_first:
        try:
            outcome = (action(), None)
        except Exception as error:  # raised below, on every rank
            outcome = (None, error)
    result, mistake = agree(ranks, outcome)
    if mistake is not None:
        raise mistake
    return result


@torch.no_grad()
def same_weights(ranks: Ranks, model: nn.Module) -> None:
    """Parameters and buffers of ``model`` become those of the first rank."""
    if ranks.world_size == 1:
        return
    for tensor in model.state_dict().values():
        sent = tensor.contiguous()  # channels_last weights are not
        dist.broadcast(sent, src=0)
        tensor.copy_(sent)
