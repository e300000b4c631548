"""What every chapter must hold to, read from its source."""

import ast
import re

import jupytext
import pytest
import yaml

from dpcxr_core.profiles import chapter_sources, check_shared, read_profile
from dpcxr_core.publishing.pages.parameters import check_parameters, declared_parameters
from tests.conftest import PROJECT

CHAPTERS = chapter_sources()
PROFILES = sorted(path.stem for path in (PROJECT / "book" / "params").glob("*.yml"))
_chapter = pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)


def _cells(source, kind):
    return [cell for cell in jupytext.read(source, fmt="py:percent").cells if cell.cell_type == kind]


@_chapter
def test_parameters_are_literals_and_each_is_explained(source):
    assert "run_dir" in declared_parameters(source)
    (cell,) = [cell for cell in _cells(source, "code") if "parameters" in cell.metadata.get("tags", [])]
    assert all("  # " in line for line in cell.source.splitlines())


@_chapter
def test_header_states_question_reads_writes_expectation_and_cost(source):
    header = _cells(source, "markdown")[0].source
    assert re.match(r"\([a-z-]+\)=\n# ", header)
    for word in ("**Question.**", "**Reads**", "**Writes**", "**Expect**", "**Needs**"):
        assert word in header


@_chapter
def test_chapter_is_short_and_says_what_it_does_not_show(source):
    cells = jupytext.read(source, fmt="py:percent").cells
    assert len(cells) <= 30
    headings = re.findall(r"^## (.*)$", "\n".join(cell.source for cell in _cells(source, "markdown")), re.MULTILINE)
    assert len(headings) <= 9
    assert headings[-1] == "Record"
    assert "What this does not show" in headings or source.stem == "61_about_this_run"


@_chapter
def test_code_cells_hold_calls_and_no_logic(source):
    for cell in _cells(source, "code"):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        if not {"parameters", "hide-input"} & set(cell.metadata.get("tags", [])):
            assert len(lines) <= 12, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Try | ast.While), cell.source
        assert not re.search(r"^\s*[%!]", cell.source, re.MULTILINE)
        assert not re.search(r"""["']/(home|work|tmp|root|Users)/""", cell.source)


@_chapter
def test_every_figure_has_a_name_a_caption_and_alt_text(source):
    for cell in _cells(source, "code"):
        if "plot_" in cell.source:
            figure = cell.metadata["mystnb"]
            assert figure["figure"]["name"]
            assert len(figure["figure"]["caption"]) > 20
            assert len(figure["image"]["alt"]) > 20


@_chapter
def test_no_number_of_the_run_is_typed_into_prose(source):
    seen_code = False
    for cell in jupytext.read(source, fmt="py:percent").cells:
        seen_code = seen_code or cell.cell_type == "code"
        if cell.cell_type == "markdown" and seen_code:
            prose = cell.source.replace("95 % intervals", "")
            assert not re.search(r"\d\s?%|0\.\d\d", prose), prose


@pytest.mark.parametrize("name", PROFILES)
def test_profile_fits_the_chapters(name):
    profile = read_profile(name)
    declared = {source.stem: declared_parameters(source) for source in CHAPTERS}
    check_shared(profile, {chapter: set(names) for chapter, names in declared.items()})
    for chapter, values in profile.chapters.items():
        check_parameters(values, declared[chapter], chapter)
    for source in CHAPTERS:
        shared = {key: value for key, value in profile.shared.items() if key in declared[source.stem]}
        check_parameters(shared, declared[source.stem], source.name)


def test_no_target_of_a_link_has_the_name_of_another():
    """Jupyter Book would fail on it only after every chapter has run."""
    texts = [source.read_text(encoding="utf-8") for source in CHAPTERS]
    names = [
        name for text in texts for name in re.findall(r'^# \(([\w-]+)\)=$|"figure": {"name": "([\w-]+)"', text, re.M)
    ]
    targets = [label or figure for label, figure in names]
    assert len(targets) > len(CHAPTERS)
    assert sorted({name for name in targets if targets.count(name) > 1}) == []


def test_table_of_contents_lists_every_page():
    toc = yaml.safe_load((PROJECT / "book" / "_toc.yml").read_text())
    listed = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]} | {toc["root"]}
    pages = {path.stem for path in [*CHAPTERS, *(PROJECT / "book").glob("*.md")]}
    assert listed == pages


def test_no_notebook_with_outputs_is_committed():
    assert not list((PROJECT / "book").glob("*.ipynb"))
