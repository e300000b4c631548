import pandas as pd
import pytest

from dpcxr_core.data.sources.own_rows import paths_by_end

FOUND = ["images/a/1.png", "images/a/2.png", "images/b/2.png", "images/3.x.png", "4"]


def _paths(*names):
    mistakes = []
    paths = paths_by_end(pd.Series(names, dtype=object), FOUND, mistakes)
    return [None if pd.isna(path) else path for path in paths], mistakes


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("1.png", "images/a/1.png"),
        ("1", "images/a/1.png"),
        ("a/1.png", "images/a/1.png"),
        ("images/a/1", "images/a/1.png"),
        ("./images/a/1.png", "images/a/1.png"),
        (r"images\b\2.png", "images/b/2.png"),
        ("b/2", "images/b/2.png"),
        ("3.x", "images/3.x.png"),
        ("4", "4"),
        ("3", None),
        ("1.jpg", None),
        ("b/1.png", None),
        ("more/images/a/1.png", None),
        ("../images/a/1.png", None),
        ("/images/a/1.png", None),
        ("", None),
    ],
)
def test_picture_is_the_one_whose_path_ends_with_the_name(name, path):
    assert _paths(name) == ([path], [])


def test_name_that_fits_several_pictures_is_a_mistake_and_not_guessed():
    paths, mistakes = _paths("1", "2", "2.png", "2")
    assert paths == ["images/a/1.png", None, None, None]
    assert mistakes == [
        "2 names fit several pictures (first: '2' fits images/a/2.png, images/b/2.png). Give the folder with the name."
    ]
