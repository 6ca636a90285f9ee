"""What the Invite dialog shows the owner: an address for others, and what they may do."""

from __future__ import annotations

import re
from dataclasses import dataclass

import segno
from markupsafe import Markup

from digitcnn.ui.address import Address, is_loopback, lan_host
from digitcnn.ui.share_link import ShareLink
from digitcnn.web.templates import render

# Of the page's own address, as its script sends it.
MAX_ADDRESS = 300
_PAGE_ADDRESS = re.compile(r"https?://([^/?#@\s]+)(/[^?#\s]*)?")

_ON_THIS_NETWORK = "Works on this network for as long as digitcnn runs."


@dataclass(frozen=True)
class Invite:
    """How others reach the app. link: the public link, if there is one."""

    address: Address
    link: ShareLink | None = None
    with_login: bool = False
    open_to_all: bool = False

    def html(self, page_address: object) -> Markup:
        """Render the dialog. page_address: where the owner's browser shows the page, unchecked."""
        url, lasts, notes = self._reachable(page_address)
        if self.with_login:
            notes.append("Visitors log in with a name and password that you give them.")
        return render(
            "page/invitation.html",
            url=url,
            lasts=lasts,
            notes=notes,
            qr=qr_code(url) if url else "",
            open_to_all=self.open_to_all,
        )

    def _reachable(self, page_address: object) -> tuple[str, str, list[str]]:
        """Return an address that others can open, until when, and notes; "" where there is none."""
        if self.link is not None and self.link.url:
            return self.link.url, f"Works until {self.link.expires:%d %B %Y, %H:%M}.", []
        notes = [self.link.line] if self.link is not None and self.link.line else []
        if self.address.is_everywhere or not is_loopback(self.address.url_host):
            return self.address.url, _ON_THIS_NETWORK, notes
        if own := _reached_by_others(page_address):
            return own, "Works for as long as digitcnn runs.", notes
        host = lan_host()
        where = f" at {Address(host, self.address.port).url}" if host else ""
        return (
            "",
            "",
            notes
            or [
                Markup(
                    "Only this computer can open the page now. Restart digitcnn with "
                    "<code>--host 0.0.0.0</code> to invite others on this network{}, or with "
                    "<code>--share</code> for a public link."
                ).format(where)
            ],
        )


def qr_code(text: str) -> Markup:
    """Return a QR code as an SVG element: dark on white in every colour scheme."""
    svg = segno.make(text, micro=False, error="m").svg_inline(
        border=4, light="#fff", dark="#000", omitsize=True
    )
    return Markup(svg)


def _reached_by_others(page_address: object) -> str:
    """Return the page's own address where its host is not this machine's alone, else ""."""
    if not isinstance(page_address, str) or len(page_address) > MAX_ADDRESS:
        return ""
    match = _PAGE_ADDRESS.fullmatch(page_address)
    return "" if match is None or is_loopback(match[1]) else page_address
