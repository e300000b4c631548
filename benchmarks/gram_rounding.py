"""How wrong a squared norm from float32 Gram matrices can be: the constant behind ``dpcxr_core.privacy.records``.

Run with ``python -m benchmarks.gram_rounding``; under a minute. Errors are in float32 roundings (2^-24) of the squared
norm without cancellation between positions, times the square root of the number of positions.
"""

from __future__ import annotations

import math

import pandas as pd
import torch
from torch import Tensor

POSITIONS = (2, 4, 16, 49, 64, 128, 256)
WIDTHS = ((40, 160), (192, 576), (384, 1536), (768, 3072))
N_IMAGES = 8
KINDS = (
    "random",
    "common input, gradients without mean",
    "nearly equal inputs, alternating gradients",
    "positive inputs, gradients along a line",
)


def factors_of(kind: str, n_positions: int, n_in: int, n_out: int) -> tuple[Tensor, Tensor]:
    """``(N_IMAGES, n_positions, n_in)`` inputs and output gradients whose positions cancel more or less."""
    inputs, gradients = torch.randn(N_IMAGES, n_positions, n_in), torch.randn(N_IMAGES, n_positions, n_out)
    if kind == "common input, gradients without mean":
        return inputs.abs() + 3, gradients - gradients.mean(1, keepdim=True)
    if kind == "nearly equal inputs, alternating gradients":
        signs = torch.tensor([1.0, -1.0]).repeat(n_positions)[:n_positions, None]
        return inputs[:, :1] + 1e-2 * inputs, gradients[:, :1] * signs + 1e-3 * gradients
    if kind == "positive inputs, gradients along a line":
        line = torch.linspace(-1, 1, n_positions)[:, None]
        return inputs.abs() ** 3 + 1, (gradients[:, :1].abs() + 1) * line + 1e-3 * gradients
    return inputs, gradients


def roundings(inputs: Tensor, gradients: Tensor) -> float:
    """Largest error of ``factors_of``, in the unit above."""
    input_gram, output_gram = torch.bmm(inputs, inputs.mT), torch.bmm(gradients, gradients.mT)
    squares = input_gram.diagonal(dim1=1, dim2=2).double() * output_gram.diagonal(dim1=1, dim2=2).double()
    by_gram = (input_gram * output_gram).sum((1, 2), dtype=torch.float64)
    exact = torch.bmm(gradients.double().mT, inputs.double()).square().sum((1, 2))
    error = (by_gram - exact).abs() / squares.sqrt().sum(1).square()
    return float(error.max()) * 2**24 * math.sqrt(inputs.shape[1])


def main() -> None:
    torch.manual_seed(0)
    rows = [
        {"kind": kind, "positions": n, "roundings": max(roundings(*factors_of(kind, n, *width)) for width in WIDTHS)}
        for kind in KINDS
        for n in POSITIONS
    ]
    table = pd.DataFrame(rows).pivot(index="kind", columns="positions", values="roundings")
    print(table.round(2).to_string())
    print(f"largest: {table.max().max():.2f}; the engine adds 8")


if __name__ == "__main__":
    main()
