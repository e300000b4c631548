"""The rules of the house, read from the files: who imports whom, what has a test, how long things are."""

import ast
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PACKAGE = PROJECT / "dpcxr_core"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
# room -> rooms and top-level modules that it may import
ALLOWED = {
    "config": set(),
    "tables": {"config"},
    "provenance": set(),
    "files": set(),
    "locks": set(),
    "data": {"data", "config", "files", "locks", "tables", "provenance", "workers"},
    "accounting": {"accounting", "config", "files", "provenance"},
    "privacy": {"privacy", "accounting", "config", "files", "provenance"},
    "auditing": {"auditing", "accounting", "privacy", "training", "evaluation", "data", "config", "provenance"},
    "training": {"training", "data", "privacy", "config", "files", "locks", "tables", "provenance"},
    "evaluation": {"evaluation", "config", "tables"},
    "study": {
        *("study", "data", "accounting", "privacy", "training", "evaluation", "config", "files", "tables"),
        *("provenance", "workers"),
    },
    "planning": {"planning", "study", "data", "config", "files", "provenance"},
    "running": {"running", "planning", "study", "data", "accounting", "collecting", "releasing", "publishing"}
    | {"training", "config", "files", "locks", "profiles", "provenance", "workers"},
    "collecting": {"collecting", "planning", "study", "evaluation", "training", "accounting", "data"}
    | {"config", "files", "tables", "provenance"},
    "releasing": {"releasing", "collecting", "study", "publishing", "evaluation", "training", "accounting", "data"}
    | {"config", "files", "tables", "provenance"},
    # reads every other room; none of them reads it, so that a comparison never changes what a run depends on
    "other_engines": {"other_engines", "data", "privacy", "training", "evaluation", "config", "study", "workers"},
}
TORCH_ROOMS = ("privacy", "training", "auditing", "other_engines")
TORCH_MODULES = ("data/images.py",)
DRAWING = ("matplotlib", "seaborn")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found.add(node.module)
    return found


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_follow_the_arrows(path):
    ours = {name.split(".")[1] for name in _imports(path) if name.startswith("dpcxr_core.")}
    room = _room(path)
    if room in ALLOWED:
        assert ours <= ALLOWED[room], f"{room} must not import {ours - ALLOWED[room]}"
    elif room != "cli":
        assert "cli" not in ours
    if room not in TORCH_ROOMS and _name(path) not in TORCH_MODULES:
        assert not {name for name in _imports(path) if name.split(".")[0] in ("torch", "timm", "torchvision")}
    if room != "publishing":
        assert not {name for name in _imports(path) if name.split(".")[0] in DRAWING}


def test_no_import_cycle():
    modules = {
        "dpcxr_core." + _name(path).removesuffix(".py").replace("/", "."): {
            name for name in _imports(path) if name.startswith("dpcxr_core.")
        }
        for path in MODULES
    }
    rooms = {room: others - {room} for room, others in ALLOWED.items()}
    for graph in (modules, rooms):
        _check_without_cycle(graph)


def _check_without_cycle(graph):
    done: set[str] = set()

    def visit(module, trail):
        assert module not in trail, f"cycle: {' -> '.join([*trail, module])}"
        if module not in done:
            for needed in graph.get(module, ()):
                visit(needed, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module_has_its_test_file(path):
    test = PROJECT / "tests" / path.relative_to(PACKAGE).parent / f"test_{path.name}"
    assert test.is_file(), f"{_name(path)} has no {test.relative_to(PROJECT)}"


def test_no_test_file_escapes_collection():
    helpers = {"conftest.py", "__init__.py"}
    for path in (PROJECT / "tests").rglob("*.py"):
        assert path.name.startswith("test_") or path.name in helpers, f"pytest does not collect {path}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_module_and_its_functions_are_short_enough_to_read(path):
    assert len(path.read_text().splitlines()) <= 400
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            length = node.end_lineno - node.lineno + 1 - len(docstring.splitlines())
            assert length <= 60, f"{node.name} has {length} lines without its docstring"


def test_init_files_hold_a_docstring_only():
    for path in PACKAGE.rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1
        assert isinstance(body[0], ast.Expr)


def test_readme_names_every_module():
    text = (PROJECT / "README.md").read_text()
    named = {word.strip(",") for word in text.split()}
    for path in MODULES:
        known = path.name in named or (path.name.startswith("phantom") and "phantom*.py" in named)
        assert known, f"the file tree of README.md lacks {_name(path)}"
