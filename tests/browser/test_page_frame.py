"""The page's frame: verdict in sight, visitors, links, embedding, keyboard, and the class wall."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from drawing import ONE, draw
from playwright.sync_api import expect
from running_app import App

from digitcnn.network.checkpoint import Details, save
from digitcnn.network.model import DigitCNN
from digitcnn.ui.address import Address
from digitcnn.ui.invite import Invite

pytestmark = pytest.mark.browser

LAN = Address("192.168.0.7", 7860)

OWNERS = (
    "#train-start", "#train-stop", "#train-quick", "#learn-start", "#feedback-wall",
    "#owner-badge", "#experiment-run", "#experiment-stop", "#experiment-delete",
    "button:text-is('Invite')",
)  # fmt: skip

TOPS = "parts => parts.map((part) => part.getBoundingClientRect().top)"

# Until the first prediction, which follows the pad by a moment.
NOTE_WHAT_COVERS_THE_PAD = """
window.covers = [];
const noting = new MutationObserver(() => {
    const canvas = document.querySelector("#pad canvas");
    if (!canvas) return;
    if (document.querySelector("#pad-answer").dataset.digit) noting.disconnect();
    const { x, y, width, height } = canvas.getBoundingClientRect();
    const hit = document.elementFromPoint(x + width / 2, y + height / 2);
    if (width > 0) window.covers.push(hit === canvas ? "" : hit.className);
});
noting.observe(document, { childList: true, subtree: true, attributes: true });
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[App]:
    """An app that others can reach: without the token, everybody is a visitor."""
    running = App(tmp_path_factory.mktemp("shared"), data_dir, "--host", "127.0.0.1")
    yield running
    running.end()


def owner_link(app: App) -> str:
    deadline = time.monotonic() + 30
    while (match := re.search(r"Owner link: (\S+)", app.output())) is None:
        assert time.monotonic() < deadline, app.output()
        time.sleep(0.05)
    return match[1]


@pytest.fixture(scope="module")
def page(browser: Any, shared: App) -> Iterator[Any]:
    """A visitor's page with an example's prediction, in windows of several sizes."""
    page = browser.new_page()
    page.add_init_script(NOTE_WHAT_COVERS_THE_PAD)
    page.goto(shared.url)
    page.locator('#pad-answer[data-digit="7"]').wait_for()
    yield page
    page.close()


