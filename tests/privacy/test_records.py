import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dpcxr_core.privacy.records import OuterProducts, PerImageGradients


def _reference_gradients(record: OuterProducts) -> Tensor:
    return torch.stack([b.double().T @ a.double() for a, b in zip(record.inputs, record.output_gradients, strict=True)])


def _random_record(n_images: int, n_positions: int, n_in: int, n_out: int, seed: int) -> OuterProducts:
    generator = torch.Generator().manual_seed(seed)
    return OuterProducts(
        nn.Parameter(torch.zeros(n_out, n_in)),
        torch.randn(n_images, n_positions, n_in, generator=generator),
        torch.randn(n_images, n_positions, n_out, generator=generator),
    )


def _kept_sum(kept: list, factors: Tensor) -> Tensor:
    return sum(record.weighted_sum(factors) for record in kept)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    n_images=st.integers(1, 4),
    n_positions=st.integers(1, 30),
    n_in=st.integers(1, 20),
    n_out=st.integers(1, 20),
    seed=st.integers(0, 10**6),
)
def test_outer_products_match_the_multiplied_out_gradient(n_images, n_positions, n_in, n_out, seed):
    record = _random_record(n_images, n_positions, n_in, n_out, seed)
    expected = _reference_gradients(record)
    factors = torch.rand(n_images, dtype=torch.float64)
    squared, kept = record.settled()
    torch.testing.assert_close(squared, expected.square().sum((1, 2)), rtol=1e-5, atol=1e-9)
    total = (expected * factors[:, None, None]).sum(0)
    torch.testing.assert_close(_kept_sum(kept, factors).double(), total, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(record.weighted_sum(None).double(), expected.sum(0), rtol=1e-4, atol=1e-4)


def test_gram_norm_is_not_trusted_where_positions_cancel():
    """Large opposite contributions leave a small gradient, which a plain Gram norm loses in rounding."""
    record = _random_record(2, 4, 200, 200, seed=1)
    record.output_gradients[0, 1] = -record.output_gradients[0, 0]
    record.output_gradients[0, 2:] = 0
    record.inputs[0, :2] = 1e4 * record.inputs[0, :1]
    record.inputs[0, 1] += 1e-3 * torch.randn(200)
    squared, kept = record.settled()
    expected = record._multiplied()[0].double().square().sum()
    gram = (
        torch.bmm(record.inputs, record.inputs.mT) * torch.bmm(record.output_gradients, record.output_gradients.mT)
    ).sum((1, 2))[0]
    assert abs(gram / expected - 1) > 1e-3  # the mistake this guard exists for
    assert abs(squared[0] / expected - 1) < 1e-5
    only_first = _kept_sum(kept, torch.tensor([1.0, 0.0]))
    assert abs(only_first.double().square().sum() / squared[0] - 1) < 1e-5


def test_gram_norm_is_not_trusted_near_the_ends_of_float32():
    record = _random_record(2, 3, 150, 150, seed=2)
    record.inputs[0] *= 1e-24  # squares vanish in float32, their partner's would not make up for it
    record.output_gradients[0] *= 1e17
    squared, _ = record.settled()
    expected = record._multiplied().double().square().sum((1, 2))
    torch.testing.assert_close(squared, expected, rtol=1e-5, atol=0)
    assert squared[0] > 0


def test_long_gradients_keep_their_norm_to_seven_digits():
    rows = torch.rand(2, 600, 4000) + 0.5
    record = PerImageGradients(nn.Parameter(torch.zeros(600, 4000)), rows)
    expected = rows.double().square().sum((1, 2))
    torch.testing.assert_close(record.squared_norms(), expected, rtol=2e-7, atol=0)


def test_unusable_images_leave_no_trace():
    record = _random_record(3, 4, 5, 6, seed=3)
    record.inputs[1, 0, 0] = torch.nan
    unusable = torch.tensor([False, True, False])
    expected = _reference_gradients(record)[[0, 2]].sum(0)
    cleaned = record.without(unusable).weighted_sum(torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(cleaned.double(), expected, rtol=1e-5, atol=1e-5)
    rows = PerImageGradients(
        nn.Parameter(torch.zeros(2)), torch.tensor([[torch.inf, 1.0], [2.0, 3.0]]), images=torch.tensor([1, 2])
    )
    assert rows.without(unusable).weighted_sum(torch.tensor([0.0, 0.0, 1.0])).tolist() == [2.0, 3.0]
