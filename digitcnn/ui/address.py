"""The address that the page is served at: a free port on IPv4 or IPv6, and the URL to type."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from digitcnn.errors import ConfigError

FIRST_PORT, PORTS_TRIED = 7860, 100

_HOST = re.compile(r"(?P<name>[a-z0-9.]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?", re.ASCII)

# Reserved for documentation: choosing a route to them sends nothing.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


@dataclass(frozen=True)
class Address:
    """Where to listen. host: a name or an IP address, IPv6 without brackets."""

    host: str
    port: int

    @property
    def url_host(self) -> str:
        """The host as a URL has it, IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def is_everywhere(self) -> bool:
        """Whether it listens on every network interface."""
        return self.host in ("0.0.0.0", "::")

    @property
    def loopback_host(self) -> str:
        """The host that a program on this machine connects to."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The URL that others in this network type, else the one for this machine."""
        if not self.is_everywhere:
            return f"http://{self.url_host}:{self.port}/"
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        return Address(lan_host(family) or self.loopback_host, self.port).url


def choose_address(
    host: str | None, port: int | None, environment: Mapping[str, str] = os.environ
) -> Address:
    """Return the address to listen on.

    The options, else Gradio's variables, else the first free port from 7860 on 127.0.0.1. Raises
    ConfigError where nothing can listen.
    """
    host = host or environment.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    host = host.removeprefix("[").removesuffix("]")
    if port is not None and not 1 <= port <= 65535:
        raise ConfigError(f"The port is {port}; choose a --port from 1 to 65535.")
    first = _port_number(environment, "GRADIO_SERVER_PORT", FIRST_PORT)
    tried = _port_number(environment, "GRADIO_NUM_PORTS", PORTS_TRIED)
    ports = range(first, min(first + tried, 65536)) if port is None else (port,)
    for candidate in ports:
        try:
            _try_to_listen(host, candidate)
            return Address(host, candidate)
        except (OSError, UnicodeError) as error:  # UnicodeError: no host name at all
            reason = getattr(error, "strerror", None) or str(error)
    place = f"port {port}" if port is not None else f"ports {ports[0]} to {ports[-1]}"
    raise ConfigError(
        f"Cannot listen on {host}, {place} ({reason}); choose another --port or --host."
    )


def lan_host(family: socket.AddressFamily = socket.AF_INET) -> str | None:
    """Return this machine's address in its network; None without a network. Sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_ELSEWHERE[family], 9))
            host = str(probe.getsockname()[0])
        except OSError:
            return None
    return None if host.startswith("127.") or host == "::1" else host


def is_loopback(host: str) -> bool:
    """Return whether ``name`` or ``name:port`` is loopback: 127.0.0.0/8, [::1], localhost.

    Names are compared as written and never resolved.
    """
    match = _HOST.fullmatch(host.lower())
    if match is None:
        return False
    name = match["name"]
    if name == "localhost" or name == "[::1]":
        return True
    try:
        return ipaddress.IPv4Address(name).is_loopback
    except ValueError:
        return False


def _try_to_listen(host: str, port: int) -> None:
    """Raise OSError where nothing can listen; Gradio would try for minutes."""
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)


def _port_number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ConfigError(f"{name} is {text!r:.40}; set it to a number from 1 to 65535.")
    return int(text)
