"""The address to serve at: which port is free, what is typed to get there."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from digitcnn.errors import ConfigError
from digitcnn.ui.address import Address, choose_address, lan_host


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_port_in_use_is_skipped_unless_requested(taken: int) -> None:
    chosen = choose_address(None, None, {"GRADIO_SERVER_PORT": str(taken)})
    assert chosen.host == "127.0.0.1"
    assert taken < chosen.port < taken + 100
    with pytest.raises(ConfigError, match=f"port {taken}"):
        choose_address(None, taken, {})


def test_one_port_to_try_may_be_taken(taken: int) -> None:
    variables = {"GRADIO_SERVER_PORT": str(taken), "GRADIO_NUM_PORTS": "1"}
    with pytest.raises(ConfigError, match=f"ports {taken} to {taken} "):
        choose_address(None, None, variables)


def test_the_option_comes_before_gradios_variable() -> None:
    variables = {"GRADIO_SERVER_NAME": "0.0.0.0"}
    assert choose_address(None, None, variables).host == "0.0.0.0"
    assert choose_address("127.0.0.1", None, variables).host == "127.0.0.1"


@pytest.mark.parametrize("port", ["abc", "0", "65536", "-1", "7860.5"])
def test_an_invalid_port_variable_gives_one_sentence(port: str) -> None:
    with pytest.raises(ConfigError, match="GRADIO_SERVER_PORT"):
        choose_address(None, None, {"GRADIO_SERVER_PORT": port})


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid", "a" * 70, "[::1"])
def test_an_unusable_host_gives_one_sentence(host: str) -> None:
    with pytest.raises(ConfigError, match="Cannot listen on"):
        choose_address(host.replace("[::1", "::1::"), 7860, {})


def test_ipv6_is_in_brackets_where_a_url_has_it() -> None:
    assert Address("::1", 80).url == "http://[::1]:80/"
    assert Address("::1", 80).url_host == "[::1]"
    assert choose_address("[::1]", None, {}).host == "::1"


def test_an_address_for_the_network_is_the_one_to_type_there() -> None:
    everywhere = Address("0.0.0.0", 80)
    assert everywhere.url == f"http://{lan_host() or '127.0.0.1'}:80/"
    assert everywhere.loopback_host == "127.0.0.1"
    assert Address("::", 80).loopback_host == "::1"
    assert Address("192.0.2.5", 80).url == "http://192.0.2.5:80/"
