from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.gram_rounding import KINDS, factors_of
from dpcxr_core.privacy import records
from dpcxr_core.privacy.records import OuterProducts, instantiated, joined, layout_of


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
    parameter = kept[0].parameter if isinstance(kept[0], OuterProducts) else kept[0].parameters[0]
    parameter.grad = None
    with torch.no_grad():
        for record in kept:
            record.add_weighted_sum(factors)
    return parameter.grad


def _alone(n_rows: int):
    return layout_of([1] * n_rows, torch.device("cpu"))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    rows_per_unit=st.lists(st.integers(1, 3), min_size=1, max_size=5),
    n_positions=st.integers(1, 30),
    n_in=st.integers(1, 20),
    n_out=st.integers(1, 20),
    seed=st.integers(0, 10**6),
)
def test_outer_products_match_the_gradient_of_each_unit(rows_per_unit, n_positions, n_in, n_out, seed):
    record = _random_record(sum(rows_per_unit), n_positions, n_in, n_out, seed)
    expected = torch.stack([part.sum(0) for part in _reference_gradients(record).split(rows_per_unit)])
    factors = torch.rand(len(rows_per_unit), dtype=torch.float64)
    squared, kept = record.settled(layout_of(rows_per_unit, torch.device("cpu")))
    torch.testing.assert_close(squared, expected.square().sum((1, 2)), rtol=1e-5, atol=1e-9)
    total = (expected * factors[:, None, None]).sum(0)
    torch.testing.assert_close(_kept_sum(kept, factors).double(), total, rtol=1e-4, atol=1e-4)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    rows_per_unit=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    shape=st.sampled_from([(3,), (4, 2), (2, 3, 5, 5), (700,)]),
    seed=st.integers(0, 10**6),
)
def test_instantiated_gradients_are_summed_by_unit_also_when_joined(rows_per_unit, shape, seed):
    torch.manual_seed(seed)
    parameters = [nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(6))]
    rows = [torch.randn(sum(rows_per_unit), *parameter.shape) for parameter in parameters]
    factors = torch.rand(len(rows_per_unit), dtype=torch.float64)
    record = joined([instantiated(parameter, each) for parameter, each in zip(parameters, rows, strict=True)])
    squared, kept = record.settled(layout_of(rows_per_unit, torch.device("cpu")))
    by_unit = [torch.stack([part.double().sum(0) for part in each.split(rows_per_unit)]) for each in rows]
    norms = sum(each.flatten(1).square().sum(1) for each in by_unit)
    torch.testing.assert_close(squared, norms, rtol=1e-5, atol=1e-9)
    _kept_sum(kept, factors)
    for parameter, each in zip(parameters, by_unit, strict=True):
        expected = (each.flatten(1) * factors[:, None]).sum(0).view(parameter.shape)
        torch.testing.assert_close(parameter.grad.double(), expected, rtol=1e-4, atol=1e-4)


def test_layout_gathers_equal_neighbours():
    layout = layout_of([1, 1, 3, 2, 2], torch.device("cpu"))
    assert [(group.first_row, group.first_unit, group.n_units, group.rows_each) for group in layout.groups] == [
        (0, 0, 2, 1),
        (2, 2, 1, 3),
        (5, 3, 2, 2),
    ]
    assert layout.unit_of_row.tolist() == [0, 1, 2, 2, 2, 3, 3, 4, 4]
    assert layout_of([1, 1], torch.device("cpu")).unit_of_row is None


