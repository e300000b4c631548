import json
import re
import shutil
import subprocess

import pytest

from dpcxr_core.publishing.explorer import MODULE, Explorer, show_explorer
from dpcxr_core.publishing.explorer_payload import explorer_payload

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
STATE = {"evaluation_index": 0, "init_index": 2, "gap_index": 0, "epsilon_index": 1}


def _node(expression, **values):
    """What ``expression`` gives in node, with the explorer's module and ``values`` at hand."""
    names = ", ".join(values)
    script = (
        f"import * as m from {json.dumps(MODULE.as_uri())};\n"
        f"const {{ {names} }} = {json.dumps(values)};\n"
        f"console.log(JSON.stringify({expression}));"
    )
    done = subprocess.run(
        ["node", "--no-warnings", "--input-type=module", "-e", script.replace('.js"', '.js"')],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_module_is_small_and_asks_nobody():
    text = MODULE.read_text()
    assert len(text.encode()) < 25_000
    assert not re.search(r"^\s*import\b|\bimport\s*\(|\bfetch\s*\(|https?://(?!www.w3.org/2000/svg)", text, re.M)
    assert "</script" not in text


def test_bundle_has_the_widget_and_html_beside_it(results):
    bundle = show_explorer(*results)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert 'class="dpcxr-explorer"' in bundle["text/html"]


def test_controls_offer_what_the_payload_holds_and_start_where_the_chart_does(results):
    payload = explorer_payload(*results)
    explorer = Explorer(payload)
    *controls, chart = explorer.box.children
    assert chart is explorer.chart
    assert [len(control.options) for control in controls] == [2, 3, len(payload["gaps"]), 3]
    assert [control.index for control in controls] == [0, 0, 0, 0]
    chart.epsilon_index = 2
    assert explorer.epsilon_index == 2


@needs_node
def test_sentences_say_the_chosen_numbers(results):
    payload = explorer_payload(*results)
    cell = payload["cells"][0][2][1]
    lines = _node("m.sentences(payload, state)", payload=payload, state=STATE)
    assert "domain supervised (stand-in), epsilon of at most 8" in lines[0]
    assert f"macro AUROC {cell['auroc']['value']:.3f} (95% interval {cell['auroc']['low']:.3f}" in lines[0]
    assert "Mean of 2 seeds" in lines[0]
    assert lines[1] == "Epsilon spent: 7.99."
    assert "−0.020" in lines[2]
    assert "Public data only" in lines[3]


@needs_node
def test_sentences_say_what_is_not_shown_and_why(results):
    payload = explorer_payload(*results)
    payload["cells"][0][2][1]["auroc"] = {"value": None, "low": None, "high": None, "reason": "fewer than 10"}
    assert "not shown (fewer than 10)" in _node("m.sentences(payload, s)", payload=payload, s=STATE)[0]
    payload["cells"][0][2][1] = None
    assert _node("m.sentences(payload, s)", payload=payload, s=STATE)[0].endswith("no run.")


@needs_node
def test_table_has_a_row_for_every_level_group_and_the_gap(results):
    table = _node("m.tableRows(payload, state)", payload=explorer_payload(*results), state=STATE)
    assert len(table["rows"]) == 3 + 5 + 1
    assert all(len(row) == len(table["head"]) for row in table["rows"])


@needs_node
@pytest.mark.parametrize("domain", [[0.57, 0.91], [-0.05, 0.01], [0.5, 1.0], [-0.013, 0.2]])
def test_ticks_are_round_and_inside_the_axis(domain):
    found = _node("m.ticks(domain)", domain=domain)
    assert 2 <= len(found) <= 8
    assert all(domain[0] - 1e-9 <= tick <= domain[1] + 1e-9 for tick in found)
    assert all(len(f"{tick:g}") <= 6 for tick in found)


@needs_node
def test_scale_maps_ends_to_ends():
    assert _node("[0.5, 0.75, 1].map(m.scale([0.5, 1], [10, 110]))", x=0) == [10, 60, 110]
