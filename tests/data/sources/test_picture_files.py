import os

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import UserError
from dpcxr_core.data.sources.picture_files import (
    find_pictures,
    leaves_source,
    paths_by_name,
    paths_named,
    said_of_links,
)


def _touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    _touch(folder, "a/1.png", "a/deep/2.PNG", "b/3.png", "b/notes.txt", "table.csv")
    return folder


def test_files_below_the_folders_come_sorted_and_relative(source):
    assert find_pictures(source, ["b", "a"]) == (["a/1.png", "a/deep/2.PNG", "b/3.png", "b/notes.txt"], 0)
    assert find_pictures(source, ["?"], [".png"])[0] == ["a/1.png", "a/deep/2.PNG", "b/3.png"]
    assert find_pictures(source, ["."], (".csv", ".txt"))[0] == ["b/notes.txt", "table.csv"]
    assert find_pictures(source, ["none", "table.csv"]) == ([], 0)
    assert find_pictures(source, ["a", "a/deep", "."], [".png"])[0] == ["a/1.png", "a/deep/2.PNG", "b/3.png"]


def test_source_named_relative_or_through_a_link_gives_the_same(source, monkeypatch):
    expected = find_pictures(source, ["*"])
    os.symlink(source, source.parent / "alias")
    assert find_pictures(source.parent / "alias", ["*"]) == expected
    monkeypatch.chdir(source)
    assert find_pictures(type(source)("."), ["*"]) == expected


def test_links_out_of_the_source_are_counted_and_never_followed(source, tmp_path):
    _touch(tmp_path / "elsewhere", "secret.png", "x/secret.png")
    os.symlink(tmp_path / "elsewhere" / "secret.png", source / "a" / "out.png")
    os.symlink(tmp_path / "elsewhere", source / "b" / "out")
    os.symlink(tmp_path / "elsewhere", source / "c")
    os.symlink(tmp_path / "gone", source / "a" / "nowhere.png")
    found, n_links_out = find_pictures(source, ["a", "b", "c"], [".png"])
    assert found == ["a/1.png", "a/deep/2.PNG", "b/3.png"]
    assert n_links_out == 4


def test_links_are_told_only_where_there_are_any():
    assert said_of_links(0) == ""
    assert said_of_links(4).startswith(" 4 links lead out of the source, or nowhere, and are not followed. Name the ")


def test_a_folder_beside_the_source_with_a_longer_name_is_outside(source, tmp_path):
    _touch(tmp_path / "source-secret", "x.png")
    os.symlink(tmp_path / "source-secret", source / "a" / "out")
    assert find_pictures(source, ["a"]) == (["a/1.png", "a/deep/2.PNG"], 1)


def test_links_within_the_source_are_followed(source):
    os.symlink(source / "b", source / "images")
    os.symlink(source / "b" / "3.png", source / "a" / "alias.png")
    found, n_links_out = find_pictures(source, ["images", "a"], [".png"])
    assert found == ["a/1.png", "a/alias.png", "a/deep/2.PNG", "images/3.png"]
    assert n_links_out == 0


def test_loops_of_links_end(source):
    os.symlink(source / "a", source / "a" / "deep" / "up")  # to a folder above
    os.symlink(source / "a", source / "b" / "to_a")  # two folders that lead to each other
    os.symlink(source / "b", source / "a" / "to_b")
    os.symlink(source / "a" / "self", source / "a" / "self")
    found, n_not_followed = find_pictures(source, ["a"], [".png"])
    assert found == ["a/1.png", "a/deep/2.PNG", "a/to_b/3.png"]
    assert n_not_followed == 1  # the link to itself


def test_folders_linked_to_each_other_are_walked_two_links_deep_and_no_deeper(source):
    for here in range(8):
        _touch(source / "web", f"{here}/x.png")
        for there in range(8):
            os.symlink(source / "web" / str(there), source / "web" / str(here) / f"to{there}")
    found, n_not_followed = find_pictures(source, ["web"])
    assert len(found) == 8 + 8 * 7 + 8 * 7 * 6  # every way without a folder twice would be 109,600
    assert n_not_followed == 0


def test_pipes_are_passed_over_and_names_that_are_not_utf8_can_be_printed(source):
    os.mkfifo(source / "a" / "pipe.png")
    (source / "b" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    found, _ = find_pictures(source, ["a", "b"], [".png"])
    assert found == ["a/1.png", "a/deep/2.PNG", "b/3.png", "b/caf\\xe9.png"]
    assert "\n".join(found).encode("utf-8")


@pytest.mark.parametrize("pattern", ["/etc", "../elsewhere", "a/../../elsewhere"])
def test_patterns_that_leave_the_source_are_refused(source, pattern):
    with pytest.raises(UserError, match="named relative to the source"):
        find_pictures(source, [pattern])


def test_folder_that_may_not_be_read_is_named(source, monkeypatch):
    def scandir(folder):
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match="a may not be read"):
        find_pictures(source, ["a"])


def test_paths_by_name_takes_the_first_of_two_files_with_one_name():
    assert paths_by_name(["a/1.png", "b/1.png", "b/2.png"]) == {"1.png": "a/1.png", "2.png": "b/2.png"}


def test_paths_named_keeps_what_was_found():
    names = pd.Series(["a/1.png", "../secret.png", "a/9.png"])
    paths = paths_named(names, ["a/1.png", "b/2.png"])
    assert paths[0] == "a/1.png"
    assert paths[1:].isna().all()


@pytest.mark.parametrize(
    ("name", "leaves"),
    [("a/1.png", False), ("/etc/passwd", True), ("a/../../x", True), ("..", True), ("a..png", False), ("", False)],
)
def test_leaves_source(name, leaves):
    assert leaves_source(name) is leaves


@settings(derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "a", "", "b.png"]), max_size=6), st.booleans())
def test_no_name_that_stays_leads_out(parts, absolute):
    name = ("/" if absolute else "") + "/".join(parts)
    out = not os.path.normpath(os.path.join("/source", name)).startswith("/source")
    assert leaves_source(name) or not out
