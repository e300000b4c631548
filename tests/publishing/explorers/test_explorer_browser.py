"""The explorer in Chromium, on a page and in JupyterLab; whatever it asks of another host is recorded."""

from __future__ import annotations

import csv
import functools
import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import jupytext
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from dpcxr_core.publishing.explorers.explorer import static_explorer_html
from dpcxr_core.publishing.explorers.explorer_payload import explorer_payload
from dpcxr_core.publishing.pages.executed import REPOSITORY
from tests.publishing.conftest import LABELS, make_metrics, make_runs

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser):
    """A page that reaches this machine only; ``page.refused`` and ``page.errors`` tell what went wrong."""
    context = browser.new_context()
    page = context.new_page()
    page.refused, page.errors = [], []

    def local_only(route):
        if re.match(r"(file|data|blob):|(https?|wss?)://(127\.0\.0\.1|localhost)[:/]", route.request.url):
            route.continue_()
        else:
            page.refused.append(route.request.url)
            route.abort()

    context.route("**/*", local_only)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.set_default_timeout(60_000)
    yield page
    context.close()


@pytest.fixture(scope="module")
def tables():
    """Runs and metrics of two hospitals trained on and three tested on."""
    runs = make_runs(trains=("hospital_a", "hospital_b"), units=("image", "patient"))
    return runs, make_metrics(runs, tests=("hospital_a", "hospital_b", "hospital_c"))


@pytest.fixture
def toy_page(tables, tmp_path) -> Path:
    """A page with the same explorer twice."""
    fragment = static_explorer_html(explorer_payload(tables[1], tables[0]))
    path = tmp_path / "toy.html"
    start = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Toy</title>'
    start += '<meta name="viewport" content="width=device-width"><body>'
    path.write_text(f"{start}{fragment}{fragment}</body></html>")
    return path


