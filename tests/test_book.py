from pathlib import Path

import pandas as pd
import pytest

from dpcxr_core import book, profiles
from dpcxr_core.config import UserError
from dpcxr_core.data.store import COHORT_FILE
from dpcxr_core.study.handover import leave_own_store, leave_places
from dpcxr_core.study.places import FOLDERS, StudyPlaces

CHAPTER = """# %% [markdown]
# # {name}

# %% tags=["parameters"]
word: str = "unset"  # shared
run_dir: str = "."  # where results go

# %%
leave_word = find_word = print
{use}_word(word, "{name}")
"""


@pytest.fixture
def toy_book(tmp_path, monkeypatch) -> Path:
    """Two chapters in a folder of their own, with a start page."""
    source = tmp_path / "book"
    (source / "params").mkdir(parents=True)
    for name, use in (("01_first", "leave"), ("02_second", "find")):
        (source / f"{name}.py").write_text(CHAPTER.format(name=name, use=use))
    (source / "index.md").write_text("# Toy\n")
    (source / "references.bib").write_text("")
    (source / "_assets").mkdir()
    (source / "_assets" / "book.css").write_text("")
    (source / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nchapters:\n  - file: 01_first\n  - file: 02_second\n"
    )
    (source / "params" / "toy.yml").write_text("shared: {word: hello}\n")
    monkeypatch.setattr(book, "BOOK_FOLDER", source)
    monkeypatch.setattr(profiles, "BOOK_FOLDER", source)
    return source


@pytest.fixture
def unbuilt(toy_book, monkeypatch) -> Path:
    """The toy book, whose chapters are run and whose pages are not built."""
    monkeypatch.setattr(book, "build_book", lambda *_: None)
    return toy_book


def _made(toy_book) -> dict[str, int]:
    """When each executed chapter was left."""
    runs = toy_book.parent / "runs"
    book.make_book("toy", runs, toy_book.parent / "out")
    return {path.name: path.stat().st_mtime_ns for path in (runs / "toy" / "notebooks").glob("*.ipynb")}


def test_book_is_built_with_the_parameters_of_its_profile(toy_book):
    index = book.make_book("toy", toy_book.parent / "runs", toy_book.parent / "out")
    assert index == toy_book.parent / "out" / "toy" / "html" / "index.html"
    assert "hello 02_second" in (index.parent / "02_second.html").read_text()


def test_a_renamed_chapter_takes_the_place_of_the_older_page(toy_book):
    _made(toy_book)
    (toy_book / "01_first.py").rename(toy_book / "01_renamed.py")
    toc = toy_book / "_toc.yml"
    toc.write_text(toc.read_text().replace("01_first", "01_renamed"))
    assert set(_made(toy_book)) == {"01_renamed.ipynb", "02_second.ipynb"}
    pages = {path.name for path in (toy_book.parent / "out" / "toy" / "html").glob("0*.html")}
    assert pages == {"01_renamed.html", "02_second.html"}


def test_changed_chapter_runs_again_and_so_do_those_after_it_only(unbuilt):
    first = _made(unbuilt)
    assert _made(unbuilt) == first
    source = unbuilt / "02_second.py"
    source.write_text(source.read_text() + "\nprint(1)\n")
    second_changed = _made(unbuilt)
    assert second_changed["01_first.ipynb"] == first["01_first.ipynb"]
    assert second_changed["02_second.ipynb"] != first["02_second.ipynb"]
    source = unbuilt / "01_first.py"
    source.write_text(source.read_text() + "\nprint(1)\n")
    first_changed = _made(unbuilt)
    assert first_changed["02_second.ipynb"] != second_changed["02_second.ipynb"]


def test_a_chapter_needs_those_that_leave_what_it_finds_and_the_last_part_needs_all(tmp_path):
    texts = {
        "11_a": "leave_places(1)",
        "12_b": "find_places(2)",
        "13_c": "find_places(0); leave_runs(3)",
        "31_d": "find_run(4); leave_nothing",
        "41_e": "find_elsewhere(5)",
        "61_f": "find_runs(6)",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    needed = book.needed_by_each(sorted(tmp_path.glob("*.py")))
    assert {source.stem[3:]: "".join(sorted(each.stem[3:] for each in found)) for source, found in needed.items()} == {
        "a": "", "b": "a", "c": "a", "d": "c", "e": "", "f": "abcde",
    }  # fmt: skip


def test_in_this_book_the_comparison_waits_for_images_noise_and_weights():
    needed = {source.stem: found for source, found in book.needed_by_each(profiles.chapter_sources()).items()}
    first = {"11_data_preparation", "14_noise_calibration", "15_initialisations"}
    assert {source.stem for source in needed["22_comparison"]} == first
    assert {source.stem for source in needed["34_explorer"]} == {"11_data_preparation", "22_comparison"}
    assert len(needed["61_about_this_run"]) == len(needed) - 1


def test_chapters_side_by_side_do_not_make_each_other_stale_and_all_finish_when_one_fails(unbuilt):
    for old, new in (("01_first", "31_first"), ("02_second", "41_second")):
        chapter = (unbuilt / f"{old}.py").rename(unbuilt / f"{new}.py")
        chapter.write_text(chapter.read_text().replace("leave_word(", "print("))
    first = _made(unbuilt)
    source = unbuilt / "31_first.py"
    source.write_text(source.read_text() + "\nraise ValueError('broken on purpose')\n")
    with pytest.raises(UserError, match="broken on purpose"):
        _made(unbuilt)
    notebooks = unbuilt.parent / "runs" / "toy" / "notebooks"
    assert not (notebooks / "31_first.ipynb").exists()
    assert (notebooks / "41_second.ipynb").stat().st_mtime_ns == first["41_second.ipynb"]


def test_failing_cell_fails_the_book_before_the_build(toy_book):
    source = toy_book / "02_second.py"
    source.write_text(source.read_text() + "\nraise ValueError('broken on purpose')\n")
    with pytest.raises(UserError, match="broken on purpose"):
        _made(toy_book)
    assert not (toy_book.parent / "out").exists()


def test_shared_parameter_that_no_chapter_declares_is_refused_before_anything_runs(toy_book):
    (toy_book / "params" / "toy.yml").write_text("shared: {wrod: hello}\n")
    with pytest.raises(UserError, match="wrod"):
        _made(toy_book)
    assert not (toy_book.parent / "runs").exists()


def test_no_page_may_name_an_image_of_any_store_that_the_chapters_met(tmp_path):
    assert book._ids(tmp_path) == frozenset()
    folders = {name: tmp_path / name for name in FOLDERS}
    leave_places(tmp_path, StudyPlaces(**folders, public_dataset="a", private_dataset="a"))
    leave_own_store(tmp_path, tmp_path / "own" / "key")
    for store, image in ((folders["stores"] / "a", "image-0001"), (tmp_path / "own" / "key", "ward7-0002")):
        store.mkdir(parents=True)
        pd.DataFrame({"image_id": [image], "patient_id": [f"patient of {image}"]}).to_parquet(store / COHORT_FILE)
    found = {"image-0001", "ward7-0002"}
    assert book._ids(tmp_path) == found | {f"patient of {each}" for each in found}
