"""The noise explorer in Chromium: keyboard, words, phone, theme; whatever it asks of another host is recorded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page

from dpcxr_core.publishing.chapters.speed_tables import read_results
from dpcxr_core.publishing.explorers.noise_explorer import MODULE, static_noise_html
from dpcxr_core.publishing.explorers.noise_payload import noise_payload
from tests.publishing.explorers.test_explorer_browser import browser, page, pytestmark

__all__ = ["browser", "page", "pytestmark"]


def _payload() -> dict:
    return noise_payload(
        read_results("benchmarks/results"),
        n_images=86_524,
        n_patients=25_000,
        privacy_unit="image",
        max_images_per_patient=4,
        expected_batch_size=1024,
        n_steps=2000,
        target_epsilon=0.9,
        delta=6e-6,
    )


@pytest.fixture
def explored(page: Page, tmp_path: Path) -> Page:
    """A page with the same explorer twice, opened as a file."""
    fragment = static_noise_html(_payload())
    path = tmp_path / "toy.html"
    path.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8"><body>{fragment}{fragment}</body></html>')
    page.goto(path.as_uri())
    page.wait_for_selector(".dpcxr-noise svg[role=img]")
    return page


def _noise(explorer) -> float:
    return float(re.search(r"noise multiplier (\d+\.\d+)", explorer.locator("[aria-live]").first.inner_text()).group(1))


def test_arrow_keys_move_epsilon_and_words_picture_and_table_follow(explored):
    first, second = explored.locator(".dpcxr-noise").all()
    slider = first.get_by_role("slider", name="Target epsilon")
    before = _noise(first)
    assert before == pytest.approx(2.39, abs=0.02)
    slider.focus()
    for _ in range(10):
        explored.keyboard.press("ArrowRight")
    assert float(slider.get_attribute("aria-valuetext")) > 0.9
    assert _noise(first) < before == _noise(second)
    chosen = f"Chosen: {_noise(first):g} at {slider.get_attribute('aria-valuetext')}"
    assert chosen in first.get_by_role("img").get_attribute("aria-label")
    assert f"{_noise(first):g}" in first.locator("tr", has_text="Noise multiplier (estimate)").inner_text()
    assert explored.refused == []
    assert explored.errors == []


def test_patients_bring_their_own_controls_and_more_noise(explored):
    explorer = explored.locator(".dpcxr-noise").first
    hidden = explorer.get_by_label("Images per patient, mean")
    assert not hidden.is_visible()
    before = _noise(explorer)
    explorer.get_by_label("Privacy unit").select_option("one patient")
    assert hidden.is_visible()
    assert _noise(explorer) > 1.5 * before
    hidden.fill("1")
    assert _noise(explorer) == pytest.approx(before, rel=1e-6)


def test_impossible_choices_are_explained_and_undone(explored):
    explorer = explored.locator(".dpcxr-noise").first
    images = explorer.get_by_label("Images in the training set")
    images.fill("500")
    assert "at most the number of images, 500" in explorer.locator("[aria-live]").inner_text()
    assert explorer.get_by_role("img").count() == 0
    images.fill("86524")
    assert explorer.get_by_role("img").count() == 1
    assert explored.errors == []


def test_every_control_has_a_label(explored):
    explorer = explored.locator(".dpcxr-noise").first
    assert explorer.locator("select, input").count() == explorer.locator("label > select, label > input").count() == 10


def test_network_brings_its_speed_and_its_weights(explored):
    explorer = explored.locator(".dpcxr-noise").first
    speed = explorer.get_by_label("Images per second")
    before, words = float(speed.input_value()), explorer.locator("[aria-live]").inner_text()
    explorer.get_by_label("Network").select_option("convnext_small, 224 px")
    assert float(speed.input_value()) < before / 100
    assert "49\u202f458\u202f533 weights of convnext_small" in explorer.locator("[aria-live]").inner_text() != words


def test_nothing_is_wider_than_a_phone(explored):
    explored.set_viewport_size({"width": 360, "height": 740})
    explored.locator(".dpcxr-noise").first.get_by_label("Privacy unit").select_option("one patient")
    assert explored.evaluate("document.documentElement.scrollWidth") <= 360


def test_theme_of_the_page_is_followed(explored):
    background = "getComputedStyle(document.querySelector('.dpcxr-noise select')).backgroundColor"
    seen = {}
    for theme in ("light", "dark"):
        explored.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        seen[theme] = sum(map(int, re.findall(r"\d+", explored.evaluate(background))[:3]))
    assert seen["light"] > 600 > 200 > seen["dark"]


# ---- in a notebook: a stand-in for the widget's model, as anywidget hands it over ----

LIVE = """async ({source, payload}) => {
  const url = URL.createObjectURL(new Blob([source], {type: 'text/javascript'}));
  const {default: widget} = await import(url);
  const values = {payload, choices: payload.start, answer: {}, certify_requests: 0, certificate: {}};
  const heard = {};
  window.model = {values, saved: 0, get: (name) => values[name], set: (name, value) => { values[name] = value; },
    save_changes: () => { window.model.saved += 1; }, on: (event, f) => { heard[event] = f; },
    off: (event) => { delete heard[event]; },
    tell: (name, value) => { values[name] = value; heard[`change:${name}`](); }};
  const el = document.createElement('div');
  el.id = 'live';
  document.body.replaceChildren(el);
  window.stop = widget.render({model: window.model, el});
}"""


@pytest.fixture
def live(explored):
    """The widget's own drawing, with ``window.model`` in the place of the kernel."""
    explored.evaluate(LIVE, {"source": MODULE, "payload": _payload()})
    return explored.locator("#live")


def test_notebook_tells_the_kernel_and_shows_its_answer_for_these_choices_only(explored, live):
    live.get_by_role("slider", name="Target epsilon").focus()
    explored.keyboard.press("ArrowRight")
    assert explored.evaluate("[model.saved, model.values.choices.target_epsilon > 0.9]") == [1, True]
    explored.evaluate("model.tell('answer', {choices: {...model.values.choices}, noise_multiplier: 7.5, rdp: 8})")
    assert _noise(live) == 7.5
    explored.evaluate("model.tell('answer', {choices: model.values.payload.start, noise_multiplier: 9.5, rdp: 10})")
    assert _noise(live) == 7.5
    explored.keyboard.press("ArrowRight")
    assert _noise(live) < 3
    live.get_by_label("Images in the training set").fill("500")
    assert explored.evaluate("model.saved") == 2  # the kernel is not asked what cannot be


def test_notebook_asks_for_a_certificate_and_shows_it(explored, live):
    live.get_by_role("button", name="Certify").click()
    certificate = live.locator("[aria-live]").last
    assert "Calibrating" in certificate.inner_text()
    assert explored.evaluate("model.values.certify_requests") == 1
    explored.evaluate("model.tell('certificate', {choices: model.values.choices, words: 'It is <private>.'})")
    assert certificate.inner_text().strip() == "It is <private>."
    explored.evaluate("stop()")
    assert explored.errors == []
