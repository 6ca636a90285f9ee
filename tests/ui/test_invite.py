"""The Invite dialog: an address that others can open, its QR code, and until when it works."""

from __future__ import annotations

from datetime import datetime

import pytest

from digitcnn.ui.address import Address
from digitcnn.ui.invite import Invite
from digitcnn.ui.share_link import ShareLink

LOCAL = Address("127.0.0.1", 7860)
LAN = Address("192.168.0.7", 7860)


def shared(url: str = "", line: str = "") -> ShareLink:
    link = ShareLink(LOCAL, log=lambda _: None, now=lambda: datetime(2026, 11, 29, 18, 30))
    link.url, link.line = url, line
    return link


def test_a_public_link_has_a_qr_code_and_an_end() -> None:
    html = Invite(LOCAL, shared("https://abc.gradio.live")).html("http://127.0.0.1:7860/")
    assert 'href="https://abc.gradio.live"' in html
    assert "<svg" in html
    assert "Works until 29 November 2026, 18:30." in html


def test_an_address_of_the_network_is_the_one_to_invite_to() -> None:
    html = Invite(LAN, with_login=True).html("http://localhost:7860/")
    assert 'href="http://192.168.0.7:7860/"' in html
    assert "<svg" in html
    assert "Visitors log in" in html


def test_behind_a_proxy_the_address_of_the_owners_page_is_taken() -> None:
    assert 'href="https://lab.example/digits/"' in Invite(LOCAL).html("https://lab.example/digits/")


@pytest.mark.parametrize(
    "page",
    ["http://localhost:7860/", "javascript:alert(1)", "https://x/#owner=secret", 7, "https://a b"],
)
def test_a_page_for_this_machine_alone_explains_how_to_invite(page: object) -> None:
    html = Invite(LOCAL).html(page)
    assert "Only this computer can open the page" in html
    assert "<svg" not in html
    assert "secret" not in html


def test_a_link_that_failed_is_reported() -> None:
    html = Invite(LOCAL, shared(line="Could not create a public link (timeout).")).html("")
    assert "Could not create a public link (timeout)." in html


def test_an_open_page_states_that_everyone_is_an_owner() -> None:
    assert "Everyone with the address is an owner" in Invite(LAN, open_to_all=True).html("")
