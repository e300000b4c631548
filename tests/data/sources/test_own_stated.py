import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpcxr_core.config import UserError
from dpcxr_core.data.sources import own_stated
from dpcxr_core.data.sources.picture_files import find_pictures


def test_text_and_default():
    assert own_stated.text_of({"title": "a"}, "title", "b") == "a"
    assert own_stated.text_of({"title": ""}, "title", "b") == own_stated.text_of({}, "title", "b") == "b"
    with pytest.raises(UserError, match=r"title must be one text; got \['a'\]"):
        own_stated.text_of({"title": ["a"]}, "title", "b")


def test_one_text_is_a_list_of_one_and_a_blank_is_a_value_but_no_term():
    assert own_stated.list_of("sex.F", "w") == ["w"]
    assert own_stated.list_of("sex.missing", [""]) == [""]
    with pytest.raises(UserError, match="sex.F must be a text or a list of texts; got"):
        own_stated.list_of("sex.F", [["w"]])
    assert own_stated.terms_in("labels.terms.pneumonia", []) == []
    with pytest.raises(UserError, match="labels.terms.pneumonia holds a blank text"):
        own_stated.terms_in("labels.terms.pneumonia", ["a", " "])


@pytest.mark.parametrize(("stated", "expected"), [({}, True), ({"x": "false"}, False), ({"x": "true"}, True)])
def test_flag(stated, expected):
    assert own_stated.flag_of(stated, "x", default=True) is expected


def test_flag_or_choice_of_another_word_is_refused():
    with pytest.raises(UserError, match="x must be one of true, false; got 'yes'"):
        own_stated.flag_of({"x": "yes"}, "x", default=True)
    with pytest.raises(UserError, match="age.unit must be one of years, days; got 'weeks'"):
        own_stated.one_of("age.unit", "weeks", ("years", "days"))


def test_coding_is_inverted_and_no_value_has_two_meanings():
    assert own_stated.coding_of("sex", {"F": ["w", "f"], "M": "m"}) == {"w": "F", "f": "F", "m": "M"}
    with pytest.raises(UserError, match="sex: 'w' stands under F and under M. Keep one"):
        own_stated.coding_of("sex", {"F": ["w"], "M": ["w"]})
    with pytest.raises(UserError, match="sex, F, must be a text or a list of texts"):
        own_stated.coding_of("sex", {"F": {"w": "x"}})


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("empty")


@settings(derandomize=True, deadline=None)
@given(folder=st.text("a*/.[]?", max_size=6))
def test_folders_that_are_accepted_can_be_looked_up(empty_folder, folder):
    try:
        folders = own_stated.picture_folders([folder])
    except UserError:
        return
    assert find_pictures(empty_folder, folders) == ([], 0)


@pytest.mark.parametrize("folders", [[], "", [""], ["/a"], ["a/../b"], ["a**"], ["a/**b"], {"a": "b"}])
def test_folders_that_could_not_be_looked_up_are_refused(folders):
    with pytest.raises(UserError, match="pictures"):
        own_stated.picture_folders(folders)


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%Y%m%d", "%d %b %Y", "%Y", "%Y-%m-%d %H:%M:%S"])
def test_form_of_dates_is_kept(form):
    assert own_stated.date_format_of({"date_format": form}, "") == form
    for year in (1915, 2001):
        assert pd.to_datetime(pd.Timestamp(year, 2, 3).strftime(form), format=form).year == year


@pytest.mark.parametrize("form", ["%d.%m.%y", "%d %b %y", "%y", "%x"])
def test_form_with_a_year_of_two_digits_is_refused(form):
    """strptime reads 12.03.45 as of 2045."""
    with pytest.raises(UserError, match="two digits do not say the century. Export dates with years of four digits"):
        own_stated.date_format_of({"date_format": form}, "")


@pytest.mark.parametrize("form", ["%Q", "day", "%d.%m.", "%Y-%m-%d%z", "mixed", "%", "%Y%Y", "\0"])
def test_form_that_gives_no_date_is_refused(form):
    with pytest.raises(UserError, match="age.date_format must be such as"):
        own_stated.date_format_of({"date_format": form}, "")


@pytest.mark.parametrize("encoding", ["klingon", "utf-8\0"])
def test_encoding_that_is_not_known_is_refused(encoding):
    assert own_stated.encoding_of({}, "cp1252") == "cp1252"
    with pytest.raises(UserError, match="is not known; try utf-8"):
        own_stated.encoding_of({"encoding": encoding}, "cp1252")


def test_key_that_does_not_go_with_another_is_named():
    own_stated.refuse_beside({"file": "a"}, ("key",), "table", "rows_from: table")
    with pytest.raises(UserError, match="table.key does not go with rows_from: table"):
        own_stated.refuse_beside({"key": "a"}, ("key",), "table", "rows_from: table")