@pytest.fixture(scope="module")
def owner(browser: Any, shared: App) -> Iterator[Any]:
    """The owner's page, opened by an owner link with settings."""
    page = browser.new_page()
    token = owner_link(shared).partition("#")[2]
    page.goto(f"{shared.url}/?tab=train&epochs=8&network=mlp&seed=nonsense#{token}")
    expect(page.locator("[data-tab-id][aria-selected=true]")).to_have_text("Train")
    yield page
    page.close()


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)])
def test_prediction_and_feedback_are_visible_without_scrolling(
    page: Any, width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    nine = '#feedback-digit [data-digit="9"]'
    for part in ("#pad", "#pad-answer", "#feedback-right", "#feedback-wrong", nine):
        box = page.locator(part).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height, part
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # An example gets no feedback.
    expect(page.locator("#feedback-right")).to_be_disabled()


def test_nothing_covers_the_pad_while_the_page_is_loaded(page: Any) -> None:
    assert set(page.evaluate("window.covers")) == {""}


def test_at_double_zoom_pad_and_feedback_are_seen_together(page: Any) -> None:
    page.set_viewport_size({"width": 683, "height": 384})
    page.locator(".drawing").evaluate("drawing => drawing.scrollIntoView()")
    for part in ("#pad-clear", "#pad", *(f'#feedback-digit [data-digit="{n}"]' for n in (0, 9))):
        expect(page.locator(part)).to_be_in_viewport(ratio=0.99)
    tops = page.locator(".panel-tab").evaluate_all(TOPS)
    assert len(set(tops)) == 1
    page.evaluate("scrollTo(0, 0)")


def test_arrow_keys_move_between_tabs(page: Any) -> None:
    def tab(name: str) -> Any:
        return page.get_by_role("tab", name=name, exact=True)

    tab("Sketchpad").focus()
    for key, name in (
        ("ArrowLeft", "Stability"),
        ("Home", "Sketchpad"),
        ("End", "Stability"),
        ("ArrowLeft", "Compare"),
        ("ArrowRight", "Stability"),
        ("ArrowRight", "Sketchpad"),
    ):
        page.keyboard.press(key)
        expect(tab(name)).to_be_focused()
        expect(tab(name)).to_have_attribute("aria-selected", "true")
    # The Tab key goes past the others, and a list of its own has keys of its own.
    assert (
        page.locator(".lab-tabs [data-tab-id]").evaluate_all(
            "tabs => tabs.filter((tab) => tab.tabIndex === 0 && tab.ariaSelected !== 'true').length"
        )
        == 0
    )
    tab("Why").focus()
    page.keyboard.press("ArrowRight")
    expect(tab("Nearest")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Home")
    expect(page.locator("#panel-why")).to_be_visible()


def test_a_link_opens_a_tab_with_its_settings(owner: Any) -> None:
    expect(owner.locator("#train-epochs input[type=number]").first).to_have_value("8")
    expect(owner.locator("#train-network input")).to_have_value("mlp: one hidden layer")
    expect(owner.locator("#train-status .status-line")).to_have_text(
        re.compile(r"^idle Ready to train on CPU, \d+ threads?\. The next run appears here\.$")
    )


def test_in_a_narrow_window_stop_stands_beside_the_start_buttons(owner: Any) -> None:
    for width, height in ((390, 844), (683, 384), (1024, 768)):
        owner.set_viewport_size({"width": width, "height": height})
        tops = owner.locator(".train-buttons > button").evaluate_all(TOPS)
        assert len(tops) == 4
        assert len(set(tops)) == 1
        # Nor do the buttons, which stay in sight, cover what the focus moves back to.
        field = owner.locator("#train-epochs input[type=number]")
        field.evaluate("field => scrollBy(0, field.getBoundingClientRect().top - 9)")
        field.evaluate("field => (field.blur(), field.focus())")
        buttons = owner.locator(".train-buttons").bounding_box()
        assert field.bounding_box()["y"] >= buttons["y"] + buttons["height"]
    owner.set_viewport_size({"width": 1280, "height": 720})


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 720)])
def test_a_toast_does_not_cover_the_header(owner: Any, width: int, height: int) -> None:
    owner.set_viewport_size({"width": width, "height": height})
    owner.evaluate("dispatchEvent(new CustomEvent('digitcnn-swap', { detail: 'new' }))")
    toast = owner.locator(".swap-toast").last
    header = owner.locator(".page-header").bounding_box()
    assert toast.bounding_box()["y"] >= header["y"] + header["height"]


def test_a_visitor_sees_no_control_that_would_refuse_them(page: Any, owner: Any) -> None:
    expect(page.locator("[data-tab-id][aria-selected=true]")).to_have_text("Sketchpad")
    page.get_by_role("tab", name="Train", exact=True).click()
    expect(
        page.get_by_text("Open the owner link in this tab as well; the terminal")
    ).to_be_visible()
    for control in OWNERS:
        expect(page.locator(control).first).to_be_hidden()
    page.get_by_role("tab", name="Sketchpad", exact=True).click()
    owner.get_by_role("tab", name="Train", exact=True).click()
    expect(owner.locator("#train-start")).to_be_visible()
    expect(owner.get_by_text("You are watching.")).to_be_hidden()
    owner.get_by_role("button", name="Invite").dblclick()  # the second press changes nothing
    dialog = owner.get_by_role("dialog")
    expect(dialog).to_contain_text("Visitors may")
    body = dialog.locator(".dialog-body")
    body.evaluate("(body, html) => { body.innerHTML = html }", Invite(LAN).html(""))
    assert body.locator(".qr").bounding_box()["width"] >= 240
    owner.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    body.get_by_role("button", name="Copy address").click()  # as on a page without https
    expect(body.get_by_role("button")).to_have_text("Copied")
    assert owner.evaluate("getSelection().toString()") == LAN.url
    owner.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(owner.get_by_role("button", name="Invite")).to_be_focused()


