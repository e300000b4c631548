from dataclasses import dataclass
from typing import Literal

import pytest

from dpcxr_core.config import UserError
from dpcxr_core.planning.stated import made


@dataclass(frozen=True)
class Inner:
    share: float
    kind: Literal["one", "two"] = "one"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    n: int = 1
    names: tuple[str, ...] = ()
    levels: tuple[float, ...] = ()
    most: int | None = None

    def __post_init__(self) -> None:
        if self.n < 0:
            raise UserError("n must not be negative")


def test_values_become_the_types_of_the_fields():
    found = made(Outer, {"inner": {"share": 1}, "names": ["a"], "levels": [1, 2.5], "most": 3}, "")
    assert found == Outer(Inner(1.0), names=("a",), levels=(1.0, 2.5), most=3)
    assert [type(value) for value in (found.inner.share, *found.levels)] == [float] * 3  # 1 and 1.0 have other keys
    assert made(Outer, {"inner": {"share": 0.5, "kind": "two"}, "most": None}, "").inner.kind == "two"


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"inner": {"share": 1}, "nam": []}, "unknown key 'top.nam'; did you mean 'names'"),
        ({"inner": {"shar": 1}}, "unknown key 'top.inner.shar'; did you mean 'share'"),
        ({}, "top lacks inner: 'key: value' lines"),
        ({"inner": {}}, "top.inner lacks share: a number"),
        ({"inner": {"share": "1e-5"}}, "top.inner.share must be a number; got '1e-5'; YAML reads 1.0e-5 as a number"),
        ({"inner": {"share": True}}, "top.inner.share must be a number; got True"),
        ({"inner": {"share": 1, "kind": "three"}}, "top.inner.kind must be 'one' or 'two'; got 'three'"),
        ({"inner": {"share": 1}, "n": 1.5}, "top.n must be a whole number; got 1.5"),
        ({"inner": {"share": 1}, "names": "a"}, "top.names must be a list, each text; got 'a'"),
        ({"inner": {"share": 1}, "names": [1]}, "top.names must be text; got 1"),
        ({"inner": {"share": 1}, "most": "x"}, "top.most must be a whole number or nothing; got 'x'"),
        ({"inner": {"share": 1}, "n": -1}, "top: n must not be negative"),
        ([], "top must hold 'key: value' lines"),
    ],
)
def test_what_does_not_fit_is_named_with_the_cure(stated, message):
    with pytest.raises(UserError) as raised:
        made(Outer, stated, "top")
    assert message in str(raised.value)


def test_a_field_may_be_kept_from_the_file():
    with pytest.raises(UserError, match="unknown key 'top.n'"):
        made(Outer, {"inner": {"share": 1}, "n": 1}, "top", without=["n"])
