"""What each way of drawing batches guarantees: bounds on epsilon that are proved, and to whom they apply."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from dpcxr_core.accounting.balls_and_bins import epsilon_balls_and_bins, epsilon_balls_and_bins_at_least
from dpcxr_core.accounting.fixed_size import epsilon_fixed_size, epsilon_fixed_size_at_least
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.accounting.poisson_variants import (
    epsilon_poisson_at_least,
    epsilon_poisson_replace_one,
    epsilon_truncated_poisson,
    epsilon_truncated_poisson_at_least,
)
from dpcxr_core.accounting.shuffling import epsilon_one_batch_a_pass, epsilon_shuffled_at_least
from dpcxr_core.accounting.values import check_n_units
from dpcxr_core.config import SAMPLERS, PrivacySpecification, Sampler, UserError

Relation = Literal["add_or_remove_one", "zero_out_one", "replace_one"]


@dataclass(frozen=True, kw_only=True)
class SamplerGuarantee:
    """What is proved about one sampler under one neighbouring relation. Epsilons of different relations differ.

    Attributes:
        sampler: How units enter a step.
        neighbouring_relation: What differs between neighbours. "zero_out_one": the gradient of one unit is zeroed;
            "replace_one": one unit is another one. Both leave the number of units as it is, which is public.
        accountant: What ``epsilon`` comes from.
        epsilon: Upper bound: what may be claimed.
        epsilon_low: Lower bound: what no accountant can go below; NaN where none is known.
        epsilon_if_poisson: What would hold for Poisson draws of the same rate, adding or removing a unit. For any
            other sampler this is not a guarantee.
        promise: The guarantee in words.
        privacy_unit: Whose data differs between neighbours.
        delta: Of every epsilon here.
    """

    sampler: Sampler
    neighbouring_relation: Relation
    accountant: str
    epsilon: float
    epsilon_low: float
    epsilon_if_poisson: float
    promise: str
    privacy_unit: str
    delta: float


def guarantees_of(specification: PrivacySpecification, n_units: int) -> list[SamplerGuarantee]:
    """What the sampler of ``specification`` guarantees on ``n_units`` units: once a relation that suits it.

    Args:
        specification: With clipping and noise; its sampler may be any.
        n_units: Units of the training set; public for all samplers but Poisson, and balls and bins.

    Raises:
        UserError: Nothing is clipped or no noise is added; ``n_units`` does not fit; a value is out of range.
    """
    if specification.clipping == "none" or specification.noise_multiplier == 0:
        raise UserError(
            "no sampler guarantees anything without clipping and noise; got clipping "
            f"{specification.clipping!r} and noise_multiplier {specification.noise_multiplier:g}"
        )
    check_n_units(specification, n_units)
    if_poisson = epsilon_pld(*specification.accounted)
    rows = {
        "poisson": _of_poisson,
        "truncated_poisson": _of_truncated_poisson,
        "fixed_size": _of_fixed_size,
        "shuffled": _of_shuffled,
        "balls_and_bins": _of_balls_and_bins,
    }[specification.sampler](specification, n_units)
    return [
        SamplerGuarantee(
            sampler=specification.sampler,
            neighbouring_relation=relation,
            accountant=accountant,
            epsilon=epsilon,
            epsilon_low=low,
            epsilon_if_poisson=if_poisson,
            promise=promise,
            privacy_unit=specification.privacy_unit,
            delta=specification.delta,
        )
        for relation, accountant, epsilon, low, promise in rows
    ]


def with_every_sampler(
    specification: PrivacySpecification, *, deviations: float = 6.0
) -> dict[Sampler, PrivacySpecification]:
    """``specification`` with each sampler in turn: same noise, steps, rate and divisor, so runs can be compared.

    Args:
        specification: Its own sampler does not matter.
        deviations: The cap of truncated Poisson batches lies this many square roots of the expected batch size above
            it. Six are hardly ever reached; four may cost half of epsilon.
    """
    size = specification.expected_batch_size
    largest = size + math.ceil(deviations * math.sqrt(size))
    return {
        name: replace(specification, sampler=name, largest_batch=largest if name == "truncated_poisson" else None)
        for name in SAMPLERS
    }


_Row = tuple[Relation, str, float, float, str]


def _of_poisson(specification: PrivacySpecification, n_units: int) -> list[_Row]:
    values = specification.accounted
    low = epsilon_poisson_at_least(*values)
    promise = "Each unit enters each step by a coin of its own; the number of units need not be public."
    replaced = "The same run, compared with one in which a unit is another one; for comparison with fixed sizes."
    return [
        ("add_or_remove_one", "PLD", epsilon_pld(*values), low, promise),
        # ``low`` holds here too: another unit may have no gradient at all, which is as good as removed
        ("replace_one", "PLD", epsilon_poisson_replace_one(*values), low, replaced),
    ]


def _of_truncated_poisson(specification: PrivacySpecification, n_units: int) -> list[_Row]:
    values, largest = specification.accounted, specification.largest_batch
    assert largest is not None
    epsilon = epsilon_truncated_poisson(*values, n_units=n_units, largest_batch=largest)
    low = epsilon_truncated_poisson_at_least(*values, n_units=n_units, largest_batch=largest)
    promise = f"As Poisson, but no step has more than {largest} units, at the price of a public number of units."
    return [("zero_out_one", "PLD", epsilon, low, promise)]


def _of_fixed_size(specification: PrivacySpecification, n_units: int) -> list[_Row]:
    values = _cut_evenly(specification, n_units)
    promise = "A unit that enters pushes another one out, so batches tell more about it than Poisson batches."
    return [("replace_one", "PLD", epsilon_fixed_size(*values), epsilon_fixed_size_at_least(*values), promise)]


def _of_shuffled(specification: PrivacySpecification, n_units: int) -> list[_Row]:
    values = _cut_evenly(specification, n_units)
    promise = "Only what would hold if the order were known; how much the shuffling helps is not known."
    return [
        (
            "zero_out_one",
            "Gaussian, one batch a pass",
            epsilon_one_batch_a_pass(*values),
            epsilon_shuffled_at_least(*values),
            promise,
        ),
        (
            "replace_one",
            "Gaussian, one batch a pass",
            epsilon_one_batch_a_pass(*values, sensitivity=2.0),
            epsilon_shuffled_at_least(*values, sensitivity=2.0),
            promise,
        ),
    ]


def _of_balls_and_bins(specification: PrivacySpecification, n_units: int) -> list[_Row]:
    values = specification.accounted
    promise = "Each unit is in at most one step of each pass, a random one; others do not push it out."
    epsilon, low = epsilon_balls_and_bins(*values), epsilon_balls_and_bins_at_least(*values)
    return [("add_or_remove_one", "numerical integration", epsilon, low, promise)]


def _cut_evenly(specification: PrivacySpecification, n_units: int) -> tuple[float, float, int, float]:
    """The values where batches are cut from the units that there are."""
    noise_multiplier, _, n_steps, delta = specification.accounted
    return noise_multiplier, specification.expected_batch_size / n_units, n_steps, delta
