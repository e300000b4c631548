"""A Sphinx extension that mends the body of a page: the roles of a bibliography, and intervals torn in two."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_WITH_INTERVAL = re.compile(r"(?<=>)[^<>]{1,16}[\[(][^<>]{1,24}[\])](?=</td>)")


def mended(body: str) -> str:
    """``body``, HTML, as readers with a screen reader or a phone need it.

    Docutils calls the entries of a bibliography ``doc-biblioentry``, a role that WAI-ARIA has deprecated and no list
    may hold: they become list items. A table's value and its interval stay on one line; a wide table scrolls instead.
    """
    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    return _WITH_INTERVAL.sub(lambda cell: cell.group().replace(" ", "&nbsp;"), body)


def _mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = mended(context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Mend every page as it is written."""
    app.connect("html-page-context", _mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
