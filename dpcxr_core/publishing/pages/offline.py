"""Whether built pages need a network: everything they load must lie beside them."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

_REMOTE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
_CSS_URL = re.compile(r"""(?:url\(\s*|@import\s+)["']?\s*((?:https?:)?//[^"')\s;]+)""", re.IGNORECASE)
# Not every URL in a script is asked for (licences, namespaces, links), but these forms are.
_SCRIPT_LOAD = re.compile(
    r"""(?:\bimport\s*\(?|\bfrom|\bfetch\s*\(|\bimportScripts\s*\(|\.src\s*=)\s*["'`]((?:https?:)?//[^"'`]+)""",
    re.IGNORECASE,
)
_LOADING_LINKS = {
    "stylesheet",
    "icon",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "manifest",
}
_SOURCES = {
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("embed", "src"),
    ("source", "src"),
    ("video", "src"),
    ("video", "poster"),
    ("audio", "src"),
    ("track", "src"),
    ("object", "data"),
    ("input", "src"),
    ("use", "href"),
    ("image", "href"),
    ("base", "href"),
}


def external_requests(html_dir: Path) -> list[str]:
    """One line, ``file: URL``, for everything that a page in ``html_dir`` would load from another host.

    Scripts, styles, fonts, images and frames count, in pages, style sheets and scripts. Links that a
    reader may follow do not.
    """
    readers: dict[str, Callable[[str], list[str]]] = {
        ".html": _of_page,
        ".css": _CSS_URL.findall,
        ".js": _SCRIPT_LOAD.findall,
    }
    found = []
    for path in sorted(html_dir.rglob("*")):
        if path.suffix in readers:
            urls = readers[path.suffix](path.read_text(encoding="utf-8", errors="replace"))
            found += [f"{path.relative_to(html_dir)}: {url}" for url in urls]
    return found


def _of_page(text: str) -> list[str]:
    page = _Page()
    page.feed(text)
    return page.found


class _Page(HTMLParser):
    """Collects what one page loads from another host, in ``found``."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        values = {name: value or "" for name, value in attributes}
        urls = [value for name, value in values.items() if (tag, name) in _SOURCES]
        urls += [part.split()[0] for part in values.get("srcset", "").split(",") if part.strip()]
        if tag == "link" and set(values.get("rel", "").lower().split()) & _LOADING_LINKS:
            urls.append(values.get("href", ""))
        self.found += [url for url in urls if _REMOTE.match(url)]
        self.found += _CSS_URL.findall(values.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.found += _CSS_URL.findall(data)
        elif self._inside == "script":
            self.found += _SCRIPT_LOAD.findall(data)
