import pandas as pd

from dpcxr_core.publishing.disclosing.page_body import mended


def test_entries_of_a_bibliography_are_items_of_their_list_and_all_else_stays():
    before = '<div role="list" class="citation-list"><div class="citation" {}><p>doc-biblioentry</p></div></div>'
    assert mended(before.format('role="doc-biblioentry"')) == before.format('role="listitem"')


def test_a_value_and_its_interval_stay_on_one_line_and_sentences_do_not():
    cells = [
        "-0.026 [-0.106, +0.058]",
        "0.65 (0.64 to 0.67)",
        "a sentence (with brackets) of a table",
        "5 [most of them].",
    ]
    after = mended(pd.DataFrame({"a [b, c]": cells}).to_html())
    assert "<td>-0.026&nbsp;[-0.106,&nbsp;+0.058]</td>" in after
    assert "<td>0.65&nbsp;(0.64&nbsp;to&nbsp;0.67)</td>" in after
    for kept in (*cells[2:], "<th>a [b, c]</th>"):
        assert kept in after