def test_sums_are_added_to_what_a_gradient_holds():
    record = _random_record(2, 3, 4, 5, seed=4)
    record.parameter.grad = torch.ones(5, 4).t().contiguous().t()  # as a channels-last weight may leave it
    with torch.no_grad():
        record.add_weighted_sum(torch.tensor([1.0, 2.0]))
    expected = 1 + (_reference_gradients(record) * torch.tensor([1.0, 2.0])[:, None, None]).sum(0)
    torch.testing.assert_close(record.parameter.grad.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_positions", [1, 2, 40])
def test_short_floats_are_multiplied_in_float32_so_that_no_sum_exceeds_its_norm(n_positions):
    short = _random_record(1, n_positions, 30, 20, seed=5)
    short = replace(short, inputs=short.inputs.bfloat16(), output_gradients=short.output_gradients.bfloat16())
    squared, kept = short.settled(_alone(1))
    factor = 1 / squared.sqrt()
    norm = _kept_sum(kept, factor).double().norm()
    assert abs(norm - 1) < 1e-6
    in_16_bits = short.output_gradients[0].t() @ (short.inputs[0] * factor.bfloat16())
    assert abs(in_16_bits.double().norm() - 1) > 1e-5  # the mistake this test exists for


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_positions", [2, 16, 64])
def test_gram_norm_is_never_below_the_norm_of_the_gradient(kind, n_positions):
    """Clipping by a norm that is too small would let more than the clip norm through."""
    torch.manual_seed(n_positions)
    inputs, output_gradients = factors_of(kind, n_positions, 192, 576)
    record = OuterProducts(nn.Parameter(torch.zeros(576, 192)), inputs, output_gradients)
    squared, _ = record._settled_by_gram()
    exact = _reference_gradients(record).square().sum((1, 2))
    # of float64 instantiated rows where Gram is not trusted: right to float32 rounding of one entry
    assert bool((squared >= exact * (1 - 2e-7)).all())
    assert bool((squared <= exact * (1 + 3e-5)).all())


def test_gram_norms_would_be_too_small_without_what_is_added_for_rounding(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(records, "_ROUNDINGS", 0.0)
    inputs, output_gradients = factors_of("common input, gradients without mean", 64, 192, 576)
    record = OuterProducts(nn.Parameter(torch.zeros(576, 192)), inputs, output_gradients)
    squared, _ = record._settled_by_gram()
    assert bool((squared < _reference_gradients(record).square().sum((1, 2)) * (1 - 2e-7)).any())


def test_gram_norm_is_not_trusted_where_positions_cancel():
    """Large opposite contributions leave a small gradient, which a plain Gram norm loses in rounding."""
    record = _random_record(2, 4, 200, 200, seed=1)
    record.output_gradients[0, 1] = -record.output_gradients[0, 0]
    record.output_gradients[0, 2:] = 0
    record.inputs[0, :2] = 1e4 * record.inputs[0, :1]
    record.inputs[0, 1] += 1e-3 * torch.randn(200)
    squared, kept = record.settled(_alone(2))
    expected = record._instantiated().rows[0].double().square().sum()
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
    squared, _ = record.settled(_alone(2))
    expected = record._instantiated().rows.double().square().sum(1)
    torch.testing.assert_close(squared, expected, rtol=1e-5, atol=0)
    assert squared[0] > 0


def test_long_gradients_keep_their_norm_to_seven_digits():
    rows = torch.rand(2, 600, 4000) + 0.5
    record = instantiated(nn.Parameter(torch.zeros(600, 4000)), rows)
    expected = rows.double().square().sum((1, 2))
    torch.testing.assert_close(record.squared_norms(), expected, rtol=2e-7, atol=0)


def test_unusable_units_leave_no_trace():
    record = _random_record(3, 4, 5, 6, seed=3)
    record.inputs[1, 0, 0] = torch.nan
    unusable = torch.tensor([False, True, False])
    expected = _reference_gradients(record)[[0, 2]].sum(0)
    cleaned = _kept_sum([record.without(unusable)], torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(cleaned.double(), expected, rtol=1e-5, atol=1e-5)
    rows = instantiated(nn.Parameter(torch.zeros(2)), torch.tensor([[torch.inf, 1.0], [2.0, 3.0]]))
    rows = replace(rows, units=torch.tensor([1, 2]))
    assert _kept_sum([rows.without(unusable)], torch.tensor([0.0, 0.0, 1.0])).tolist() == [2.0, 3.0]
