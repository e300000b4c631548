import pytest

from dpcxr_core.config import UserError
from dpcxr_core.publishing.pages.parameters import check_parameters, declared_parameters

CELL = """# %% tags=["parameters"]
target_epsilon: float | None = 3.0  # limit = 3
seed = 0
name: str = "demo"
seeds: list[int] = [0, 1]
fast: bool = False
anything: Path = None

# %%
later: int = 5
"""


def _declared(tmp_path, text=CELL):
    chapter = tmp_path / "01_toy.py"
    chapter.write_text(text)
    return declared_parameters(chapter)


def test_declared_parameters_include_what_papermill_overlooks(tmp_path):
    declared = _declared(tmp_path)
    assert list(declared) == ["target_epsilon", "seed", "name", "seeds", "fast", "anything"]
    assert declared["target_epsilon"].types == ("float", "None")
    assert declared["seed"].types == ("int",)
    assert declared["seeds"].default == [0, 1]


def test_declared_parameters_are_none_without_a_cell(tmp_path):
    assert _declared(tmp_path, "# %%\nx = 1\n") == {}


@pytest.mark.parametrize("line", ["half = seed / 2", "print(1)", "a, b = 1, 2", "x: int", "a = b = 1"])
def test_declared_parameters_refuse_what_is_no_literal(tmp_path, line):
    with pytest.raises(UserError, match="parameters cell holds only"):
        _declared(tmp_path, f'# %% tags=["parameters"]\nseed = 0\n{line}\n')


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target_epsilon", 1.5),
        ("target_epsilon", 1),
        ("target_epsilon", None),
        ("seed", 7),
        ("name", "full"),
        ("seeds", [3]),
        ("fast", True),
        ("anything", "x"),
    ],
)
def test_check_accepts_values_of_the_declared_kind(tmp_path, name, value):
    check_parameters({name: value}, _declared(tmp_path), "01_toy.py")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target_epsilon", "3"),
        ("target_epsilon", True),
        ("seed", 1.5),
        ("seed", True),
        ("seed", None),
        ("name", 3),
        ("seeds", "0"),
        ("fast", 1),
    ],
)
def test_check_refuses_values_of_another_kind(tmp_path, name, value):
    with pytest.raises(UserError, match=f"01_toy.py: parameter '{name}' takes"):
        check_parameters({name: value}, _declared(tmp_path), "01_toy.py")


def test_check_refuses_an_unknown_name_with_the_closest_and_all_others(tmp_path):
    with pytest.raises(UserError) as caught:
        check_parameters({"target_epsilonn": 1.0}, _declared(tmp_path), "01_toy.py")
    message = str(caught.value)
    assert "'target_epsilonn' (value 1.0)" in message
    assert "did you mean 'target_epsilon'?" in message
    assert "seed, name, seeds" in message
