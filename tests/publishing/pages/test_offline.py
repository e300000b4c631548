import pytest

from dpcxr_core.publishing.pages.offline import external_requests

HOST = "https://cdn.example.org/x"


@pytest.mark.parametrize(
    "planted",
    [
        f'<script src="{HOST}"></script>',
        '<script src="//cdn.example.org/x"></script>',
        f'<link rel="stylesheet" href="{HOST}">',
        f'<link rel="preconnect" href="{HOST}">',
        f'<link rel="shortcut icon" href="{HOST}">',
        f'<img src="{HOST}">',
        f'<img srcset="a.png 1x, {HOST} 2x">',
        f'<iframe src="{HOST}"></iframe>',
        f'<p style="background: url({HOST})">',
        f"<style>@import '{HOST}';</style>",
        f"<style>@font-face {{ src: url('{HOST}'); }}</style>",
        f'<script type="module">import {{ a }} from "{HOST}";</script>',
        f"<script>import('{HOST}')</script>",
        f"<script>fetch(`{HOST}`)</script>",
        f'<script>element.src = "{HOST}";</script>',
    ],
)
def test_planted_requests_of_a_page_are_found(tmp_path, planted):
    (tmp_path / "page.html").write_text(f"<html><body>{planted}</body></html>")
    found = external_requests(tmp_path)
    assert len(found) == 1
    assert found[0].startswith("page.html: ")
    assert "//cdn.example.org/x" in found[0]


def test_planted_requests_of_style_sheets_and_scripts_are_found(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.css").write_text(f"@font-face {{ src: url({HOST}) }}")
    (tmp_path / "b.js").write_text(f'import x from "{HOST}"')
    assert external_requests(tmp_path) == [f"b.js: {HOST}", f"deep/a.css: {HOST}"]


def test_links_and_local_files_are_no_requests(tmp_path):
    (tmp_path / "page.html").write_text(
        f'<a href="{HOST}">read</a><link rel="canonical" href="{HOST}"><script src="local.js"></script>'
        f'<img src="data:image/png;base64,AA=="><script>// see {HOST}\nconst ns = "http://www.w3.org/2000/svg";</script>'
    )
    assert external_requests(tmp_path) == []
