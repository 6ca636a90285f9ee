"""Owner or visitor: the rule as a table, and a stranger who posts straight to a running page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from guarded_page import GuardedPage
from starlette.requests import Request

from digitcnn.errors import NotOwnerError
from digitcnn.ui.access import Access

LOCAL = Access.from_settings(public=False, token="the-secret", open_to_all=False)
PUBLIC = Access.from_settings(public=True, token="the-secret", open_to_all=False)
OPEN = Access.from_settings(public=True, token="the-secret", open_to_all=True)


def request_with(*headers: tuple[str, str]) -> gr.Request:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    return gr.Request(Request({"type": "http", "headers": raw}))


HOST = ("Host", "127.0.0.1:7860")


# --- This machine -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:7860",
        "127.8.9.10:80",
        "localhost",
        "LocalHost:7861",
        "[::1]",
        "[::1]:7860",
    ],
)
def test_local_requests_need_no_token(host: str) -> None:
    assert LOCAL.is_owner(request_with(("Host", host)), None)
    assert LOCAL.is_owner(request_with(("Host", host), ("Origin", f"http://{host}")), "")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",  # its name was made to point here: DNS rebinding
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil-localhost",
        "localhost:7860@evil.example",
        "evil.example@localhost",
        "localhost ",
        "localhost:",
        "localhost:7860:7860",
        "192.168.0.7:7860",
        "0.0.0.0:7860",
        "128.0.0.1",
        "127.0.0.256",
        "127.1",
        "2130706433",
        "[::]",
        "[::ffff:127.0.0.1]",
        "::1",
        "abcdef.gradio.live",
        "",
    ],
)
def test_other_hosts_are_visitors(host: str) -> None:
    assert not LOCAL.is_owner(request_with(("Host", host)), None)
    # The same as an Origin: a page from there, open in a browser on this machine.
    assert not LOCAL.is_owner(request_with(HOST, ("Origin", f"https://{host}")), None)


@pytest.mark.parametrize(
    "origin",
    ["null", "", "127.0.0.1:7860", "file://", "ftp://127.0.0.1:7860", "http://127.0.0.1:8000"],
)
def test_other_origins_are_visitors(origin: str) -> None:
    assert not LOCAL.is_owner(request_with(HOST, ("Origin", origin)), None)


@pytest.mark.parametrize(
    "name",
    [
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Anything",
        "X-Forwarded",
        "X-Real-IP",
        "Via",
        "CF-Connecting-IP",
        "True-Client-IP",
        "X-Original-Host",
    ],
)
@pytest.mark.parametrize("value", ["127.0.0.1", ""])
def test_forwarded_requests_are_visitors(name: str, value: str) -> None:
    assert not LOCAL.is_owner(request_with(HOST, (name, value)), None)


def test_a_request_without_exactly_one_host_is_a_visitors() -> None:
    assert not LOCAL.is_owner(request_with(), None)
    assert not LOCAL.is_owner(request_with(HOST, ("Host", "evil.example")), None)
    both = [("Origin", "http://127.0.0.1:7860"), ("Origin", "https://evil.example")]
    assert not LOCAL.is_owner(request_with(HOST, *both), None)


@pytest.mark.parametrize(
    "header",
    [
        ("X-Digitcnn-Embedded", "1"),
        ("Referer", "http://127.0.0.1:7860/?tab=train&embed=1"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ],
)
@pytest.mark.parametrize("access", [LOCAL, PUBLIC, OPEN])
def test_a_page_inside_another_sites_is_a_visitors(access: Access, header: tuple[str, str]) -> None:
    assert not access.is_owner(request_with(HOST, header), "the-secret")
    plain = [("Referer", "http://127.0.0.1:7860/?tab=train"), ("Sec-Fetch-Site", "same-origin")]
    assert access.is_owner(request_with(HOST, *plain), "the-secret")


def test_headers_given_as_plain_values_are_read_as_well() -> None:
    assert LOCAL.is_owner(gr.Request(headers={"host": "localhost:7860"}), None)
    assert not LOCAL.is_owner(gr.Request(headers={"host": "localhost", "x-real-ip": "1"}), None)


# --- The token ----------------------------------------------------------------------------------


@pytest.mark.parametrize("access", [LOCAL, PUBLIC])
def test_the_token_makes_the_owner_from_anywhere(access: Access) -> None:
    far = request_with(("Host", "abc.gradio.live"), ("X-Forwarded-For", "203.0.113.9"))
    assert access.is_owner(far, "the-secret")
    access.require_owner(far, "the-secret")


@pytest.mark.parametrize(
    "token", [None, "", "the-secre", "the-secret ", "THE-SECRET", "thé-secret", "\ud800", 7, ["a"]]
)
def test_any_other_token_is_a_visitors(token: Any) -> None:
    assert not PUBLIC.is_owner(request_with(HOST), token)


def test_a_public_app_requires_the_token_from_this_machine_too() -> None:
    assert not PUBLIC.is_owner(request_with(HOST, ("Origin", "http://127.0.0.1:7860")), None)
    assert PUBLIC.is_owner(request_with(HOST), "the-secret")


def test_an_open_app_makes_everybody_an_owner() -> None:
    assert OPEN.is_owner(request_with(("Host", "abc.gradio.live")), None)


@pytest.mark.parametrize("access", [LOCAL, PUBLIC, OPEN])
def test_a_call_without_a_request_is_never_the_owners(access: Access) -> None:
    assert not access.is_owner(None, "the-secret")


@pytest.mark.parametrize("given", [None, ""])
def test_each_start_makes_its_own_token_unless_one_is_given(given: str | None) -> None:
    first, second = (
        Access.from_settings(public=True, token=given, open_to_all=False) for _ in range(2)
    )
    assert len(first.token) >= 43  # 256 bits
    assert first.token != second.token
    assert not first.is_owner(request_with(HOST), "")
    assert not first.is_owner(request_with(HOST), second.token)


def test_a_token_beyond_ascii_works_in_comparison_and_link() -> None:
    access = Access.from_settings(public=True, token="clé 100%#", open_to_all=False)
    assert access.is_owner(request_with(HOST), "clé 100%#")
    assert not access.is_owner(request_with(HOST), "cle 100%#")
    link = access.owner_link("https://abc.gradio.live/")
    assert link == "https://abc.gradio.live/#owner=cl%C3%A9%20100%25%23"


def test_the_token_is_never_printed() -> None:
    assert "the-secret" not in f"{LOCAL!r} {LOCAL}"


def test_the_error_names_problem_and_remedy() -> None:
    with pytest.raises(NotOwnerError, match="can start or stop training; open the owner link"):
        PUBLIC.require_owner(request_with(HOST), "wrong")
    with pytest.raises(NotOwnerError, match="can download a digit set; open the owner link"):
        PUBLIC.require_owner(None, None, to="download a digit set")


# --- A running page -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def local_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedPage]:
    """A page that was started for this machine alone."""
    running = GuardedPage("the-secret", tmp_path_factory.mktemp("guarded"), public=False)
    yield running
    running.end()


STRANGERS = [
    {"Host": "evil.example"},
    {"Host": "abc.gradio.live", "X-Forwarded-For": "203.0.113.9"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"Origin": "https://evil.example"},
    {"CF-Connecting-IP": "203.0.113.9"},
]


@pytest.mark.parametrize(
    ("headers", "token"),
    [(STRANGERS[0], None), *((each, "a guess") for each in STRANGERS)],
    ids=str,
)
def test_a_strangers_post_changes_nothing(
    local_page: GuardedPage, headers: dict[str, str], token: str | None
) -> None:
    before = local_page.changes()
    assert "Only the owner can" in local_page.post_directly(headers, token)
    assert "Only the owner can" in local_page.post_to_the_queue(headers, token)
    assert local_page.changes() == before


@pytest.mark.parametrize(("headers", "token"), [({}, None), (STRANGERS[1], "the-secret")])
def test_local_and_token_owners_pass(
    local_page: GuardedPage, headers: dict[str, str], token: str | None
) -> None:
    before = local_page.changes()
    assert "changed" in local_page.post_directly(headers, token)
    assert "changed" in local_page.post_to_the_queue(headers, token)
    assert local_page.changes() == before + 2


def test_page_and_configuration_do_not_contain_the_token(local_page: GuardedPage) -> None:
    for path in ("/", "/config", "/gradio_api/info"):
        answer = local_page.ask("GET", path, {})
        assert len(answer) > 100
        assert "the-secret" not in answer
