import math

import pytest

from dpcxr_core.accounting import solving
from dpcxr_core.accounting.calibration import MOST_STEPS
from dpcxr_core.accounting.deadline import TooSlowError
from dpcxr_core.accounting.gaussian import epsilon_gaussian
from dpcxr_core.accounting.poisson import epsilon_pld
from dpcxr_core.accounting.solving import (
    Problem,
    epsilon_rounded_up,
    largest_expected_batch_size,
    largest_n_steps,
    solved_certificate,
)
from dpcxr_core.config import UserError

SMALL = {"delta": 1e-5, "n_units": 1000, "max_grad_norm": 0.5}


@pytest.mark.parametrize(
    ("values", "golden"),
    [
        (
            {"noise_multiplier": 3.0, "sample_rate": 0.1, "target_epsilon": 2.0, "delta": 1e-6},
            155,
        ),  # jax_privacy doctest
        ({"noise_multiplier": 1.1, "sample_rate": 1024 / 86524, "target_epsilon": 3.0, "delta": 6e-6}, 2464),
    ],
)
def test_steps_match_values_computed_apart_and_one_more_is_too_many(values, golden):
    assert largest_n_steps(**values) == golden
    last, next_one = (
        epsilon_pld(values["noise_multiplier"], values["sample_rate"], n, values["delta"]) for n in (golden, golden + 1)
    )
    assert last <= values["target_epsilon"] < next_one


def test_steps_match_the_closed_form_without_sampling():
    found = largest_n_steps(target_epsilon=3.0, delta=1e-5, sample_rate=1.0, noise_multiplier=10.0)
    assert epsilon_gaussian(10.0, found, 1e-5) <= 3.0 < epsilon_gaussian(10.0, found + 2, 1e-5)


def test_batch_is_the_largest_within_the_target_and_at_most_all_units():
    values = {"target_epsilon": 2.0, "delta": 1e-5, "n_units": 1000, "n_steps": 60}
    found = largest_expected_batch_size(**values, noise_multiplier=2.0)
    assert epsilon_pld(2.0, found / 1000, 60, 1e-5) <= 2.0 < epsilon_pld(2.0, (found + 1) / 1000, 60, 1e-5)
    assert largest_expected_batch_size(**values, noise_multiplier=50.0) == 1000


def test_epsilon_is_rounded_up():
    exact = epsilon_pld(2.0, 0.05, 60, 1e-5)
    assert exact <= epsilon_rounded_up(2.0, 0.05, 60, 1e-5) < exact + 1e-4


def test_answers_that_do_not_exist_say_why():
    strict = {"target_epsilon": 0.1, "delta": 1e-6, "sample_rate": 0.1}
    with pytest.raises(UserError, match="even one step spends more than target_epsilon 0.1"):
        largest_n_steps(**strict, noise_multiplier=0.3)
    with pytest.raises(UserError, match="up to 1000000; ask for less noise"):
        largest_n_steps(target_epsilon=90, delta=1e-6, sample_rate=0.001, noise_multiplier=50)
    with pytest.raises(UserError, match="even one unit"):
        largest_expected_batch_size(target_epsilon=0.1, delta=1e-6, n_units=10, n_steps=10, noise_multiplier=0.5)
    with pytest.raises(TooSlowError):
        largest_n_steps(target_epsilon=2.0, delta=1e-6, sample_rate=0.1, noise_multiplier=3.0, time_limit=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 57, 2463, 4096])
def test_search_finds_the_last_that_is_within_whatever_rdp_says(count, monkeypatch):
    monkeypatch.setattr(solving, "epsilon_pld", lambda n: 1.0 if n <= count else 1.01)
    for by_rdp in (0.7, 0.9, 0.999, 1.02):  # the last: RDP below PLD by a hair
        monkeypatch.setattr(solving, "epsilon_rdp", lambda n, factor=by_rdp: n / (factor * count))
        found = solving._largest(lambda n: (n,), 1.0, 4096, "step", solving.Deadline())
        assert found == count


@pytest.mark.parametrize("unknown", ["noise", "steps", "batch", "epsilon"])
def test_each_unknown_is_found_from_the_other_three(unknown):
    values = {"target_epsilon": 2.0, "noise_multiplier": 1.9, "expected_batch_size": 50, "n_steps": 100}
    known = {key: value for key, value in values.items() if key != solving.SOLVED_FOR[unknown]}
    problem = Problem(**known, **SMALL)
    assert problem.unknown == solving.SOLVED_FOR[unknown]
    found = solved_certificate(problem)
    assert all(getattr(found, key) == value for key, value in known.items())
    assert 0.97 * found.target_epsilon < found.epsilon_pld <= found.target_epsilon
    assert found.sample_rate == found.expected_batch_size / 1000
    assert found.max_grad_norm == 0.5


def test_problem_needs_all_but_what_it_asks_for():
    known = {"target_epsilon": 2.0, "expected_batch_size": 50}
    with pytest.raises(UserError, match="exactly one of .* left out: noise_multiplier, n_steps"):
        Problem(**known, **SMALL)
    with pytest.raises(UserError, match="left out: none"):
        Problem(**known, noise_multiplier=1.0, n_steps=5, **SMALL)


def test_wrong_choice_is_refused_before_the_search(monkeypatch):
    monkeypatch.setattr(solving, "largest_n_steps", None)
    known = {"target_epsilon": 2.0, "expected_batch_size": 50, "noise_multiplier": 1.0}
    with pytest.raises(UserError, match="max_images_per_patient"):
        solved_certificate(Problem(**known, **SMALL, privacy_unit="patient"))
    with pytest.raises(UserError, match="noise_multiplier"):
        solved_certificate(Problem(**known | {"noise_multiplier": math.nan}, **SMALL))


def test_run_too_long_to_account_for_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(solving, "epsilon_pld", None)
    monkeypatch.setattr(solving, "epsilon_rdp", None)
    refused = "n_steps must be at most 1000000.*got 1000001.*fewer steps"
    known = {"expected_batch_size": 50, "n_steps": MOST_STEPS + 1}
    with pytest.raises(UserError, match=refused):
        Problem(target_epsilon=2.0, **known, **SMALL)
    with pytest.raises(UserError, match=refused):
        Problem(noise_multiplier=2.0, **known, **SMALL)
    with pytest.raises(UserError, match=refused):
        epsilon_rounded_up(2.0, 0.1, MOST_STEPS + 1, 1e-5)
    with pytest.raises(UserError, match=refused):
        largest_expected_batch_size(
            target_epsilon=2.0, delta=1e-5, n_units=1000, n_steps=MOST_STEPS + 1, noise_multiplier=2.0
        )


def test_most_steps_are_the_end_of_the_search(monkeypatch):
    """RDP above the target there and PLD within it: the promise that one more is too many ends where nobody looks."""
    monkeypatch.setattr(solving, "epsilon_pld", lambda *values: 1.0)
    monkeypatch.setattr(solving, "epsilon_rdp", lambda noise, rate, n_steps, delta: 1.01 * n_steps / MOST_STEPS)
    values = {"target_epsilon": 1.0, "delta": 1e-5, "sample_rate": 0.1, "noise_multiplier": 1.0}
    assert largest_n_steps(**values) == MOST_STEPS
