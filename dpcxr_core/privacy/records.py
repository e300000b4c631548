"""What one layer leaves behind in a backward pass: enough for the norm of every unit and for a weighted sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor, nn

# Price of one float of gradient kept per unit (one write, two reads) and of one multiply-add in a batched
# Gram product, both in multiply-adds of one large matrix product. Set by hand on two CPU cores.
_KEPT_FLOAT_PRICE = 40.0
_GRAM_PRICE = 1.5

# A Gram norm adds up products of float32 dot products. Measured over random and crafted factors of 2 to 256 positions
# (benchmarks/gram_rounding.py), its squared error stays below half of 8 / sqrt(n_positions) float32 roundings of the
# squared norm that the gradient would have without cancellation. So much is added, to stay on the safe side.
_ROUNDINGS = 8.0 * 2.0**-24
# Where that would move the squared norm by more than this share, the gradient is instantiated.
_LARGEST_ADDED_SHARE = 1e-5
# Nor is a Gram norm trusted where a squared length is so large that its partner could have underflowed unseen.
_LARGEST_TRUSTED_SQUARE = 1e30
_SHORT_SUM = 512


@dataclass(frozen=True)
class EqualUnits:
    """Neighbouring units of a physical batch that have equally many rows.

    Attributes:
        first_row: Of the first unit.
        first_unit: Number of the first unit.
        n_units: How many units.
        rows_each: Rows of each unit.
    """

    first_row: int
    first_unit: int
    n_units: int
    rows_each: int

    def rows_of(self, rows: Tensor) -> Tensor:
        """``(n_units, rows_each, ...)`` of ``rows`` ``(n_rows, ...)``."""
        chosen = rows[self.first_row : self.first_row + self.n_units * self.rows_each]
        return chosen.reshape(self.n_units, self.rows_each, *rows.shape[1:])

    def units(self, device: torch.device) -> Tensor:
        """``(n_units,)`` int64 numbers of the units."""
        return torch.arange(self.first_unit, self.first_unit + self.n_units, device=device)


@dataclass(frozen=True)
class Layout:
    """Which rows of a physical batch belong to which unit: neighbouring ones, in order.

    Attributes:
        n_rows: Rows of the batch.
        n_units: Units of the batch.
        groups: The same as groups of equally large units.
        unit_of_row: ``(n_rows,)`` int64; None where every row is a unit of its own.
    """

    n_rows: int
    n_units: int
    groups: tuple[EqualUnits, ...]
    unit_of_row: Tensor | None


def layout_of(rows_per_unit: Sequence[int], device: torch.device) -> Layout:
    """The layout of units with ``rows_per_unit`` rows, each at least 1; equal neighbours are treated together."""
    groups, first_row, first_unit = [], 0, 0
    for rows_each, equals in groupby(int(rows) for rows in rows_per_unit):
        n_units = len(list(equals))
        groups.append(EqualUnits(first_row, first_unit, n_units, rows_each))
        first_row += n_units * rows_each
        first_unit += n_units
    counts = torch.as_tensor(list(rows_per_unit), dtype=torch.int64, device=device)
    alone = first_row == first_unit
    unit_of_row = None if alone else torch.repeat_interleave(torch.arange(first_unit, device=device), counts)
    return Layout(first_row, first_unit, tuple(groups), unit_of_row)


@dataclass(frozen=True)
class InstantiatedGradients:
    """Gradients of one or several parameters, written out.

    Attributes:
        parameters: Whose gradients these are, one after the other in each row.
        rows: ``(n_rows, n_entries)``. From a layer one row an image, once settled one row a unit.
        units: ``(n_rows,)`` int64, the unit of each row; None means that row i is unit i.
        channels_last: Whether rows hold a kernel ``(n_out, height, width, n_in)`` and not as the parameter does.
    """

    parameters: tuple[nn.Parameter, ...]
    rows: Tensor
    units: Tensor | None = None
    channels_last: bool = False

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return self.rows.shape[0]

    def squared_norms(self) -> Tensor:
        """``(n_rows,)`` float64 squared L2 norms of the rows."""
        # Short float32 sums, then one float64 sum: a long float32 sum is wrong in the fifth digit.
        n_whole = self.rows.shape[1] // _SHORT_SUM * _SHORT_SUM
        pieces = self.rows[:, :n_whole].unflatten(1, (-1, _SHORT_SUM))
        squared = torch.linalg.vector_norm(pieces, dim=2).double().square_().sum(1)
        if n_whole < self.rows.shape[1]:
            squared += torch.linalg.vector_norm(self.rows[:, n_whole:], dim=1).double().square_()
        return squared

    def settled(self, layout: Layout) -> tuple[Tensor, list[Record]]:
        """Squared norms ``(n_units,)`` float64, and the records to keep."""
        summed = self
        if layout.unit_of_row is not None:
            summed = replace(self, rows=torch.cat([group.rows_of(self.rows).sum(1) for group in layout.groups]))
        return summed.squared_norms(), [summed]

    def without(self, unusable: Tensor) -> InstantiatedGradients:
        """The same, with zeros for the units marked in ``unusable`` ``(n_units,)`` bool."""
        return replace(self, rows=self.rows.index_fill(0, _marked(unusable, self.units), 0.0))

    def add_weighted_sum(self, factors: Tensor) -> None:
        """Adds the sum over units of factor times gradient to each ``.grad``; ``factors`` is ``(n_units,)``."""
        chosen = (factors if self.units is None else factors[self.units]).to(self.rows.dtype)
        if self.channels_last:
            (kernel,) = self.parameters
            _add_channels_last(kernel, torch.mv(self.rows.t(), chosen))
            return
        start = 0
        for parameter in self.parameters:
            rows = self.rows[:, start : start + parameter.numel()]
            total, old_share = _gradient_of(parameter)
            total.view(-1).addmv_(rows.t(), chosen, beta=old_share)
            start += parameter.numel()


def instantiated(parameter: nn.Parameter, rows: Tensor) -> InstantiatedGradients:
    """The record of one parameter whose per-image gradients are ``rows`` ``(n_rows, ...)``, in its own order."""
    return InstantiatedGradients((parameter,), rows.flatten(1))


def joined(records: Sequence[InstantiatedGradients]) -> InstantiatedGradients:
    """Several records of whole batches as one, so that many small ones cost one operation instead of many."""
    parameters = tuple(parameter for record in records for parameter in record.parameters)
    return InstantiatedGradients(parameters, torch.cat([record.rows for record in records], dim=1))


@dataclass(frozen=True)
class OuterProducts:
    """Gradients of one weight as sums of outer products over positions, not yet multiplied out.

    The gradient of row n is ``output_gradients[n].T @ inputs[n]``.

    Attributes:
        parameter: ``(n_out, ...)``; all but the first dimension count as one.
        inputs: ``(n_rows, n_positions, n_in)``; may be bfloat16, products are made in float32.
        output_gradients: ``(n_rows, n_positions, n_out)``, likewise.
        units: ``(n_rows,)`` int64, the unit of each row; None means that row i is unit i.
        channels_last: Whether the ``n_in`` inputs stand as ``(height, width, n_in)`` of a kernel's patch.
    """

    parameter: nn.Parameter
    inputs: Tensor
    output_gradients: Tensor
    units: Tensor | None = None
    channels_last: bool = False

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return self.inputs.shape[0]

    def settled(self, layout: Layout) -> tuple[Tensor, list[Record]]:
        """Squared norms ``(n_units,)`` float64 by the cheaper of two ways, and the records to keep."""
        if layout.unit_of_row is None:
            return self._settled_alone()
        squared, kept = [], []
        for group in layout.groups:
            united = self._united(group)
            norms, records = united._settled_alone()
            squared.append(norms)
            kept += [replace(record, units=_numbered(record.units, group, norms.device)) for record in records]
        return torch.cat(squared), kept

    def without(self, unusable: Tensor) -> OuterProducts:
        """The same, with zeros for the units marked in ``unusable`` ``(n_units,)`` bool."""
        marked = _marked(unusable, self.units)
        return replace(
            self,
            inputs=self.inputs.index_fill(0, marked, 0.0),
            output_gradients=self.output_gradients.index_fill(0, marked, 0.0),
        )

    def add_weighted_sum(self, factors: Tensor) -> None:
        """Adds the sum over units of factor times gradient to ``.grad``; ``factors`` is ``(n_units,)``."""
        inputs, output_gradients = _in_float(self.inputs), _in_float(self.output_gradients)
        chosen = factors if self.units is None else factors[self.units]
        per_row = chosen.to(inputs.dtype)[:, None, None]
        if inputs.shape[2] <= output_gradients.shape[2]:
            inputs = inputs * per_row
        else:
            output_gradients = output_gradients * per_row
        by_output, by_input = output_gradients.flatten(0, 1).t(), inputs.flatten(0, 1)
        if self.channels_last:
            _add_channels_last(self.parameter, by_output @ by_input)
            return
        total, old_share = _gradient_of(self.parameter)
        total.view(total.shape[0], -1).addmm_(by_output, by_input, beta=old_share)

    def _united(self, group: EqualUnits) -> OuterProducts:
        """One row a unit: the positions of a unit's rows stand behind one another."""
        inputs, output_gradients = group.rows_of(self.inputs), group.rows_of(self.output_gradients)
        return replace(self, inputs=inputs.flatten(1, 2), output_gradients=output_gradients.flatten(1, 2))

    def _settled_alone(self) -> tuple[Tensor, list[Record]]:
        """``settled`` where every row is a unit."""
        n_positions, n_in = self.inputs.shape[1:]
        n_out = self.output_gradients.shape[2]
        if n_positions == 1:
            return self._single_position_norms(), [self]
        if _GRAM_PRICE * n_positions**2 * (n_in + n_out) < _KEPT_FLOAT_PRICE * n_in * n_out:
            return self._settled_by_gram()
        written_out = self._instantiated()
        return written_out.squared_norms(), [written_out]

    def _instantiated(self) -> InstantiatedGradients:
        rows = torch.bmm(_in_float(self.output_gradients).transpose(1, 2), _in_float(self.inputs))
        return InstantiatedGradients((self.parameter,), rows.flatten(1), channels_last=self.channels_last)

    def _single_position_norms(self) -> Tensor:
        inputs, output_gradients = self.inputs[:, 0].double(), self.output_gradients[:, 0].double()
        return inputs.square().sum(1) * output_gradients.square().sum(1)

    def _settled_by_gram(self) -> tuple[Tensor, list[Record]]:
        """Norms from position-by-position Gram matrices; units these cannot be trusted for are instantiated.

        The squared norm is the sum of the entrywise product of the two Gram matrices. Where positions
        cancel, it is a small difference of large numbers, and clipping by it could let through more than
        the clip norm. An instantiated gradient has no such gap: its norm is that of the very numbers summed.
        """
        inputs, output_gradients = _in_float(self.inputs), _in_float(self.output_gradients)
        input_gram = torch.bmm(inputs, inputs.transpose(1, 2))
        output_gram = torch.bmm(output_gradients, output_gradients.transpose(1, 2))
        input_squares = input_gram.diagonal(dim1=1, dim2=2).double()
        output_squares = output_gram.diagonal(dim1=1, dim2=2).double()
        without_cancellation = (input_squares * output_squares).sqrt().sum(1).square()
        squared = input_gram.mul_(output_gram).sum((1, 2), dtype=torch.float64)
        rounding = _ROUNDINGS / math.sqrt(inputs.shape[1]) * without_cancellation
        trusted = (
            squared.isfinite()
            & (rounding <= _LARGEST_ADDED_SHARE * squared)
            & (input_squares.amax(1) < _LARGEST_TRUSTED_SQUARE)
            & (output_squares.amax(1) < _LARGEST_TRUSTED_SQUARE)
        )
        squared += rounding
        if trusted.all():
            return squared, [self]
        doubtful = (~trusted).nonzero().flatten()
        part = replace(self, inputs=self.inputs[doubtful], output_gradients=self.output_gradients[doubtful])
        written_out = replace(part._instantiated(), units=doubtful)
        squared[doubtful] = written_out.squared_norms()
        return squared, [self.without(~trusted), written_out]


