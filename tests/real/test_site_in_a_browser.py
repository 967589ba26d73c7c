"""The documentation's site in a real browser, opened from its folder without a server: a phone's width, search, charts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from posemoe_edge.tests.real.chromium import Chromium, program

pytestmark = [
    pytest.mark.skipif(program() is None, reason="no Chromium is installed: apt install chromium"),
    pytest.mark.skipif(os.name != "posix", reason="the browser is driven through inherited pipes"),
]

SCRIPTS = Path(__file__).parents[2] / ".venv" / ".site"
PHONE_PX = (390, 844)
SHOWN_WITHIN_S = 30.0

# A phone zooms out of a page that is too wide: then innerWidth is more than the screen's.
WIDER = """innerWidth <= 390 ? [] : [...document.querySelectorAll(".md-content *")]
  .filter(each => each.getBoundingClientRect().right > 391
    && !each.closest("pre, .md-typeset__scrollwrap, .highlight, .mermaid, .headerlink"))
  .map(each => each.outerHTML.slice(0, 80))"""
REQUESTED = 'performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("file:"))'


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    with Chromium("about:blank", tmp_path / "profile") as opened:
        yield opened


def shown(browser: Chromium, expression: str) -> object:
    """The value of an expression as soon as it is true."""
    deadline_s = time.monotonic() + SHOWN_WITHIN_S
    while not (value := browser.evaluate(expression)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return value


def test_no_page_is_wider_than_a_phone_or_asks_another_host(site: Path, browser: Chromium) -> None:
    browser.resize(*PHONE_PX)
    too_wide, requested, pages = {}, {}, 0
    for file in sorted(site.rglob("*.html")):
        browser.open(file.as_uri())
        pages += 1
        name = file.relative_to(site).as_posix()
        if browser.evaluate("innerWidth") != PHONE_PX[0]:
            too_wide[name] = browser.evaluate(WIDER)
        if found := browser.evaluate(REQUESTED):
            requested[name] = found
    assert too_wide == {}
    assert requested == {}
    assert pages > 30


@pytest.mark.skipif(not (SCRIPTS / "iframe-worker.js").is_file(), reason="make site has not fetched the script")
def test_search_finds_a_verb_without_a_server(site: Path, browser: Chromium) -> None:
    browser.open((site / "index.html").as_uri())
    browser.evaluate(
        """(() => { const query = document.querySelector("[data-md-component=search-query]");
        query.focus(); query.value = "calibrate"; query.dispatchEvent(new KeyboardEvent("keyup", { key: "e" })); })()"""
    )
    links = 'document.querySelectorAll(".md-search-result__link")'
    assert shown(browser, f"[...{links}].some(link => link.href.includes('reference/commands.html'))")


@pytest.mark.skipif(not (SCRIPTS / "mermaid.min.js").is_file(), reason="make site has not fetched the script")
def test_charts_are_drawn(site: Path, browser: Chromium) -> None:
    browser.open((site / "project" / "architecture.html").as_uri())
    drawn = '[...document.querySelectorAll("div.mermaid")].filter(chart => chart.getBoundingClientRect().height > 50).length'
    assert shown(browser, f"{drawn} === 3")
    assert browser.evaluate(REQUESTED) == []
