"""The explorer in Chromium, on a page and in JupyterLab; whatever it asks of another host is recorded."""

from __future__ import annotations

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
from playwright.sync_api import Browser, Page, sync_playwright

from dpcxr_core.publishing.executed import REPOSITORY
from dpcxr_core.publishing.explorer import static_explorer_html
from dpcxr_core.publishing.explorer_payload import explorer_payload

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


@pytest.fixture
def toy_page(results, tmp_path) -> Path:
    """A page with the same explorer twice."""
    fragment = static_explorer_html(explorer_payload(*results))
    path = tmp_path / "toy.html"
    path.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8"><body>{fragment}{fragment}</body></html>')
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
    slider = first.get_by_role("slider", name=re.compile("Privacy"))
    chart = first.get_by_role("img", name=re.compile("Macro AUROC against epsilon"))
    before = chart.get_attribute("aria-label")
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "epsilon of at most 8"
    assert "epsilon of at most 8: macro AUROC 0.695" in first.locator("[aria-live=polite]").inner_text()
    assert chart.get_attribute("aria-label") != before
    assert "At epsilon of at most 8" in chart.get_attribute("aria-label")
    assert "epsilon of at most 8" in first.locator("tbody tr").nth(4).text_content()
    page.keyboard.press("End")
    assert "random, no privacy" in first.locator("[aria-live=polite]").inner_text()
    assert "epsilon of at most 1:" in second.locator("[aria-live=polite]").inner_text()
    assert page.refused == []
    assert page.errors == []


def test_choices_change_data_set_initialisation_and_gap(page, toy_page, server):
    _open(page, toy_page, "file", server)
    explorer = page.locator(".dpcxr-explorer").first
    explorer.get_by_label("Tested on").select_option("hospital_b (external to hospital_a)")
    explorer.get_by_label("Initialisation").select_option("domain supervised (stand-in)")
    explorer.get_by_label("Fairness metric").select_option(
        "equalized odds difference by age band (largest minus smallest)"
    )
    words = explorer.locator("[aria-live=polite]").inner_text()
    assert words.startswith("hospital_b (external to hospital_a), initialisation domain supervised (stand-in)")
    assert "equalized odds difference by age band (largest minus smallest): 0.090" in words


def test_every_control_has_a_label_and_every_picture_says_what_it_shows(page, toy_page, server):
    _open(page, toy_page, "file", server)
    explorer = page.locator(".dpcxr-explorer").first
    assert explorer.locator("label > select, label > input").count() == 4
    assert explorer.locator("select, input").count() == 4
    pictures = explorer.locator("svg:not([aria-hidden])")
    assert pictures.count() == 3
    assert all(re.search(r"0\.\d{3}", picture.get_attribute("aria-label")) for picture in pictures.all())


def test_nothing_is_wider_than_a_phone(page, toy_page, server):
    page.set_viewport_size({"width": 360, "height": 740})
    _open(page, toy_page, "file", server)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_theme_of_the_page_is_followed(page, toy_page, server):
    _open(page, toy_page, "file", server)
    background = "getComputedStyle(document.querySelector('.dpcxr-explorer select')).backgroundColor"
    seen = {}
    for theme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        seen[theme] = sum(map(int, re.findall(r"\d+", page.evaluate(background))[:3]))
    assert seen["light"] > 600 > 200 > seen["dark"]


# ---- JupyterLab ----

LAB_CHAPTER = """# %%
import pandas as pd
from dpcxr_core.publishing.explorer import show_explorer
explorer = show_explorer(pd.read_parquet("metrics.parquet"), pd.read_parquet("runs.parquet"))
explorer
"""
ASK_KERNEL = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  const future = panel.sessionContext.session.kernel.requestExecute({code: 'print(explorer.epsilon_index)'});
  let text = '';
  future.onIOPub = (message) => { if (message.content.text) text += message.content.text; };
  await future.done;
  return text.trim();
}"""


@pytest.fixture
def lab(results, tmp_path):
    """Address of a JupyterLab in a fresh home, with a notebook that shows the explorer."""
    metrics, runs = results
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


@pytest.mark.slow
def test_in_jupyterlab_the_slider_moves_the_chart_and_the_kernel_sees_it(page, lab):
    page.set_default_timeout(120_000)
    page.goto(lab + "lab?reset")
    page.wait_for_function("window.jupyterapp && window.jupyterapp.restored")
    page.evaluate(
        """async () => {
          await window.jupyterapp.restored;
          const panel = await window.jupyterapp.commands.execute(
            'docmanager:open', {path: 'toy.ipynb', factory: 'Notebook', kernel: {name: 'python3'}});
          await panel.context.ready;
          await panel.sessionContext.ready;
          await panel.sessionContext.session.kernel.info;
          await window.jupyterapp.commands.execute('notebook:run-all-cells');
        }"""
    )
    chart = page.get_by_role("img", name=re.compile("Macro AUROC against epsilon"))
    chart.wait_for()
    assert "At epsilon of at most 1" in chart.get_attribute("aria-label")
    handle = page.locator(".noUi-handle").first
    assert handle.get_attribute("aria-label") == "Privacy"
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("img", name=re.compile("At epsilon of at most 8")).wait_for()
    for _ in range(20):
        if (seen := page.evaluate(ASK_KERNEL)) == "1":
            break
        time.sleep(0.25)
    assert seen == "1"
    assert page.refused == []
