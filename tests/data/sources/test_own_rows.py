import pandas as pd
import pytest

from dpcxr_core.data.sources.own_rows import paths_by_end, pictures_in_folders

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


STUDIES = ["images/17/1.png", "images/17/old/2.png", "images/18.2/1.png", "north/19/1.png", "south/19/1.png"]


def _in_folders(*names):
    mistakes = []
    rows = pictures_in_folders(pd.DataFrame({"folder": names, "sex": "F"}, dtype=object), STUDIES, mistakes)
    assert (rows["sex"] == "F").all()
    return [(row.image, None if pd.isna(row.path) else row.path) for row in rows.itertuples()], mistakes


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("17", STUDIES[:2]),
        ("images/17/", STUDIES[:2]),
        (r"17\old", STUDIES[1:2]),
        ("18.2", STUDIES[2:3]),
        ("north/19", STUDIES[3:4]),
        ("images", STUDIES[:3]),
    ],
)
def test_a_row_about_a_folder_is_one_of_each_picture_in_it(name, paths):
    assert _in_folders(name) == ([(path, path) for path in paths], [])


@pytest.mark.parametrize("name", ["18", "7", "", "../images/17", "1.png"])
def test_a_folder_without_pictures_keeps_its_row(name):
    assert _in_folders(name) == ([(name, None)], [])


def test_a_name_of_several_folders_is_a_mistake():
    rows, (mistake,) = _in_folders("17", "19")
    assert rows[-1] == ("19", None)
    assert mistake.startswith("1 names fit several folders (first: '19' fits north/19, south/19)")
