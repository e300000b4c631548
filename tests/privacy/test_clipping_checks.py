import pytest
import torch
from torch import nn

from dpcxr_core.privacy.clipping_checks import (
    book_kept_sum,
    check_clipped_sum,
    check_contributions,
    check_physical_batches,
    losses_of,
    patients_among,
)
from dpcxr_core.privacy.oracle import clipped_sum_of, gradients_of_units, gradients_one_by_one
from tests.privacy.conftest import failed_checks


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Six images of 32 pixels: patients of one, two and three of them."""
    return torch.randn(6, 1, 32, 32), (torch.rand(6, 5) < 0.5).float()


def _by_oracle(model, images, targets, max_grad_norm, *, rows_per_unit=None, clipping="flat"):
    rows = gradients_one_by_one(model, images, targets, losses_of)
    units = gradients_of_units(rows, rows_per_unit or [1] * len(images))
    return {name: part.float() for name, part in clipped_sum_of(units, max_grad_norm, clipping).items()}


def test_engine_and_oracle_pass_every_check_of_sums(small_net, batch):
    for clipped_sum in (book_kept_sum, _by_oracle):
        results = check_clipped_sum(small_net, *batch, clipped_sum=clipped_sum)
        assert failed_checks(results) == set()
        assert len(results) == 8
    assert check_physical_batches(small_net, *batch).passed


def test_oracle_passes_the_check_of_contributions(small_net, batch):
    assert failed_checks(check_contributions(small_net, *batch, brief=True, clipped_sum=_by_oracle)) == set()


def test_engine_passes_the_check_of_contributions(small_net, batch):
    assert failed_checks(check_contributions(small_net, *batch)) == set()


def test_patients_have_one_two_and_three_images():
    assert patients_among(6) == [1, 2, 3]
    assert patients_among(3) == [1, 2]
    assert patients_among(8) == [1, 2, 3, 1, 1]
    assert patients_among(0) == []


def test_patches_read_as_if_contiguous_are_refused(small_net, batch, monkeypatch):
    """The mistake of Opacus 1.6.0: strides of a contiguous image on one that is not."""
    from dpcxr_core.privacy import layers

    right = layers._dense_record

    def misread(weight, x, gradient, **geometry):
        wrong = x.as_strided(x.shape, torch.empty(x.shape).stride())
        return right(weight, wrong, gradient, **geometry)

    monkeypatch.setattr(layers, "_dense_record", misread)
    failed = failed_checks(check_clipped_sum(small_net, *batch))
    assert failed >= {"clipped sum, image, contiguous", "clipped sum, patient, contiguous"}


def test_sums_without_clipping_are_refused(small_net, batch):
    def unclipped(model, images, targets, max_grad_norm, **choice):
        return book_kept_sum(model, images, targets, 1e9, rows_per_unit=choice["rows_per_unit"])

    both = {"contribution of one image", "contribution of one patient"}
    assert failed_checks(check_contributions(small_net, *batch, brief=True, clipped_sum=unclipped)) == both
    failed = failed_checks(check_clipped_sum(small_net, *batch, clipped_sum=unclipped))
    assert "clipped sum, image, contiguous" in failed


def test_images_clipped_one_by_one_break_the_bound_of_the_patient_alone(small_net, batch):
    """The mistake of calling image-level clipping user-level privacy."""

    def by_image(model, images, targets, max_grad_norm, *, rows_per_unit, clipping):
        return book_kept_sum(model, images, targets, max_grad_norm, clipping=clipping)

    failed = failed_checks(check_contributions(small_net, *batch, brief=True, clipped_sum=by_image))
    assert failed == {"contribution of one patient"}
    failed = failed_checks(check_clipped_sum(small_net, *batch, memory_formats=["contiguous"], clipped_sum=by_image))
    assert failed == {"clipped sum, patient, contiguous", "worst parameter, patient, contiguous"}


def test_patient_norm_without_the_products_of_pairs_is_refused(small_net, batch):
    """Squared norms of the images added up: too small where images are alike, too large where they cancel."""

    def added_up(model, images, targets, max_grad_norm, *, rows_per_unit, clipping):
        rows = gradients_one_by_one(model, images, targets, losses_of)
        total, first = {name: torch.zeros_like(part) for name, part in rows[0].items()}, 0
        for n_rows in rows_per_unit:
            unit = rows[first : first + n_rows]
            norm = sum(float(part.square().sum()) for row in unit for part in row.values()) ** 0.5
            factor = min(1.0, max_grad_norm / norm) if norm == norm and norm > 0 else 0.0
            for row in unit if factor else []:
                for name, part in row.items():
                    total[name] += factor * part
            first += n_rows
        return total

    failed = failed_checks(check_contributions(small_net, *batch, brief=True, clipped_sum=added_up))
    assert failed == {"contribution of one patient"}


def test_flat_instead_of_automatic_clipping_is_refused(small_net, batch):
    def always_flat(model, images, targets, max_grad_norm, *, rows_per_unit, clipping):
        return book_kept_sum(model, images, targets, max_grad_norm, rows_per_unit=rows_per_unit)

    results = check_clipped_sum(small_net, *batch, memory_formats=["contiguous"], clipped_sum=always_flat)
    assert failed_checks(results) >= {"clipped sum, image, contiguous", "clipped sum, patient, contiguous"}


def test_clipping_the_mean_instead_of_each_unit_is_refused(small_net, batch):
    def clipped_together(model, images, targets, max_grad_norm, **choice):
        losses_of(model(images), targets).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        found = {name: p.grad.clone() for name, p in model.named_parameters()}
        model.zero_grad()
        return found

    assert failed_checks(check_contributions(small_net, *batch, brief=True, clipped_sum=clipped_together))
    assert failed_checks(check_clipped_sum(small_net, *batch, clipped_sum=clipped_together))


def test_unit_that_is_not_finite_must_contribute_nothing(small_net, batch):
    def without_guard(model, images, targets, max_grad_norm, **choice):
        found = book_kept_sum(model, images, targets, max_grad_norm, **choice)
        if not images.isfinite().all():
            next(iter(found.values())).fill_(torch.nan)
        return found

    both = {"contribution of one image", "contribution of one patient"}
    assert failed_checks(check_contributions(small_net, *batch, brief=True, clipped_sum=without_guard)) == both


def test_good_images_of_a_patient_with_a_spoilt_one_must_not_be_used(small_net, batch):
    """Zeroing the row instead of the unit keeps the bound, but one patient's images would no longer be one unit."""

    def row_dropped(model, images, targets, max_grad_norm, *, rows_per_unit, clipping):
        good = images.flatten(1).isfinite().all(1)
        units = torch.repeat_interleave(torch.arange(len(rows_per_unit)), torch.tensor(rows_per_unit))[good]
        left = [int(count) for count in torch.bincount(units, minlength=len(rows_per_unit)) if count]
        return book_kept_sum(model, images[good], targets[good], max_grad_norm, rows_per_unit=left, clipping=clipping)

    failed = failed_checks(check_contributions(small_net, *batch, brief=True, clipped_sum=row_dropped))
    assert failed == {"contribution of one patient"}
