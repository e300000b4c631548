import pytest

from dpcxr_core.config import UserError
from dpcxr_core.profiles import chapter_parameters, chapter_sources, check_shared, read_profile


def test_chapters_come_in_the_order_of_their_numbers():
    names = [source.stem for source in chapter_sources()]
    assert names == sorted(names)
    assert names[0].startswith("11_")


def test_unknown_profile_names_the_known_ones():
    with pytest.raises(UserError, match=r"'demmo'.*demo"):
        read_profile("demmo")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("shared: {a: 1", "not YAML"),
        ("chapter: {}", "shared"),
        ("chapters: {99_nothing: {}}", "99_nothing"),
        ("- 1", "list"),
        ("chapters: {11_data_preparation: 3}", "11_data_preparation"),
    ],
)
def test_damaged_profile_is_refused_with_its_reason(tmp_path, text, named):
    path = tmp_path / "mine.yml"
    path.write_text(text)
    with pytest.raises(UserError, match=named):
        read_profile(str(path))


def test_own_parameter_wins_over_shared_and_undeclared_shared_is_left_out(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_text("shared: {seed: 1, delta: 0.1}\nchapters: {11_data_preparation: {seed: 2}}")
    profile = read_profile(str(path))
    found = chapter_parameters(profile, "11_data_preparation", {"seed", "run_dir"}, tmp_path)
    assert found == {"seed": 2, "run_dir": str(tmp_path)}
    with pytest.raises(UserError, match="delta"):
        check_shared(profile, {"11_data_preparation": {"seed"}})