Record = InstantiatedGradients | OuterProducts


def _in_float(values: Tensor) -> Tensor:
    """``values`` in float32 where they are shorter: a product rounded to 16 bits could exceed its own norm."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _marked(unusable: Tensor, units: Tensor | None) -> Tensor:
    return (unusable if units is None else unusable[units]).nonzero().flatten()


def _numbered(units: Tensor | None, group: EqualUnits, device: torch.device) -> Tensor:
    """Numbers within ``group`` as numbers within the batch."""
    return group.units(device) if units is None else units + group.first_unit


def _add_channels_last(kernel: nn.Parameter, total: Tensor) -> None:
    """Adds ``total``, ``(n_out, height, width, n_in)`` in any shape, to the ``.grad`` of ``kernel``."""
    n_out, n_in, height, width = kernel.shape
    as_kernel = total.view(n_out, height, width, n_in).permute(0, 3, 1, 2)
    gradient, old_share = _gradient_of(kernel)
    if old_share:
        gradient.add_(as_kernel)
    else:
        gradient.copy_(as_kernel)


def _gradient_of(parameter: nn.Parameter) -> tuple[Tensor, float]:
    """``.grad`` to add to in place, and which share of what it holds counts: none of a fresh one."""
    if parameter.grad is None:
        # Contiguous whatever the weight is, so that products can be written into it without a copy.
        parameter.grad = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
        return parameter.grad, 0.0
    if not parameter.grad.is_contiguous():
        parameter.grad = parameter.grad.contiguous()
    return parameter.grad, 1.0
