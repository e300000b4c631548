import pandas as pd
from bs4 import BeautifulSoup

from dpcxr_core.publishing.disclosing.page_tables import Cell, tables_of


def _tables(html):
    return tables_of(BeautifulSoup(html, "html.parser"))


def test_values_have_the_headings_that_pandas_gave_them():
    columns = pd.MultiIndex.from_product([["train", "test"], ["images", "patients"]])
    index = pd.MultiIndex.from_tuples([("sex", "F"), ("sex", "M"), ("view", "AP")], names=["by", "group"])
    table = pd.DataFrame([[10, 11, 12, 13], [20, 21, 22, 23], [30, 31, 32, 33]], index, columns)
    for html in (table.to_html(), table.style.to_html()):
        (cells,) = _tables(html)
        assert len(cells) == 12
        assert cells[0] == Cell(("train", "images"), ("sex", "F"), "10")
        assert cells[7] == Cell(("test", "patients"), ("sex", "M"), "23")
        assert cells[9] == Cell(("train", "patients"), ("view", "AP"), "31")


def test_printed_tables_are_read_from_the_right():
    printed = pd.DataFrame({"group": ["F", "M"], "n": [120, 3]}).to_string()
    (cells,) = _tables(f'<div class="cell_output"><pre>{printed}</pre></div><pre>n  n\n1  2</pre>')
    assert [(cell.column, cell.text) for cell in cells if cell.column == ("n",)] == [(("n",), "120"), (("n",), "3")]


def test_tables_come_in_their_order_and_empty_ones_have_no_values():
    html = "<table></table><table><tr><th>a</th></tr><tr><td> 1 <b>2</b></td></tr></table>"
    assert _tables(html) == [[], [Cell(("a",), (), "1 2")]]
