"""HTML in which a widget's JavaScript module answers without a kernel, for rendered pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ipywidgets import DOMWidget


def joined(*names: str) -> str:
    """The named files that lie beside this one, one after the other: parts of one JavaScript module, or of one style.

    A page's script has no folder to import from, so the parts lie in one scope and import nothing.
    """
    return "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)


def live_html(name: str, module: str, style: str, payload: dict[str, Any], without_script: str) -> str:
    """An HTML fragment that ``module`` brings to life: no kernel, no network, no other file.

    It may be put into a page any number of times.

    Args:
        name: Class of the element that the module's ``mountAll`` looks for.
        module: Text of a JavaScript module.
        style: Text of its style sheet.
        payload: What the module reads, as JSON values.
        without_script: Sentence for browsers that run no JavaScript.
    """
    # A closing script tag or a comment inside the data would end the block early.
    data = json.dumps(payload, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<style>\n{style}</style><div class="{name}"><script type="application/json">{data}</script>'
        f"<noscript>{without_script}</noscript></div>\n"
        f'<script type="module">\n{module}\nmountAll();\n</script>\n'
    )


def bundle_with_html(widget: DOMWidget, html: str, **options: Any) -> dict[str, Any]:
    """The widget's bundle for notebooks and, beside it, ``html`` for pages without a kernel."""
    bundle = widget._repr_mimebundle_(**options)
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    return {**(data or {}), "text/html": html}
