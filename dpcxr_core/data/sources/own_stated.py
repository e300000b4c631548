"""One key of a hospital's manifest: a text, texts, yes or no, or a coding; anything else is named with its key."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from dpcxr_core.config import UserError
from dpcxr_core.data.sources.picture_files import leaves_source

_DAY = pd.Timestamp(2001, 2, 3)
_A_CENTURY_BEFORE = pd.Timestamp(1901, 2, 3)


def text_of(stated: Mapping[str, Any], key: str, default: str) -> str:
    """The text that stands under ``key``, or ``default`` where there is none.

    Raises:
        UserError: It is not one text.
    """
    value = stated.get(key, default)
    if not isinstance(value, str):
        raise UserError(f"{key} must be one text; got {value!r}")
    return value or default


def list_of(what: str, value: Any) -> list[str]:
    """A text or a list of texts as a list.

    Raises:
        UserError: It is neither; ``what`` names the key.
    """
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise UserError(f"{what} must be a text or a list of texts; got {value!r}")
    return values


def terms_in(what: str, value: Any) -> list[str]:
    """``list_of`` where a blank would stand for nothing: a term, a column, a folder.

    Raises:
        UserError: It is no list of texts, or a text is blank.
    """
    values = list_of(what, value)
    if not all(each.strip() for each in values):
        raise UserError(f"{what} holds a blank text: {values!r}. Write what is meant, or leave the line out.")
    return values


def flag_of(stated: Mapping[str, Any], key: str, *, default: bool) -> bool:
    """Whether ``true`` stands under ``key``.

    Raises:
        UserError: Something else than true or false stands there.
    """
    return one_of(key, text_of(stated, key, str(default).lower()), ("true", "false")) == "true"


def one_of(key: str, value: str, allowed: Collection[str]) -> str:
    """``value``, if it is allowed.

    Raises:
        UserError: It is not; the allowed ones are named.
    """
    if value not in allowed:
        raise UserError(f"{key} must be one of {', '.join(allowed)}; got {value!r}")
    return value


def coding_of(what: str, ours: Mapping[str, Any]) -> dict[str, str]:
    """The hospital's value -> ours, from lists of values under our names; "missing" stays a value here.

    Raises:
        UserError: A value stands under two names.
    """
    coding: dict[str, str] = {}
    for meaning, values in ours.items():
        for value in list_of(f"{what}, {meaning},", values):
            if coding.setdefault(value, meaning) != meaning:
                raise UserError(f"{what}: {value!r} stands under {coding[value]} and under {meaning}. Keep one.")
    return coding


def picture_folders(value: Any) -> list[str]:
    """Folders inside the source, without "./" or a last "/"; ``*`` is allowed within a name, and ``**`` as a name.

    Raises:
        UserError: None is named, one is blank, lies outside the source or holds ``**`` beside other letters.
    """
    folders = terms_in("pictures", value)
    if not folders:
        raise UserError("pictures names no folder; say '.' for the source itself, or leave the line out")
    for each in folders:
        if leaves_source(each):
            raise UserError(f"pictures must be folders inside the source; got {each!r}")
        if any("**" in part and part != "**" for part in each.split("/")):
            raise UserError(f"pictures: ** stands for whole folders, as in 'a/**'; got {each!r}. Write one *.")
    return [PurePosixPath(each).as_posix() for each in folders]


def date_format_of(stated: Mapping[str, Any], default: str) -> str:
    """The form of dates, in the words of strptime; it names the year at least, by all four digits.

    Raises:
        UserError: No date can be read by it, or a year of two digits, of which strptime would guess the century.
    """
    form = text_of(stated, "date_format", default)
    read = _read_back(_DAY, form)
    if read is None or read.tz is not None or read.year != _DAY.year:
        raise UserError(f"age.date_format must be such as %d.%m.%Y or %Y-%m-%d, with the year; got {form!r}")
    before = _read_back(_A_CENTURY_BEFORE, form)
    if before is None or before.year != _A_CENTURY_BEFORE.year:
        raise UserError(
            f"age.date_format must be such as %d.%m.%Y; got {form!r}, whose two digits do not say the century. "
            "Export dates with years of four digits."
        )
    return form


def _read_back(day: pd.Timestamp, form: str) -> pd.Timestamp | None:
    try:
        return pd.to_datetime(day.strftime(form), format=form)
    except (ValueError, re.error):  # pandas makes a pattern of it
        return None


def encoding_of(stated: Mapping[str, Any], default: str) -> str:
    """The encoding of a table.

    Raises:
        UserError: Python knows none of that name.
    """
    encoding = text_of(stated, "encoding", default)
    try:
        codecs.lookup(encoding)
    except (LookupError, ValueError):
        raise UserError(f"table.encoding {encoding!r} is not known; try utf-8, cp1252 or utf-16") from None
    return encoding


def refuse_beside(stated: Mapping[str, Any], keys: tuple[str, ...], where: str, beside: str) -> None:
    """Nothing, where none of ``keys`` is stated.

    Raises:
        UserError: One is, and does not go with ``beside``.
    """
    for key in keys:
        if key in stated:
            raise UserError(f"{where}.{key} does not go with {beside}")
