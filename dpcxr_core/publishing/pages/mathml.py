"""A Sphinx extension that turns TeX maths into MathML while the book is built.

Browsers draw MathML themselves, so a page loads no script and asks no other host for its formulas.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

_LOGGER = logging.getLogger(__name__)
# latex2mathml lays out align* only, and numbers the lines of align on its own.
_ALIGNED = re.compile(r"\\(begin|end)\{(?:aligned|alignedat|align|split|gather|gathered|eqnarray)\*?\}")
_EQUATION = re.compile(r"\\(?:begin|end)\{equation\*?\}")
_UNKNOWN_COMMAND = re.compile(r"\\[A-Za-z]+")
# latex2mathml writes a fraction of one number when its second argument is missing.
_ARGUMENTS = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2, "munderover": 3}


def tex_to_mathml(tex: str, *, display: bool = False) -> str:
    """A ``<math>`` element that shows ``tex``.

    Args:
        tex: TeX maths without its dollar signs. With ``display``, several lines are joined by a double
            backslash, aligned at their ampersands.
        display: Set as a formula of its own, with large operators.

    Raises:
        ValueError: ``tex`` is malformed, or uses a command that would be shown as its own name.
    """
    prepared = _EQUATION.sub("", _ALIGNED.sub(r"\\\1{align*}", tex)).strip()
    if display and r"\\" in prepared and r"\begin" not in prepared:
        prepared = rf"\begin{{align*}}{prepared}\end{{align*}}"
    try:
        mathml = convert(prepared, display="block" if display else "inline")
        root = ElementTree.fromstring(mathml)
    except Exception as error:  # latex2mathml raises many kinds, also IndexError and its own
        raise ValueError(f"cannot read the formula {tex!r} ({type(error).__name__})") from error
    unknown = _UNKNOWN_COMMAND.search(mathml)
    if unknown:
        raise ValueError(f"the formula {tex!r} uses {unknown.group()}, which latex2mathml does not know")
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        if len(element) != _ARGUMENTS.get(name, len(element)):
            raise ValueError(f"the formula {tex!r} lacks an argument ({name})")
    return mathml


def _checked_mathml(node: nodes.Element, *, display: bool) -> str:
    try:
        return tex_to_mathml(node.astext(), display=display)
    except ValueError as error:
        _LOGGER.warning("%s", error, location=node)
        return f"<code>{nodes.unescape(node.astext())}</code>"


def _visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(_checked_mathml(node, display=False) + "</span>")
    raise nodes.SkipNode


def _visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    # A wide formula scrolls on a phone, so the keyboard must reach it.
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight", tabindex="0"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(_checked_mathml(node, display=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer ``mathml``; choose it with ``html_math_renderer``."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
