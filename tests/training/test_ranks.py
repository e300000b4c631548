import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dpcxr_core.config import UserError
from dpcxr_core.training.ranks import (
    Ranks,
    _buckets,
    agree,
    from_first,
    gather,
    join_ranks,
    same_weights,
    share_of,
    sum_gradients,
)
from tests.conftest import PROJECT


@settings(derandomize=True, deadline=None)
@given(n=st.integers(0, 1000), world_size=st.integers(1, 17))
def test_shares_cover_every_unit_once_and_are_even(n, world_size):
    shares = [list(range(n))[share_of(Ranks(rank, world_size), n)] for rank in range(world_size)]
    assert sum(shares, []) == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@settings(derandomize=True, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), max_size=20))
def test_buckets_keep_every_tensor_in_order_and_stay_small(sizes):
    tensors = [torch.empty(size * 5 * 2**18, device="meta") for size in sizes]
    buckets = list(_buckets(tensors))
    assert [id(tensor) for bucket in buckets for tensor in bucket] == [id(tensor) for tensor in tensors]
    for bucket in buckets:
        assert len(bucket) == 1 or sum(tensor.nbytes for tensor in bucket) <= 64 * 2**20


def test_one_process_is_its_own_world(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with join_ranks() as ranks:
        assert ranks == Ranks()
        assert ranks.is_first
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    sum_gradients(ranks, [weight])
    same_weights(ranks, nn.Linear(2, 2))
    assert torch.equal(weight.grad, torch.ones(2))
    assert gather(ranks, "a") == ["a"]
    assert agree(ranks, 5) == 5
    assert from_first(ranks, lambda: 7) == 7


@pytest.mark.parametrize("environment", [{"RANK": "1"}, {"RANK": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}])
def test_half_an_environment_is_refused(environment, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="as torchrun sets them"), join_ranks():
        pass


def test_rank_without_a_gpu_of_its_own_is_refused_before_it_waits_for_others(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="start at most 1 a machine"), join_ranks():
        raise AssertionError("the rank was let in")


def test_rank_outside_the_world_is_refused():
    with pytest.raises(UserError, match=r"in \[0, 2\); got 2"):
        Ranks(2, 2)


# Every rank checks for itself; torchrun fails if one does.
TOGETHER = """
import torch
from torch import nn
from dpcxr_core.config import UserError
from dpcxr_core.training.ranks import agree, from_first, gather, join_ranks, same_weights, sum_gradients

def parameter(shape, grad=None):
    made = nn.Parameter(torch.zeros(shape))
    made.grad = grad
    return made

with join_ranks() as ranks:
    assert ranks.world_size == 3
    mine = float(ranks.rank + 1)
    plain = parameter(4, torch.full((4,), mine))
    layout = torch.arange(24.0).view(2, 3, 2, 2).to(memory_format=torch.channels_last)
    last = parameter((2, 3, 2, 2), layout * mine)
    one_only = parameter(2, torch.ones(2) if ranks.rank == 1 else None)
    nobody = parameter(2)
    frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
    sum_gradients(ranks, [plain, nobody, last, frozen, one_only])
    assert torch.equal(plain.grad, torch.full((4,), 6.0)), plain.grad
    assert torch.equal(last.grad, layout * 6) and last.grad.stride() == layout.stride()
    assert torch.equal(one_only.grad, torch.ones(2))
    assert nobody.grad is None and frozen.grad is None

    uneven = parameter(1000, torch.randn(1000, generator=torch.Generator().manual_seed(ranks.rank)))
    sum_gradients(ranks, [uneven])
    assert all(each == uneven.grad.tolist() for each in gather(ranks, uneven.grad.tolist()))

    assert gather(ranks, {"rank": ranks.rank}) == [{"rank": 0}, {"rank": 1}, {"rank": 2}]
    assert agree(ranks, 2**127 + ranks.rank) == 2**127

    torch.manual_seed(ranks.rank)
    model = nn.Conv2d(3, 2, 2).to(memory_format=torch.channels_last)
    same_weights(ranks, model)
    weights = gather(ranks, model.weight.tolist())
    assert weights[0] == weights[1] == weights[2]

    called = []
    assert from_first(ranks, lambda: called.append(ranks.rank) or "done") == "done"
    assert called == ([0] if ranks.is_first else [])
    def fail():
        raise UserError("no store")
    try:
        from_first(ranks, fail)
    except UserError as error:
        assert str(error) == "no store"
    else:
        raise AssertionError("the mistake of the first rank reached nobody")
assert not torch.distributed.is_initialized()
"""


def _torchrun(script: Path, n_processes: int) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_processes}"]
    return subprocess.run([*command, str(script)], cwd=PROJECT, capture_output=True, text=True, timeout=120)


def test_three_processes_sum_gather_and_agree(tmp_path):
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    done = _torchrun(script, 3)
    assert done.returncode == 0, done.stderr


def test_rank_that_dies_ends_the_others_with_an_error(tmp_path):
    script = tmp_path / "dies.py"
    script.write_text(
        "import os\n"
        "from dpcxr_core.training.ranks import agree, join_ranks\n"
        "with join_ranks() as ranks:\n"
        "    agree(ranks, 0)\n"
        "    if ranks.rank == 1:\n"
        "        os._exit(3)\n"
        "    agree(ranks, 1)\n"
        "    agree(ranks, 2)\n"
    )
    assert _torchrun(script, 2).returncode != 0
