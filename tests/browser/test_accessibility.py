"""axe finds nothing serious on any tab, on light and on dark pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from drawing import ONE, draw
from playwright.sync_api import expect
from running_app import App

from digitcnn.web.terms import TERMS

pytestmark = pytest.mark.browser

# Evaluate, whose results have the most elements, is the last: axe looks at hidden ones as well.
TABS = [
    "Sketchpad",
    *(pytest.param(tab, marks=pytest.mark.long) for tab in ("Train", "Compare", "Stability")),
    pytest.param("Evaluate", marks=pytest.mark.long),
]
# Elements without a problem are not listed: that takes time.
VIOLATIONS = {"resultTypes": ["violations"]}
# The themes differ in their colours alone.
OPTIONS = {
    "light": {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], **VIOLATIONS},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast"]}, **VIOLATIONS},
}


def press(page: Any, tab: str) -> None:
    """Its button, so that there is a result to look at; then it can be pressed again."""
    if tab == "Evaluate":
        for box in page.locator("#evaluate-digits label").all():
            box.locator("input").set_checked(box.inner_text().startswith("small "))
    page.locator(f"#{tab.lower()}-run").click()
    page.locator(f"#{tab.lower()}-table table").wait_for()
    expect(page.locator(f"#{tab.lower()}-run")).to_be_enabled()


@pytest.fixture(scope="module")
def page(browser: Any, app: App) -> Iterator[Any]:
    """A page without motion: a fading button has too little contrast on its way."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    opened.goto(f"{app.url}/?__theme=light")
    opened.locator("#learn-status .status-line").first.wait_for()
    opened.evaluate(Axe().axe_script)
    yield opened
    opened.close()


def views(page: Any, tab: str) -> Iterator[tuple[str, str]]:
    """Show one part of a tab after another; yield its name and a selector of what is new."""
    page.get_by_role("tab", name=tab, exact=True).click()
    page.get_by_role("tab", name=tab, exact=True, selected=True).wait_for()
    if tab == "Sketchpad":
        draw(page, ONE)  # for a prediction and panels
        page.locator("#pad-answer[data-digit='1']").wait_for()
        for fold in ("#feedback-entries", "#feedback-numbers"):
            page.locator(f"{fold} > summary").click()
    elif tab in ("Evaluate", "Stability"):
        press(page, tab)
    yield tab, "body"
    if tab == "Sketchpad":
        for panel in page.locator(".panel-tab").all()[1:]:
            panel.click()
            yield panel.inner_text(), "#panels"
        for name in ("Invite", "Details"):
            page.get_by_role("button", name=name, exact=True).click()
            page.locator("dialog[open] p, dialog[open] dl").first.wait_for()
            yield name, "dialog[open]"
            page.keyboard.press("Escape")
    elif tab == "Train":
        page.get_by_role("button", name="More settings").click()
        page.locator("#train-seed").wait_for()
        yield "More settings", "#train-seed, #train-network, #train-device"
    elif tab == "Evaluate":
        for part in ("Errors", "Figures", "Gap and robustness"):
            page.get_by_role("tab", name=part, exact=True).click()
            yield part, "#evaluate-results"


@pytest.mark.parametrize("tab", TABS)
def test_axe_finds_nothing_serious(page: Any, tab: str) -> None:
    found = []
    for name, part in views(page, tab):
        for theme, options in OPTIONS.items():
            # What ``?__theme=dark`` does, without loading the page again.
            page.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")
            problems = page.evaluate(
                "async (given) => (await axe.run(...given)).violations", [part, options]
            )
            found += [
                f"{name}, {theme}: {problem['help']}: {node['html'][:120]}"
                for problem in problems
                if problem["impact"] in ("serious", "critical")
                for node in problem["nodes"]
            ]
    assert found == []


def test_nothing_moves_for_people_who_asked_for_no_motion(page: Any) -> None:
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter((element) => {
          const style = getComputedStyle(element);
          const seconds = (style.transitionDuration + "," + style.animationDuration).split(",");
          return seconds.some((each) => parseFloat(each) > 0.01);
        }).map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert moving == []


def test_a_term_explains_itself_to_mouse_keyboard_and_finger(page: Any) -> None:
    page.get_by_role("tab", name="Sketchpad", exact=True).click()
    term = page.locator(".adapt .term")
    tooltip = page.locator(".tooltip")
    term.hover()
    expect(tooltip).to_have_text(TERMS["held-out"])
    page.keyboard.press("Escape")
    expect(tooltip).to_be_hidden()
    term.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    expect(tooltip).to_be_visible()
    page.mouse.move(2, 2)  # also what a scroll under a resting mouse looks like
    page.mouse.move(4, 4)
    expect(tooltip).to_be_visible()
    page.keyboard.press("Tab")
    expect(tooltip).to_be_hidden()
    term.dispatch_event("click")  # as a finger's
    expect(tooltip).to_be_visible()
