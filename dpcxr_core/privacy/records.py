"""What one layer leaves behind in a backward pass: enough for per-image norms and for a weighted sum."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

# Price of one float of per-image gradient kept (one write, two reads) and of one multiply-add in a batched
# Gram product, both in multiply-adds of one large matrix product. Set by hand on two CPU cores.
_KEPT_FLOAT_PRICE = 40.0
_GRAM_PRICE = 1.5

# A Gram norm is trusted while it has not lost more than three digits to cancellation and while no squared
# length is so large that its partner could have underflowed unseen.
_SMALLEST_TRUSTED_SHARE = 1e-3
_LARGEST_TRUSTED_SQUARE = 1e30


@dataclass(frozen=True)
class PerImageGradients:
    """The gradient of one parameter, one row per image.

    Attributes:
        parameter: Whose gradient this is.
        rows: ``(n_rows, ...)``; a row holds ``parameter.numel()`` entries in the parameter's order.
        images: ``(n_rows,)`` int64, the image of each row; None means row i is image i.
    """

    parameter: nn.Parameter
    rows: Tensor
    images: Tensor | None = None

    def squared_norms(self) -> Tensor:
        """``(n_rows,)`` float64 squared L2 norms of the rows."""
        n_rows = self.rows.shape[0]
        # Short float32 sums, then one float64 sum: a long float32 sum is wrong in the fifth digit.
        pieces = self.rows.reshape(n_rows, self.parameter.shape[0], -1)
        return torch.linalg.vector_norm(pieces, dim=2).double().square_().sum(1)

    def settled(self) -> tuple[Tensor, list[Record]]:
        """Squared norms per image, and the records to keep."""
        return self.squared_norms(), [self]

    def without(self, unusable: Tensor) -> PerImageGradients:
        """The same, with zeros for the images marked in ``unusable`` ``(n_images,)`` bool."""
        marked = unusable if self.images is None else unusable[self.images]
        return replace(self, rows=self.rows.index_fill(0, marked.nonzero().flatten(), 0.0))

    def weighted_sum(self, factors: Tensor | None) -> Tensor:
        """Sum over images of factor times gradient, shaped as the parameter; None means all ones."""
        rows = self.rows.flatten(1)
        if factors is None:
            return rows.sum(0).view(self.parameter.shape)
        chosen = factors if self.images is None else factors[self.images]
        return torch.mv(rows.t(), chosen.to(rows.dtype)).view(self.parameter.shape)


@dataclass(frozen=True)
class OuterProducts:
    """The gradient of one weight as a sum of outer products over positions, not yet multiplied out.

    The gradient of image n is ``output_gradients[n].T @ inputs[n]``.

    Attributes:
        parameter: ``(n_out, ...)``; all but the first dimension count as one.
        inputs: ``(n_images, n_positions, n_in)``.
        output_gradients: ``(n_images, n_positions, n_out)``.
    """

    parameter: nn.Parameter
    inputs: Tensor
    output_gradients: Tensor

    def settled(self) -> tuple[Tensor, list[Record]]:
        """Squared norms per image by the cheaper of two ways, and the records to keep."""
        n_positions, n_in = self.inputs.shape[1:]
        n_out = self.output_gradients.shape[2]
        if n_positions == 1:
            return self._single_position_norms(), [self]
        if _GRAM_PRICE * n_positions**2 * (n_in + n_out) < _KEPT_FLOAT_PRICE * n_in * n_out:
            return self._settled_by_gram()
        multiplied = PerImageGradients(self.parameter, self._multiplied())
        return multiplied.settled()

    def without(self, unusable: Tensor) -> OuterProducts:
        """The same, with zeros for the images marked in ``unusable`` ``(n_images,)`` bool."""
        marked = unusable.nonzero().flatten()
        return replace(
            self,
            inputs=self.inputs.index_fill(0, marked, 0.0),
            output_gradients=self.output_gradients.index_fill(0, marked, 0.0),
        )

    def weighted_sum(self, factors: Tensor | None) -> Tensor:
        """Sum over images of factor times gradient, shaped as the parameter; None means all ones."""
        inputs, output_gradients = self.inputs, self.output_gradients
        if factors is not None:
            per_image = factors.to(inputs.dtype)[:, None, None]
            if inputs.shape[2] <= output_gradients.shape[2]:
                inputs = inputs * per_image
            else:
                output_gradients = output_gradients * per_image
        product = output_gradients.flatten(0, 1).t() @ inputs.flatten(0, 1)
        return product.view(self.parameter.shape)

    def _multiplied(self) -> Tensor:
        return torch.bmm(self.output_gradients.transpose(1, 2), self.inputs)

    def _single_position_norms(self) -> Tensor:
        inputs, output_gradients = self.inputs[:, 0].double(), self.output_gradients[:, 0].double()
        return inputs.square().sum(1) * output_gradients.square().sum(1)

    def _settled_by_gram(self) -> tuple[Tensor, list[Record]]:
        """Norms from position-by-position Gram matrices; images these cannot be trusted for are multiplied out.

        The squared norm is the sum of the entrywise product of the two Gram matrices. Where positions
        cancel, it is a small difference of large numbers, and clipping by it could let through more than
        the clip norm. A multiplied-out gradient has no such gap: its norm is that of the very numbers summed.
        """
        input_gram = torch.bmm(self.inputs, self.inputs.transpose(1, 2))
        output_gram = torch.bmm(self.output_gradients, self.output_gradients.transpose(1, 2))
        input_squares = input_gram.diagonal(dim1=1, dim2=2).double()
        output_squares = output_gram.diagonal(dim1=1, dim2=2).double()
        without_cancellation = (input_squares * output_squares).sqrt().sum(1).square()
        squared = input_gram.mul_(output_gram).sum((1, 2), dtype=torch.float64)
        trusted = (
            squared.isfinite()
            & (squared >= _SMALLEST_TRUSTED_SHARE * without_cancellation)
            & (input_squares.amax(1) < _LARGEST_TRUSTED_SQUARE)
            & (output_squares.amax(1) < _LARGEST_TRUSTED_SQUARE)
        )
        if trusted.all():
            return squared, [self]
        doubtful = (~trusted).nonzero().flatten()
        part = replace(self, inputs=self.inputs[doubtful], output_gradients=self.output_gradients[doubtful])
        multiplied = PerImageGradients(self.parameter, part._multiplied(), images=doubtful)
        squared[doubtful] = multiplied.squared_norms()
        return squared, [self.without(~trusted), multiplied]


Record = PerImageGradients | OuterProducts
