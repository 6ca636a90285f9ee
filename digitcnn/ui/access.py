"""Decide whether a request is the owner's, who alone may change things.

Requests from the machine itself are the owner's. As soon as others can reach the app, the owner is
identified by the link that the app prints at startup: it ends in ``#owner=`` and a secret, the
token. Browsers never send the part after ``#``. A script moves it from the address into the page's
storage, and the events of owner-only handlers send it as their first input. Hiding a control on
the page does not protect it: ``require_owner`` does.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, urlsplit

import gradio as gr
from markupsafe import Markup

from digitcnn.errors import NotOwnerError
from digitcnn.ui.address import is_loopback
from digitcnn.web import bundle
from digitcnn.web.templates import render

# Headers that proxies and tunnels add: such a request came from another machine, although the
# connection comes from this one.
_FORWARDING = {
    "client-ip",
    "forwarded",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-real-ip",
}
_FORWARDING_FAMILIES = ("cf-", "fly-", "x-envoy-", "x-forwarded", "x-original-", "x-proxy")

# The page's script adds it to every call of an embedded page.
EMBEDDED_HEADER = "x-digitcnn-embedded"

# For ``launch(head=...)``. Gradio runs it before it builds the page, so before the first event.
HEAD_SCRIPT = str(render("page/script.html", script=Markup(bundle.script("page.js"))))

# The ``js=`` of an event whose first input is the hidden text box: the token takes its place on
# the way to the handler and is never written into the page. The other inputs pass unchanged.
WITH_TOKEN_JS = bundle.handler("withSecret", "digitcnn-owner")


@dataclass(frozen=True)
class Access:
    """The rule that decides whether a request is the owner's; made once, at startup.

    local_is_owner: requests from this machine need no token.
    open_to_all: every request is the owner's.
    """

    token: str = field(repr=False)  # never in a log
    local_is_owner: bool
    open_to_all: bool

    @classmethod
    def from_settings(cls, *, public: bool, token: str | None, open_to_all: bool) -> Access:
        """Return the rule for an app that was started with these settings.

        public: others may reach it, by a share link, another host, a proxy or a Space.
        token: the owner's secret, to survive restarts; None or empty makes a new one.
        open_to_all: for a trusted room.
        """
        return cls(
            token=token or secrets.token_urlsafe(32),
            local_is_owner=not public,
            open_to_all=open_to_all,
        )

    def is_owner(self, request: gr.Request | None, token: str | None) -> bool:
        """Return whether a request is the owner's; a call without a request never is.

        token: what the page sent, which may be of any type.
        """
        if request is None or _is_embedded(request):
            return False
        return (
            self.open_to_all
            or (self.local_is_owner and _comes_from_this_machine(request))
            or self._is_token(token)
        )

    def require_owner(
        self, request: gr.Request | None, token: str | None, *, to: str = "start or stop training"
    ) -> None:
        """Raise NotOwnerError unless the request is the owner's. to: the action, in words."""
        if not self.is_owner(request, token):
            raise NotOwnerError(
                f"Only the owner can {to}; open the owner link printed in the terminal at startup."
            )

    def owner_link(self, base_url: str) -> str:
        """Return the address of the page that makes anyone who opens it the owner."""
        return f"{base_url.partition('#')[0]}#owner={quote(self.token, safe='')}"

    def _is_token(self, token: str | None) -> bool:
        # As bytes: compare_digest takes no text beyond ASCII, and JSON may hold half a surrogate.
        return isinstance(token, str) and secrets.compare_digest(
            token.encode("utf-8", "surrogatepass"), self.token.encode("utf-8", "surrogatepass")
        )


def _is_embedded(request: gr.Request) -> bool:
    """Return whether the call comes from a page embedded in another site; it has no owner.

    The embedding page could cover ours with other content and trick the owner into pressing a
    hidden button (clickjacking), and such a call looks like one from our own page. So our script
    marks every call of an embedded page, and of one opened with ``?embed=1``, which is also in
    the referrer: the embedding page can change neither our script nor the address that the
    browser reports. The browser itself reports calls made by another site's page.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    query = parse_qs(urlsplit(headers.get("referer", "")).query)
    return (
        EMBEDDED_HEADER in headers
        or "1" in query.get("embed", [])
        or headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    )


def _comes_from_this_machine(request: gr.Request) -> bool:
    """Return whether browser and app are on one machine, with nothing between them.

    The connection alone does not show it: tunnels and proxies connect from here as well, which
    their headers reveal. So does another site's page in a browser here; its requests carry its own
    Origin or, if its name was made to point to this machine, its own Host.
    """
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    hosts = [value for name, value in headers if name == "host"]
    origins = [value for name, value in headers if name == "origin"]
    return (
        len(hosts) == 1
        and is_loopback(hosts[0])
        and all(_host_of(origin).lower() == hosts[0].lower() for origin in origins)
        and not any(
            name in _FORWARDING or name.startswith(_FORWARDING_FAMILIES) for name, _ in headers
        )
    )


def _host_of(origin: str) -> str:
    """Return ``http://name:port`` without its scheme; empty for anything else, as ``null``."""
    scheme, separator, host = origin.partition("://")
    return host if separator and scheme.lower() in ("http", "https") else ""
