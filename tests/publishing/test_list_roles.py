from dpcxr_core.publishing.list_roles import with_list_items


def test_entries_of_a_list_are_its_items_and_all_else_stays():
    entry = '<div class="citation" id="id1" role="{}"><p>doc-biblioentry</p></div>'
    before = f'<div role="list" class="citation-list">{entry.format("doc-biblioentry")}</div>'
    assert with_list_items(before) == before.replace(entry.format("doc-biblioentry"), entry.format("listitem"))
