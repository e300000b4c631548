"""Where a run computes and in which precision: the GPU if there is one, else the CPU.

``torch.compile`` is not used. The private step records layer inputs and output gradients in Python while the
backward pass runs, which a compiled graph does not call; every step has another number of images, and a graph is
compiled for a size. For ordinary training on the CPU it saved 13 percent of a step and took two minutes to compile
(convnext_atto, 64 px); ``fast_depthwise`` saves more and costs nothing to begin with. Nobody measured it on a GPU.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from dpcxr_core.config import UserError
from dpcxr_core.data.images import moved

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Compute:
    """What a run computes on.

    Attributes:
        device: One GPU, or the CPU.
        precision: Of forward and backward; weights, losses, norms, sums and noise are float32 either way.
    """

    device: torch.device
    precision: Precision = "float32"

    @property
    def on_gpu(self) -> bool:
        """Whether the layouts and transfers of a GPU pay."""
        return self.device.type == "cuda"


def find_compute(precision: Precision, local_rank: int = 0) -> Compute:
    """GPU number ``local_rank`` of this machine, or the CPU where there is no GPU.

    Raises:
        UserError: There are fewer GPUs than processes, or the GPU has no bfloat16.
    """
    if not torch.cuda.is_available():
        return Compute(torch.device("cpu"), precision)
    n_gpus = torch.cuda.device_count()
    if local_rank >= n_gpus:
        raise UserError(
            f"process {local_rank} of this machine has no GPU of its own: there are {n_gpus}; "
            f"start at most {n_gpus} a machine (torchrun --nproc-per-node {n_gpus})"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    if precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise UserError(f"{torch.cuda.get_device_name(device)} has no bfloat16; choose precision 'float32'")
    return Compute(device, precision)


def prepare_model(model: nn.Module, compute: Compute) -> None:
    """Moves ``model`` to its device in place; on a GPU also into the layout that its convolutions are fastest in.

    On a GPU it also makes float32 mean float32 and kernels repeatable, for this whole process: with the TF32 that
    torch allows by default, the clipped norm and the gradient it scales would differ by up to a thousandth.
    """
    model.to(compute.device)
    if compute.on_gpu:
        model.to(memory_format=torch.channels_last)
        _exact_and_repeatable()


def _exact_and_repeatable() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False  # it may choose another kernel after a restart
    torch.backends.cudnn.deterministic = True


def to_device(tensor: Tensor, compute: Compute) -> Tensor:
    """``tensor`` on the device; images ``(n, channels, height, width)`` in the layout of the model there.

    The caller does not wait for a copy to a GPU.
    """
    there = moved(tensor, compute.device)
    return there.contiguous(memory_format=torch.channels_last) if compute.on_gpu and there.dim() == 4 else there


def autocast(compute: Compute) -> AbstractContextManager:
    """Forward passes inside run in ``compute.precision``; outside, the loss and all that protects stay float32."""
    return torch.autocast(compute.device.type, torch.bfloat16, enabled=compute.precision == "bfloat16")
