"""Every page of a built book in Chromium, light and dark, wide and narrow, without a network.

The book is one of all kinds of content, built here, or the one whose folder of pages ``DPCXR_PAGES`` names.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

from dpcxr_core.publishing.pages.build import build_book
from dpcxr_core.publishing.pages.execute import execute_chapter
from dpcxr_core.publishing.pages.executed import REPOSITORY

CHROMIUM = Path("/usr/bin/chromium")
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}  # all a theme changes
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed"),
]
CHAPTER = r"""# %% [markdown]
# (toy)=
# # A chapter with all that chapters show
#
# A {term}`term`, `code`, a [link](https://example.org), {cite}`abadi2016` and, as {eq}`clip` says, $\varepsilon \le 3$.
#
# $$
# \bar g_i = g_i \min\left(1, \frac{C}{\lVert g_i \rVert_2}\right) + \sum_{j=1}^{n} \frac{a_j + b_j + c_j}{d_j + e_j}
# $$ (clip)

# %% tags=["parameters"]
seed: int = 0  # an integer

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown, display
from matplotlib import pyplot as plt
from dpcxr_core.publishing import figures
from myst_nb import glue
figures.use_house_style()
glue("seed", seed, display=False)

# %% [markdown]
# ## Tables, printed and drawn

# %%
wide = pd.DataFrame({f"a long heading, number {i}": ["0.812 [0.790, 0.834]"] * 3 for i in range(9)})
display(wide, wide.style)
print("a long line, " * 30)
wide.columns.tolist(), max("a name with a comment", "and more")  # a comment, longer than the page of a phone is wide

# %% mystnb={"figure": {"name": "lines", "caption": "Six lines."}, "image": {"alt": "Six rising lines."}}
fig, ax = plt.subplots()
for i in range(6):
    ax.plot([0, 1], [i, i + 1], label=f"line {i}")
legend = ax.legend()

# %% [markdown]
# > A quotation.
#
# ```{note}
# Of the seed {glue:text}`seed`.
# ```
#
# - a list
#   1. in a list

# %%
Markdown("**Bold**, and `code` in a sentence of the run.")
"""
INDEX = """# A toy book

See {ref}`toy`.

::::{grid} 1 1 2 2
:::{grid-item-card} A card
:link: toy
:link-type: ref
With words.
:::
::::

```{tableofcontents}
```
"""


@pytest.fixture(scope="module")
def html_dir(tmp_path_factory) -> Path:
    if named := os.environ.get("DPCXR_PAGES"):
        return Path(named)
    folder = tmp_path_factory.mktemp("pages")
    source = folder / "book"
    source.mkdir()
    shutil.copytree(REPOSITORY / "book" / "_assets", source / "_assets")
    (source / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nparts:\n- caption: Part\n  chapters:\n  - file: 01_toy\n  - file: words\n"
    )
    (source / "index.md").write_text(INDEX)
    (source / "words.md").write_text(
        "# Words\n\n```{glossary}\nterm\n  What it means.\n```\n\n```{bibliography}\n```\n"
    )
    (source / "references.bib").write_text(
        "@inproceedings{abadi2016, author={Abadi, Martin}, title={Deep learning}, booktitle={CCS}, year={2016}}"
    )
    (source / "01_toy.py").write_text(CHAPTER)
    execute_chapter(source / "01_toy.py", folder / "run", {}, progress=False)
    return build_book(source, REPOSITORY / "_config.yml", folder / "run", folder / "out").parent


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that reaches files only."""
    context = browser.new_context()
    context.route(re.compile("^(https?|wss?):"), lambda route: route.abort())
    page = context.new_page()
    page.set_default_timeout(90_000)
    yield page
    context.close()


def _pages(html_dir: Path) -> list[Path]:
    pages = sorted(html_dir.glob("*.html"))
    assert len(pages) > 4
    return pages


def _violations(page: Page, rules: dict = WCAG) -> list[str]:
    found = Axe().run(page, options=rules).response
    assert found["passes"]
    return [f"{each['id']}: {node['html'][:120]}" for each in found["violations"] for node in each["nodes"]]


@pytest.mark.parametrize(
    ("theme", "size", "rules"), [("light", DESK, WCAG), ("dark", DESK, COLOURS), ("light", PHONE, WCAG)]
)
def test_axe_finds_no_violation_of_wcag_a_or_aa_on_any_page(page, html_dir, theme, size, rules):
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size(size)
    found = []
    for path in _pages(html_dir):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        found += [f"{path.name}: {violation}" for violation in _violations(page, rules)]
    assert found == []


def test_axe_would_find_planted_violations(page, html_dir):
    page.goto((html_dir / "index.html").as_uri())
    planted = "<img src=x><p style=color:#aaa>pale words"
    page.evaluate("html => document.querySelector('article h1').insertAdjacentHTML('afterend', html)", planted)
    assert {line.split(":")[0] for line in _violations(page)} == {"image-alt", "color-contrast"}


def test_no_page_is_wider_than_a_phone_and_what_is_scrolls_in_itself(page, html_dir):
    page.set_viewport_size(PHONE)
    wide = []
    for path in _pages(html_dir):
        page.goto(path.as_uri())
        width = page.evaluate("document.documentElement.scrollWidth")
        wide += [f"{path.name}: {width} px"] if width > PHONE["width"] else []
    assert wide == []


def _light_colours(page: Page) -> list[str]:
    """Colours of words whose red, green and blue add up to more than 300; a grey of 300 has 6 to 1 on white, AA 4.5."""
    words = page.locator("article :is(p, li, th, td, pre, pre span, figcaption, math)")
    colours = words.evaluate_all("all => [...new Set(all.map(each => getComputedStyle(each).color))]")
    return [colour for colour in colours if sum(map(int, re.findall(r"\d+", colour)[:3])) > 300]


def test_printed_pages_have_dark_words_whatever_the_theme_of_the_screen(page, html_dir):
    page.emulate_media(color_scheme="dark", media="print")
    for path in _pages(html_dir):
        page.goto(path.as_uri())
        assert _light_colours(page) == [], path.name
    page.goto((html_dir / "index.html").as_uri())
    planted = "<p style='color:#aaa !important'>pale words"
    page.evaluate("html => document.querySelector('article h1').insertAdjacentHTML('afterend', html)", planted)
    assert _light_colours(page) == ["rgb(170, 170, 170)"]
