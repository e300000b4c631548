import re
import shutil

import nbformat
import pytest

from dpcxr_core.publishing.pages.build import BuildError, build_book
from dpcxr_core.publishing.pages.execute import execute_chapter
from dpcxr_core.publishing.pages.executed import RECORD, REPOSITORY
from dpcxr_core.publishing.pages.offline import external_requests

CHAPTER = r"""# %% [markdown]
# (toy)=
# # Toy chapter
#
# Equation {eq}`clip`, after {cite}`abadi2016`: at most $\varepsilon \le 3.0$.
#
# $$
# \bar g_i = g_i \min\left(1, \frac{C}{\lVert g_i \rVert_2}\right)
# $$ (clip)

# %% tags=["parameters"]
seed: int = 0

# %% mystnb={"figure": {"name": "dot", "caption": "A dot."}, "image": {"alt": "One grey dot."}}
from base64 import b64decode
from IPython.display import Image
Image(b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="))

# %%
from myst_nb import glue
glue("seed", seed, display=False)

# %% [markdown]
# The seed is {glue:text}`seed`.
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A folder with a book of two pages and its executed chapter."""
    folder = tmp_path_factory.mktemp("toy")
    source = folder / "book"
    source.mkdir()
    shutil.copytree(REPOSITORY / "book" / "_assets", source / "_assets")
    (source / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n- file: 01_toy\n")
    (source / "index.md").write_text("# A toy book\n\nSee {ref}`toy`.\n\n```{bibliography}\n```\n")
    (source / "references.bib").write_text(
        "@inproceedings{abadi2016, author={Abadi, Martin}, title={Deep learning}, booktitle={CCS}, year={2016}}"
    )
    (source / "01_toy.py").write_text(CHAPTER)
    execute_chapter(source / "01_toy.py", folder / "run", {"seed": 4}, progress=False)
    return folder


@pytest.fixture
def book(executed, tmp_path):
    """The source folder of a copy that a test may change."""
    shutil.copytree(executed, tmp_path / "toy")
    return tmp_path / "toy" / "book"


def _build(book):
    return build_book(book, REPOSITORY / "_config.yml", book.parent / "run", book.parent / "out")


@pytest.mark.slow
def test_book_shows_executed_chapters_and_needs_no_network(book):
    index = _build(book)
    assert index == book.parent / "out" / "html" / "index.html"
    page = (index.parent / "01_toy.html").read_text()
    for part in ('alt="One grey dot."', "<math", "Abadi, 2016", 'href="#equation-clip">(1)'):
        assert part in page
    assert re.search(r"The seed is <[^>]*>4<", page)
    assert external_requests(index.parent) == []
    for host in ("tex-mml-chtml", "thebe", "jsdelivr", "unpkg"):
        assert host not in page.lower()
    assert "toy" in (index.parent / "searchindex.js").read_text()


@pytest.mark.slow
def test_warnings_fail_the_build_and_are_told(book):
    index = book / "index.md"
    index.write_text(index.read_text() + "\nSee {ref}`nowhere` and $\\nosuchcommand$.\n")
    with pytest.raises(BuildError) as caught:
        _build(book)
    assert "undefined label: 'nowhere'" in str(caught.value)
    assert "\\nosuchcommand" in str(caught.value)


@pytest.mark.slow
def test_chapter_edited_after_its_run_fails_the_build_in_one_line_and_leaves_no_older_page(book):
    older = book.parent / "out" / "html" / "index.html"
    older.parent.mkdir(parents=True)
    older.write_text("older")
    (book / "01_toy.py").write_text(CHAPTER + "# edited\n")
    with pytest.raises(BuildError, match="run the book first") as caught:
        _build(book)
    assert len(str(caught.value).splitlines()) == 2  # what failed, and the one line that says why
    assert not older.exists()


def test_patient_rows_are_refused_before_anything_is_built(book):
    shown = nbformat.v4.new_output("display_data", data={"text/html": "<table><th>patient_id</th></table>"})
    cell = nbformat.v4.new_code_cell("cohort", outputs=[shown])
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={RECORD: {}})
    nbformat.write(notebook, book.parent / "run" / "02_leak.ipynb")
    with pytest.raises(BuildError, match="must not be published"):
        _build(book)
    assert not (book.parent / "out").exists()


@pytest.mark.slow
def test_small_counts_and_ids_on_a_page_fail_the_build_and_no_page_is_left(book):
    path = book.parent / "run" / "01_toy.ipynb"
    notebook = nbformat.read(path, as_version=4)
    table = "<table><tr><th>images</th></tr><tr><td>3</td></tr></table><p>klinikum-0001</p>"
    notebook.cells[-2].outputs.append(nbformat.v4.new_output("display_data", data={"text/html": table}))
    nbformat.write(notebook, path)
    with pytest.raises(BuildError, match="must not be published") as caught:
        build_book(book, REPOSITORY / "_config.yml", path.parent, book.parent / "out", ids={"klinikum-0001"})
    assert "01_toy.html: table 1, column 'images': a count below 10" in str(caught.value)
    assert "01_toy.html: names an image or a patient" in str(caught.value)
    assert not (book.parent / "out" / "html").exists()
