import xml.etree.ElementTree as ET

import pytest

from dpcxr_core.publishing.pages.mathml import tex_to_mathml

MATH = "{http://www.w3.org/1998/Math/MathML}"


def _text(mathml):
    return "".join(ET.fromstring(mathml).itertext())


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (r"\varepsilon \le 3.0", "ε≤3.0"),
        (r"\mathcal{N}(0, \sigma^2 C^2 \mathbf{I})", "𝒩(0,σ2C2𝐈)"),
        (r"\bar g_i = g_i \min(1, C / \lVert g_i \rVert_2)", "g¯i=gimin(1,C/‖gi‖2)"),
        (r"\Pr[M(D) \in S] \le e^{\varepsilon} \Pr[M(D') \in S] + \delta", "Pr[M(D)∈S]≤eεPr[M(D′)∈S]+δ"),
    ],
)
def test_formulas_of_the_book_become_their_symbols(tex, shown):
    assert _text(tex_to_mathml(tex)) == shown


@pytest.mark.parametrize("environment", ["aligned", "align", "align*", "split", "gather*"])
def test_aligned_lines_become_a_table_without_numbers_of_their_own(environment):
    tex = rf"\begin{{{environment}}} a &= b \\ c &= d \end{{{environment}}}"
    root = ET.fromstring(tex_to_mathml(tex, display=True))
    assert len(root.findall(f".//{MATH}mtr")) == 2
    assert "".join(root.itertext()) == "a=bc=d"


def test_lines_joined_by_backslashes_are_aligned():
    root = ET.fromstring(tex_to_mathml(r"a &= b \\ c &= d", display=True))
    assert len(root.findall(f".//{MATH}mtr")) == 2


def test_display_formula_is_a_block():
    assert ET.fromstring(tex_to_mathml("x", display=True)).get("display") == "block"
    assert ET.fromstring(tex_to_mathml("x")).get("display") == "inline"


@pytest.mark.parametrize("tex", [r"x_{", r"\frac{1}", r"\nosuchcommand{x}", r"\left( x"])
def test_a_formula_that_cannot_be_shown_is_refused(tex):
    with pytest.raises(ValueError, match="formula"):
        tex_to_mathml(tex)