@pytest.fixture
def server(tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def _open(page: Page, toy_page: Path, where: str, server: str) -> None:
    page.goto(toy_page.as_uri() if where == "file" else f"{server}/{toy_page.name}")
    page.wait_for_selector(".dpcxr-explorer svg[role=img]")


@pytest.mark.parametrize("where", ["file", "http"])
def test_arrow_key_moves_epsilon_and_words_chart_and_table_follow(page, toy_page, server, where):
    _open(page, toy_page, where, server)
    first, second = page.locator(".dpcxr-explorer").all()
    slider = first.get_by_role("slider", name="Privacy")
    chart = first.get_by_role("img", name=re.compile("macro AUROC against epsilon"))
    before = chart.get_attribute("aria-label")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "epsilon of at most 8"
    words = first.locator("[aria-live=polite]")
    assert re.search(r"epsilon of at most 8 for each image: macro AUROC 0\.\d{3}", words.inner_text())
    assert "At epsilon of at most 8" in chart.get_attribute("aria-label") != before
    assert "epsilon of at most 8" in first.locator("tbody tr", has_text="macro AUROC, female").text_content()
    page.keyboard.press("End")
    assert "no privacy" in words.inner_text()
    assert slider.evaluate("node => node === document.activeElement")
    assert "epsilon of at most 1 for" in second.locator("[aria-live=polite]").inner_text()
    assert page.refused == []
    assert page.errors == []


def test_two_models_stand_side_by_side_and_their_difference_is_told(page, toy_page, server):
    _open(page, toy_page, "file", server)
    explorer = page.locator(".dpcxr-explorer").first
    assert explorer.get_by_role("group", name="Model B").count() == 0
    explorer.get_by_role("button", name="Compare with a second model").click()
    explorer.get_by_role("group", name="Model B").get_by_label("Initialisation").select_option(LABELS[2])
    explorer.get_by_label("Metric").select_option("TPR")
    assert explorer.get_by_role("img", name=re.compile("macro TPR against epsilon")).count() == 2
    told = explorer.locator("[aria-live=polite] p").all_inner_texts()
    values = [float(re.search(r"TPR (0\.\d{3})", line).group(1)) for line in told[:2]]
    difference = float(re.search(r"A minus B: (\S+)", told[2]).group(1).replace("\u2212", "-"))
    assert difference == pytest.approx(values[0] - values[1], abs=1e-9)
    assert "they differ in initialisation" in told[2]
    explorer.get_by_role("button", name="Show one model").click()
    assert explorer.get_by_role("group", name="Model B").count() == 0


@pytest.mark.parametrize(
    ("metric", "ideal", "told"),
    [
        ("AUROC", None, "1 is best, 0.5 is chance."),
        ("Brier score", None, "0 is best."),
        ("calibration slope", "1.00", "1 is ideal."),
        ("calibration in the large", "0.00", "0 is ideal, in log odds."),
    ],
)
def test_curve_tells_which_values_are_good_and_shows_an_ideal_between(page, toy_page, server, metric, ideal, told):
    _open(page, toy_page, "file", server)
    explorer = page.locator(".dpcxr-explorer").first
    explorer.get_by_label("Metric").select_option(metric)
    chart = explorer.get_by_role("img", name=re.compile(f"macro {metric} against epsilon. {re.escape(told)}"))
    assert explorer.get_by_text(re.compile(f"^{re.escape(told)}")).is_visible()
    assert explorer.get_by_role("listitem").filter(has_text="ideal").count() == (ideal is not None)
    line = chart.locator('line[stroke-dasharray="1.5 3"]')
    assert line.count() == (ideal is not None)
    if ideal is not None:
        tick = chart.get_by_text(ideal, exact=True)  # four below its line
        assert float(tick.get_attribute("y")) - 4 == pytest.approx(float(line.get_attribute("y1")), abs=0.01)


def test_choice_of_one_is_text_and_every_control_has_a_name(page, toy_page, server):
    _open(page, toy_page, "file", server)
    explorer = page.locator(".dpcxr-explorer").first
    assert explorer.get_by_label("Architecture").filter(visible=True).count() == 0
    (only,) = explorer.locator(".dx-only:visible").all()
    assert only.inner_text().split() == ["Architecture", "net"]
    controls = explorer.locator("select:visible, input:visible").all()
    names = [
        control.get_attribute("aria-label") or control.evaluate("node => node.labels[0].firstChild.data")
        for control in controls
    ]
    assert names == [
        "Finding",
        "Metric",
        "Groups by",
        "Trained on",
        "Tested on",
        "Initialisation",
        "Unit of privacy",
        "Privacy",
    ]


def test_every_picture_says_in_numbers_what_it_shows(page, toy_page, server):
    _open(page, toy_page, "file", server)
    pictures = page.locator(".dpcxr-explorer").first.locator("svg:not([aria-hidden])")
    assert pictures.count() == 4
    assert all(re.search(r"0\.\d{3}", picture.get_attribute("aria-label")) for picture in pictures.all())


def test_copied_link_brings_both_models_back(page, toy_page, server):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    _open(page, toy_page, "http", server)
    explorer = page.locator(".dpcxr-explorer").first
    explorer.get_by_label("Finding").select_option("pneumonia")
    explorer.get_by_role("button", name="Compare").click()
    explorer.get_by_role("slider", name="Privacy").last.press("End")
    told = explorer.locator("[aria-live=polite]").inner_text()
    explorer.get_by_role("button", name="Copy link").click()
    explorer.get_by_role("status").get_by_text("Link copied.").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_selector(".dpcxr-explorer svg[role=img]")
    assert page.locator(".dpcxr-explorer").first.locator("[aria-live=polite]").inner_text() == told
    page.evaluate("location.hash = '#explore?finding=macro'")
    page.locator("[aria-live=polite]", has_text="macro AUROC").first.wait_for()
    assert page.errors == []


def test_file_holds_what_the_table_shows(page, toy_page, server, tmp_path):
    _open(page, toy_page, "file", server)
    explorer = page.locator(".dpcxr-explorer").first
    with page.expect_download() as download:
        explorer.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "explorer.csv"
    download.value.save_as(tmp_path / "explorer.csv")
    rows = list(csv.reader((tmp_path / "explorer.csv").read_text().splitlines()))
    explorer.locator("summary").click()
    shown = [row.locator("th, td").all_inner_texts() for row in explorer.locator("tr").all()]
    assert len(rows) == len(shown) == 1 + 3 + 2 + 2 + 3
    assert shown[0] == rows[0]
    value = rows[0].index("value")
    assert [row[value] for row in shown[1:]] == [f"{float(row[value]):.3f}" for row in rows[1:]]


def test_charts_are_as_wide_as_their_boxes_from_the_start_and_with_a_second_model(page, toy_page, server):
    """Else their letters are larger or smaller than those beside them, until the window changes its width."""
    page.set_viewport_size({"width": 700, "height": 900})
    _open(page, toy_page, "file", server)
    first = page.locator(".dpcxr-explorer").first
    widths = (
        """svgs => svgs.filter(svg => svg.clientWidth > 100).map(svg => [svg.viewBox.baseVal.width, svg.clientWidth])"""
    )
    button = first.locator("button").first
    for press in ("", "Compare with a second model", "Show one model"):
        if press:
            assert button.inner_text() == press
            button.click()
        drawn = first.locator("svg[role=img]").evaluate_all(widths)
        assert drawn
        assert all(made == shown for made, shown in drawn), press


def test_nothing_is_wider_than_a_phone(page, toy_page, server):
    page.set_viewport_size({"width": 360, "height": 740})
    _open(page, toy_page, "file", server)
    page.get_by_role("button", name="Compare").first.click()
    page.locator("summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_longest_name_of_a_gap_leaves_room_for_its_number_on_a_phone(page, toy_page, server):
    page.set_viewport_size({"width": 360, "height": 740})
    _open(page, toy_page, "file", server)
    explorer = page.locator(".dpcxr-explorer").first
    explorer.get_by_label("Metric").select_option("calibration in the large")
    gaps = explorer.get_by_role("img", name=re.compile("^Gaps by sex"))
    name = gaps.get_by_text("calibration in the large difference (largest minus smallest)").bounding_box()
    number = gaps.get_by_text(re.compile(r"^0\.\d{3}$")).bounding_box()
    assert name["x"] + name["width"] < number["x"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_violation_of_wcag_a_or_aa(page, toy_page, server, theme):
    _open(page, toy_page, "file", server)
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    page.get_by_role("button", name="Compare").first.click()
    page.locator("summary").first.click()
    rules = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
    found = Axe().run(page, context=".dpcxr-explorer", options=rules)
    assert found.response["passes"]
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme_of_the_page_is_followed_and_else_that_of_the_reader(page, toy_page, server, scheme):
    page.emulate_media(color_scheme=scheme)
    _open(page, toy_page, "file", server)

    def brightness(what):
        color = page.evaluate(f"getComputedStyle(document.querySelector('.dpcxr-explorer')).{what}")
        return sum(map(int, re.findall(r"\d+", color)[:3]))

    for theme in ("none", "light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        dark = (scheme if theme == "none" else theme) == "dark"
        assert (brightness("backgroundColor") < 200 < 600 < brightness("color")) == dark
        assert (brightness("color") < 200 < 600 < brightness("backgroundColor")) == (not dark)


def test_printed_page_has_charts_and_no_buttons(page, toy_page, server):
    _open(page, toy_page, "file", server)
    page.emulate_media(media="print")
    explorer = page.locator(".dpcxr-explorer").first
    assert explorer.get_by_role("img").first.is_visible()
    assert not explorer.get_by_role("button", name="Compare").is_visible()


# ---- JupyterLab ----

LAB_CHAPTER = """# %%
import pandas as pd
from dpcxr_core.publishing.explorers.explorer import show_explorer
explorer = show_explorer(pd.read_parquet("metrics.parquet"), pd.read_parquet("runs.parquet"))
explorer

# %%
from dpcxr_core.publishing.explorers.live_explorer import LiveExplorer
from tests.publishing.conftest import make_material
live = LiveExplorer(make_material(n=5000))
live
"""
OPEN_AND_RUN = """async () => {
  await window.jupyterapp.restored;
  const panel = await window.jupyterapp.commands.execute(
    'docmanager:open', {path: 'toy.ipynb', factory: 'Notebook', kernel: {name: 'python3'}});
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await window.jupyterapp.commands.execute('notebook:run-all-cells');
}"""
ASK_KERNEL = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  const future = panel.sessionContext.session.kernel.requestExecute({code: 'print(explorer.state["a"]["level"])'});
  let text = '';
  future.onIOPub = (message) => { if (message.content.text) text += message.content.text; };
  await future.done;
  return text.trim();
}"""


@pytest.fixture
def lab(tables, tmp_path):
    """Address of a JupyterLab in a fresh home, with a notebook that shows the explorer."""
    runs, metrics = tables
    metrics.to_parquet(tmp_path / "metrics.parquet")
    runs.to_parquet(tmp_path / "runs.parquet")
    notebook = jupytext.reads(LAB_CHAPTER, fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    jupytext.write(notebook, tmp_path / "toy.ipynb")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    for name in ("CONFIG_DIR", "RUNTIME_DIR", "DATA_DIR"):
        environment[f"JUPYTER_{name}"] = str(tmp_path / name)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0"]
    command += ["--IdentityProvider.token=", "--LabApp.news_url=", "--LabApp.expose_app_in_browser=True"]
    log = (tmp_path / "lab.log").open("w")
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        yield _address(tmp_path / "RUNTIME_DIR", server, tmp_path / "lab.log")
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


def _address(runtime_dir: Path, server: subprocess.Popen, log: Path) -> str:
    for _ in range(240):
        for record in runtime_dir.glob("jpserver-*.json"):
            url = json.loads(record.read_text())["url"]
            try:
                urlopen(url + "api", timeout=5).close()
            except URLError:
                break
            return url
        assert server.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(f"JupyterLab did not start: {log.read_text()}")


def _menu(page: Page, name: str):
    return page.locator(".widget-dropdown", has=page.get_by_text(name, exact=True)).locator("select")


@pytest.mark.slow
def test_in_jupyterlab_the_kernel_sees_the_explorer_and_answers_the_live_one(page, lab):
    page.set_default_timeout(120_000)
    page.goto(lab + "lab?reset")
    page.wait_for_function("window.jupyterapp && window.jupyterapp.restored")
    page.evaluate(OPEN_AND_RUN)
    page.get_by_role("img", name=re.compile("macro AUROC against epsilon. .* At epsilon of at most 1:")).wait_for()
    page.locator(".dpcxr-explorer").first.get_by_role("slider", name="Privacy").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("img", name=re.compile("At epsilon of at most 8")).wait_for()
    for _ in range(20):
        if (seen := page.evaluate(ASK_KERNEL)) == "8":
            break
        time.sleep(0.25)
    assert seen == "8"

    _menu(page, "Finding").select_option("pneumonia")
    _menu(page, "Metric").select_option("TPR")
    _menu(page, "Threshold by").select_option("by hand")
    words = page.locator(".dpcxr-explorer [aria-live=polite]").last
    words.get_by_text("Decision threshold 0.500.").wait_for()
    page.locator('.noUi-handle[aria-label="Threshold"]').focus()
    page.keyboard.press("ArrowRight")
    words.get_by_text("Decision threshold 0.510.").wait_for()
    assert float(re.search(r"Answered in (\S+) s", words.inner_text()).group(1)) < 5  # 2 on a machine of one's own
    bands = page.locator(".widget-text input")
    bands.fill("old")
    bands.press("Enter")
    words.get_by_text("age bands are whole years").wait_for()
    assert page.refused == []