@pytest.mark.long
def test_a_reload_keeps_the_chosen_model_until_it_is_gone(page: Any, shared: App) -> None:
    file = shared.folder / "checkpoints" / "another.pt"
    untrained = DigitCNN(generator=torch.Generator().manual_seed(0)).eval()
    save(file, untrained, Details(digits="small", seed=0))
    page.set_viewport_size({"width": 390, "height": 844})
    name, warning = page.locator("#model-select input"), page.locator("#model-check")
    top = "element => element.getBoundingClientRect().top"
    tabs_at = page.locator(".lab-tabs").evaluate(top)
    chip = page.locator("#model-select .secondary-wrap")
    assert chip.evaluate(
        """chip => {
            const [name, rest] = ["::before", "::after"].map((at) => getComputedStyle(chip, at));
            const room = chip.clientWidth - parseFloat(getComputedStyle(chip).paddingRight);
            const used = parseFloat(name.width) + parseFloat(rest.width);
            return /\\d%/.test(rest.content) && used < room;
        }"""
    ), "the name or the accuracy is cut"
    assert chip.evaluate(
        """chip => {
            document.documentElement.style.setProperty("--model-name", `"${"a-name_".repeat(20)}"`);
            return chip.offsetWidth <= chip.parentElement.clientWidth;
        }"""
    ), "a long name runs out of the chip"
    name.click()
    page.get_by_role("option", name=re.compile("^another")).click()
    name_in_chip = "document.documentElement.style.getPropertyValue('--model-name')"
    page.wait_for_function(f"""{name_in_chip} === '"another"'""")
    expect(warning).to_contain_text("another misreads")
    assert page.locator(".lab-tabs").evaluate(top) == tabs_at, "the tabs moved"
    assert warning.evaluate(top) < tabs_at, "it does not stand above the tabs"
    page.reload()
    expect(name).to_have_value(re.compile("^another"))
    expect(warning).to_contain_text("another misreads")
    assert page.locator(".swap-toast").count() == 0
    address = page.url
    page.goto("about:blank")  # else the page may notice before it is loaded again
    file.unlink()
    page.goto(address)
    expect(page.locator(".swap-toast")).to_contain_text("The model in use is now digitcnn-")
    expect(name).to_have_value(re.compile("^digitcnn-"))
    expect(warning).not_to_contain_text("misreads")


def test_the_model_list_closes_when_tab_leaves_it(page: Any) -> None:
    options = page.get_by_role("listbox")
    for keys in (["Tab"], ["Escape", "Tab"], ["Escape", "Shift+Tab"]):
        page.locator("#model-select input").focus()
        options.wait_for()
        for key in keys:
            page.keyboard.press(key)
        expect(page.locator("#model-select input")).not_to_be_focused()
        expect(options).to_have_count(0)


