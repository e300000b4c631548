"""The parameters that a chapter declares, and the check of values before anything runs.

Papermill reads the parameters cell with patterns, overlooks ``float | None`` and any comment with an
equals sign, and only warns of a name that it does not know. Here the cell is parsed as Python.
"""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext

from dpcxr_core.config import UserError

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
    "tuple": (list, tuple),
    "dict": (dict,),
    "None": (type(None),),
    "NoneType": (type(None),),
}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell.

    Attributes:
        name: Its name.
        types: The kinds of value it takes, such as ``("float", "None")``; empty when any will do.
        default: The literal in the chapter.
    """

    name: str
    types: tuple[str, ...]
    default: Any

    def accepts(self, value: Any) -> bool:
        """Whether ``value`` is of a declared kind; a whole number counts as a float, True not as a number."""
        if not self.types:
            return True
        if isinstance(value, bool):
            return "bool" in self.types
        return isinstance(value, tuple(kind for name in self.types for kind in _TYPES[name]))


def declared_parameters(source: Path) -> dict[str, Parameter]:
    """The parameters of a chapter's cell tagged ``parameters``, by name; none when there is no such cell.

    Args:
        source: Chapter, py:percent.

    Raises:
        UserError: A value in the cell is not a literal: derived from another, it would go stale when
            papermill replaces that other one below it.
    """
    notebook = jupytext.read(source, fmt="py:percent")
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    found = {}
    for statement in ast.parse(cells[0].source).body if cells else []:
        target: ast.expr
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, annotation = statement.target, ast.unparse(statement.annotation)
        elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, annotation = statement.targets[0], ""
        else:
            raise _not_literal(statement)
        if not isinstance(target, ast.Name):
            raise _not_literal(statement)
        try:
            default = ast.literal_eval(statement.value)
        except ValueError:
            raise _not_literal(statement) from None
        found[target.id] = Parameter(target.id, _kinds(annotation, default), default)
    return found


def check_parameters(values: dict[str, Any], declared: dict[str, Parameter], chapter: str) -> None:
    """Nothing, when every value belongs to a declared parameter and is of its kind.

    Raises:
        UserError: A name is not declared, or a value is of another kind.
    """
    for name, value in values.items():
        if name not in declared:
            close = difflib.get_close_matches(name, declared, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            names = ", ".join(declared) or "none"
            raise UserError(f"{chapter} has no parameter {name!r} (value {value!r}). It declares: {names}{hint}")
        if not declared[name].accepts(value):
            raise UserError(
                f"{chapter}: parameter {name!r} takes {' or '.join(declared[name].types)} "
                f"(default {declared[name].default!r}); got {value!r}, a {type(value).__name__}."
            )


def _kinds(annotation: str, default: Any) -> tuple[str, ...]:
    """Kinds named by an annotation, else the kind of the default; a None alone says nothing."""
    if annotation:
        names = tuple(part.strip().split("[")[0] for part in annotation.split("|"))
        return names if all(name in _TYPES for name in names) else ()
    return () if default is None else (type(default).__name__,) if type(default).__name__ in _TYPES else ()


def _not_literal(statement: ast.stmt) -> UserError:
    return UserError(
        f"a parameters cell holds only lines such as `epsilon: float = 3.0`; found "
        f"{ast.unparse(statement)!r}. Move it to the next cell."
    )
