import json
from html.parser import HTMLParser

import ipywidgets
import pytest

from dpcxr_core.publishing.explorers import explorer, noise_explorer
from dpcxr_core.publishing.explorers.live_html import bundle_with_html, joined, live_html

HOSTILE = {"label": "</script><b>", "comment": "<!-- <script>", "number": 0.5, "nothing": None}


class _Reader(HTMLParser):
    """Tags with their attributes, and the text of each script, as a browser takes them apart."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.scripts += [""] * (tag == "script")

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data


@pytest.mark.parametrize("explored", [explorer, noise_explorer], ids=lambda each: each.__name__)
def test_data_and_module_survive_whatever_the_data_say(explored):
    page = live_html("some-name", explored.MODULE, explored.STYLE, HOSTILE, "Needs JavaScript.")
    read = _Reader(page)
    assert [tag for tag, _ in read.tags] == ["style", "div", "script", "noscript", "script"]
    assert read.tags[1][1] == {"class": "some-name"}
    data, script = read.scripts
    assert json.loads(data) == HOSTILE
    assert explored.MODULE in script
    assert script.rstrip().endswith("mountAll();")


@pytest.mark.parametrize(
    "static", [explorer.static_explorer_html, noise_explorer.static_noise_html], ids=lambda each: each.__name__
)
def test_each_fragment_has_the_class_that_its_module_looks_for(static):
    module = explorer.MODULE if static is explorer.static_explorer_html else noise_explorer.MODULE
    name = _Reader(static(HOSTILE)).tags[1][1]["class"]
    assert f'mountEach("{name}"' in module


def test_numbers_that_are_none_in_json_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        live_html("some-name", "", "", {"value": float("nan")}, "")


def test_parts_of_a_module_are_joined_in_their_order():
    text = joined("drawing.js", "explorer_data.js")
    assert text.index("const svg = ") < text.index("export async function unpack")


def test_bundle_keeps_the_widget_and_adds_the_html():
    bundle = bundle_with_html(ipywidgets.IntSlider(), "<p>still</p>")
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == "<p>still</p>"