def test_the_details_give_the_focus_back_to_the_menu_on_a_phone(page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("#model-menu-button").click()
    page.get_by_role("button", name="Details", exact=True).click()
    expect(page.locator("#model-details")).to_contain_text("Digest")
    assert page.locator("#model-details dd").first.bounding_box()["width"] > 100
    dialog = page.locator("#model-details").bounding_box()
    assert dialog["y"] + dialog["height"] <= 844 - 16
    page.keyboard.press("Escape")
    expect(page.locator("#model-details")).to_be_hidden()
    expect(page.locator("#model-menu-button")).to_be_focused()
    page.set_viewport_size({"width": 1280, "height": 720})
    expect(page.locator("#model-menu")).not_to_have_attribute("popover", "auto")
    header, menu = (page.locator(each).bounding_box() for each in (".page-header", "#model-menu"))
    assert menu["y"] + menu["height"] <= header["y"] + header["height"]


def test_the_arrow_keys_draw(page: Any) -> None:
    page.set_viewport_size({"width": 1280, "height": 720})
    canvas = page.locator("#pad canvas")
    canvas.focus()
    for _ in range(8):
        canvas.press("ArrowUp")
    canvas.press(" ")
    expect(page.locator(".pen-state")).to_have_text("Pen down")
    for _ in range(16):
        canvas.press("ArrowDown")
    canvas.press(" ")
    expect(page.locator(".pen-state")).to_have_text("Pen up")
    page.locator('#pad-answer[data-digit="1"]').wait_for()
    canvas.press("1")
    expect(page.locator(".recorded")).to_contain_text("Saved: 1.")


def rate_a_one(page: Any) -> None:
    page.locator("#pad-clear").click()
    draw(page, ONE)
    page.locator('#pad-answer[data-digit="1"]').wait_for()
    page.locator("#feedback-right").click()


def test_the_owners_wall_follows_a_visitor(page: Any, owner: Any) -> None:
    rate_a_one(page)
    owner.get_by_role("tab", name="Train", exact=True).click()
    owner.get_by_role("button", name=re.compile(r"^Class wall \(\d+\)$")).click()
    expect(owner.locator("#feedback-wall > summary")).to_be_in_viewport()
    expect(owner.locator(".wall-count")).to_contain_text("with feedback")
    before = owner.locator(".wall li").count()
    rate_a_one(page)
    expect(owner.locator(".wall li")).to_have_count(before + 1)
    expect(owner.locator(".wall li").first).to_contain_text("1 right")
    expect(owner.locator("#feedback-score")).to_contain_text(f"{before + 1} of {before + 1} right")
    owner.once("dialog", lambda dialog: dialog.accept())
    owner.locator("#feedback-erase-all").click()
    expect(owner.locator(".wall li")).to_have_count(0)
    expect(owner.locator("#feedback-wall > summary")).to_be_focused()
    expect(owner.locator("#wall-open")).to_be_hidden()
    expect(page.locator("#feedback-score")).to_have_text(
        "You–no feedback yetEveryone–no feedback yet"
    )


# --- Embedding ----------------------------------------------------------------------------------


@pytest.fixture
def outer_site() -> Iterator[tuple[str, list[str]]]:
    """Another origin, whose page holds what the list names in a frame."""
    frames: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(
                f'<iframe src="{frames[0]}" width="1000" height="700"></iframe>'.encode()
            )

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/", frames
    server.shutdown()
    server.server_close()


def test_inside_another_sites_page_nobody_is_the_owner(
    browser: Any, app: App, outer_site: tuple[str, list[str]]
) -> None:
    outer, frames = outer_site
    frames.append(f"{app.url}/")  # on this machine, where no token is needed otherwise
    page = browser.new_page()
    page.goto(outer)
    inner = page.frame_locator("iframe")
    inner.locator("#pad canvas").wait_for()
    inner.get_by_role("tab", name="Train", exact=True).click()
    expect(inner.locator("html")).to_have_attribute("data-owner", "false")
    for control in ("#train-start", "#owner-badge", "#model-menu", "#runs-table", "footer"):
        expect(inner.locator(control).first).to_be_hidden()
    # A press that the page does not offer.
    inner.locator("#train-start").dispatch_event("click")
    expect(inner.get_by_text("Only the owner can start or stop training")).to_be_visible()
    expect(inner.locator("#train-status")).to_contain_text("idle")
    page.close()
