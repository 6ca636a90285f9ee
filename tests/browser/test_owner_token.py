"""The owner link in a real browser: the token leaves the address and reaches the handlers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from guarded_page import GuardedPage

from digitcnn.ui.access import Access

pytestmark = pytest.mark.browser

TOKEN = 'tök en/#?&%+"'
OWNER = Access.from_settings(public=True, token=TOKEN, open_to_all=False).owner_link("")


class Tab:
    """A tab with storage of its own. Its page says whose it is when it opens and when asked."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._last = ""
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, ending: str = "") -> None:
        self.page.goto(self.url + ending)

    def ask(self) -> None:
        self.page.locator("#ask").click()

    def answer(self) -> str:
        """Return the next answer, without its number, by which none is read twice."""
        self.page.wait_for_function(
            "last => !['', last].includes(document.querySelector('#answer textarea')?.value ?? '')",
            arg=self._last,
        )
        self._last = self.page.locator("#answer textarea").input_value()
        return self._last.partition(" ")[2]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedPage]:
    running = GuardedPage(TOKEN, tmp_path_factory.mktemp("guarded"), public=True)
    yield running
    running.end()


@pytest.fixture
def tab(browser: Any, guarded: GuardedPage) -> Iterator[Tab]:
    context = browser.new_context()
    yield Tab(context.new_page(), guarded.url)
    context.close()


def test_the_token_leaves_the_address_and_reaches_the_handlers(tab: Tab) -> None:
    tab.open(OWNER)
    assert tab.answer() == "owner other input"
    assert tab.page.evaluate("location.href") == tab.url
    tab.ask()
    assert tab.answer() == "owner other input"
    values = tab.page.evaluate(
        "[...document.querySelectorAll('input, textarea')].map(box => box.value)"
    )
    assert not [value for value in [*values, tab.page.content()] if TOKEN in value]
    assert not [url for url in tab.requests if "owner=" in url]
    tab.page.reload()
    assert tab.answer() == "owner other input"
    assert tab.problems == []


def test_pasting_the_owner_link_makes_a_visitors_page_the_owners(tab: Tab) -> None:
    tab.open()
    assert tab.answer() == "visitor other input"
    tab.open(OWNER)
    tab.page.wait_for_function("location.hash === ''")
    tab.ask()
    assert tab.answer() == "owner other input"


@pytest.mark.long
def test_no_storage_holds_the_token_and_none_is_needed(tab: Tab) -> None:
    tab.page.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', {get() { throw new Error('forbidden') }})"
    )
    tab.open(OWNER)
    assert tab.answer() == "owner other input"
    assert TOKEN not in str(tab.page.evaluate("() => ({ ...localStorage })"))
    # As Gradio does when its settings or the API's documentation are opened.
    tab.page.evaluate("history.replaceState(null, '', '?view=api')")
    tab.page.reload()
    assert tab.answer() == "owner other input"
    # Another page of the tab is a visitor's.
    tab.page.goto("about:blank")
    tab.open()
    assert tab.answer() == "visitor other input"


@pytest.mark.parametrize("ending", ["#owner=", "#owner=%E0%A4%A", "#owner=a-guess", "#other"])
def test_a_wrong_token_opens_the_page_as_a_visitor(tab: Tab, ending: str) -> None:
    tab.open(ending)
    assert tab.answer() == "visitor other input"
    assert tab.problems == []
