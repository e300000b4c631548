"""Dataclasses made from what a YAML file states, with every key and type checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from dpcxr_core.config import UserError
from dpcxr_core.data.manifests import with_known_keys

Made = TypeVar("Made")
_WORDS = {int: "a whole number", float: "a number", str: "text", NoneType: "nothing", bool: "true or false"}


def made(kind: type[Made], stated: object, where: str, *, without: Sequence[str] = ()) -> Made:
    """The dataclass ``kind`` with the values that ``stated`` maps its fields to; lists become tuples.

    Args:
        kind: A dataclass; fields may be numbers, texts, literals, tuples, None and dataclasses again.
        stated: What a YAML file holds at ``where``.
        where: Keys that lead there, with dots between; "" for the file itself.
        without: Fields that the file may not state.

    Raises:
        UserError: A key is unknown, a needed one is missing, or a value is of another type or makes no sense.
    """
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind) if field.name not in without}  # type: ignore[arg-type]
    values = {
        name: converted(value, hints[name], f"{where}.{name}".lstrip("."))
        for name, value in with_known_keys(where, stated, list(known)).items()
    }
    for name, field in known.items():
        if name not in values and field.default is MISSING:
            raise UserError(f"{where or 'the study'} lacks {name}: {_in_words(hints[name])}")
    try:
        return kind(**values)
    except UserError as error:
        raise UserError(f"{where}: {error}" if where else str(error)) from None


def converted(value: Any, hint: Any, where: str) -> Any:
    """``value`` as the type ``hint``: whole numbers as floats and lists as tuples where these are asked for.

    Raises:
        UserError: It is of another type.
    """
    if is_dataclass(hint):
        return made(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(converted(each, get_args(hint)[0], where) for each in value)
    kinds = _kinds(hint)
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) in kinds or value in _literals(hint):
        return value
    cure = "; YAML reads 1.0e-5 as a number, 1e-5 as text" if isinstance(value, str) and float in kinds else ""
    raise UserError(f"{where} must be {_in_words(hint)}; got {value!r}{cure}")


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The plain types that a hint such as ``int | None`` allows."""
    if hint in _WORDS:
        return (hint,)
    return get_args(hint) if isinstance(hint, UnionType) else ()


def _literals(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def _in_words(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"a list, each {_in_words(get_args(hint)[0])}"
    if is_dataclass(hint):
        return "'key: value' lines"
    return " or ".join([*map(repr, _literals(hint)), *(_WORDS[kind] for kind in _kinds(hint))])
