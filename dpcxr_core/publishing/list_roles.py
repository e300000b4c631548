"""A Sphinx extension that calls the entries of a bibliography list items, as the list around them needs.

Docutils writes ``role="doc-biblioentry"``, which WAI-ARIA has deprecated and no list may hold; axe refuses both.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def with_list_items(body: str) -> str:
    """``body``, HTML, with the role of a list item in place of that of an entry."""
    return body.replace('role="doc-biblioentry"', 'role="listitem"')


def _mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = with_list_items(context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Mend every page as it is written."""
    app.connect("html-page-context", _mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
