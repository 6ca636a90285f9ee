"""The page's one clock: polls for changes of the app and refreshes stale components.

Once a second the page asks for the version of what it shows, a call that costs browser and app
next to nothing. Gradio's event, which takes the browser a hundred times as long, runs only if the
page's own version differs. While something runs, its progress is refreshed every second where it is
visible, every fourth second elsewhere.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from digitcnn.errors import DigitCNNError
from digitcnn.ui.parts import status_line
from digitcnn.web import bundle
from digitcnn.web.templates import render

log = logging.getLogger(__name__)

UNAVAILABLE = "The status is unavailable; the terminal running digitcnn shows the details."

# The ``js=`` after a handler that starts or stops a job. Its response may arrive after that of a
# later refresh, and would then stay although it is outdated.
REFRESH_JS = bundle.handler("press", "#page-refresh")

Refresh = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class Version:
    """The version of what a part of the page shows.

    key: differs whenever a refresh would show something new. in_progress: something runs, so that a
    refresh shows its progress although the key stays the same.
    """

    key: Hashable
    in_progress: bool = False


@dataclass(frozen=True)
class _Watcher:
    refresh: Refresh
    inputs: list[Any]
    outputs: list[Any]
    version: Callable[[], Version]
    status: gr.HTML | None


class Clock:
    """Collects the components to refresh while the page is built; ``build`` starts the clock.

    stored: an input for a refresh: the text, unchecked, that the browser tab has stored across a
    reload; see ``page_state.js``.
    """

    def __init__(self) -> None:
        self.stored = gr.Textbox(visible="hidden", show_label=False)
        self._watchers: list[_Watcher] = []
        self._published: dict[str, Callable[[], Any]] = {}
        # The last error of each watcher, so that it is logged once.
        self._logged: dict[int, str] = {}

    def watch(
        self,
        refresh: Refresh,
        inputs: list[Any],
        outputs: list[Any],
        *,
        version: Callable[[], Version],
        status: gr.HTML | None = None,
    ) -> None:
        """Call ``refresh`` when the page is loaded and whenever ``version`` has changed since.

        refresh: called with the request and the inputs' values; returns a value for each output.
        If it raises, the error is logged once and the outputs stay as they are. version: called
        every second for every page; while it is ``in_progress``, every refresh of the page calls
        ``refresh``. status: the output that shows the progress, and the sentence of an error: no
        toast, since no button was pressed.
        """
        self._watchers.append(_Watcher(refresh, inputs, outputs, version, status))

    def publish(self, name: str, read: Callable[[], Any]) -> None:
        """Send a value to the page's scripts once a second.

        read: returns a JSON value; must be cheap, since every page calls it. If it raises a
        DigitCNNError, null is sent.
        """
        self._published[name] = read

    def build(self, page: gr.Blocks) -> None:
        """Add the clock to the open ``page``, after everything that is watched."""
        # Which version of each watcher's outputs this page shows; "" where a refresh failed.
        shown = gr.State(())
        inputs = [shown, *(part for watcher in self._watchers for part in watcher.inputs)]
        stored = [place for place, part in enumerate(inputs) if part is self.stored]
        outputs = [shown, *(part for watcher in self._watchers for part in watcher.outputs)]
        version = gr.Textbox(visible="hidden", show_label=False, elem_id="page-version")
        refresh = gr.Button(visible="hidden", elem_id="page-refresh")

        def refresh_all(request: gr.Request, shown: Sequence[str], *values: Any) -> list[Any]:
            # The versions first: later changes then make the page stale again.
            current = self._versions()
            now: list[str] = []
            updates: list[Any] = []
            remaining = list(values)
            for number, (watcher, (key, in_progress)) in enumerate(
                zip(self._watchers, current, strict=True)
            ):
                count = len(watcher.inputs)
                own, remaining = remaining[:count], remaining[count:]
                if key in shown[number : number + 1] and not in_progress:
                    updates += [gr.skip()] * len(watcher.outputs)
                    now.append(key)
                else:
                    refreshed, worked = self._updates(number, watcher, request, own)
                    updates += refreshed
                    now.append(key if worked else "")
            return [_page_version(current), now, *updates]

        def page_state(payload: Any, request: gr.Request) -> dict[str, Any]:
            version = _page_version(self._versions())
            own = {"version": version, "app": page.app_id, "login": _login_of(request)}
            return {name: _value(read) for name, read in self._published.items()} | own

        gr.on(
            [page.load, refresh.click],
            refresh_all,
            inputs,
            [version, *outputs],
            queue=False,
            js=bundle.handler("withStoredModel", stored),
            api_visibility="private",
            show_progress="hidden",
        )
        progress = ", ".join(f"#{each.status.elem_id}" for each in self._watchers if each.status)
        gr.HTML(
            render("page/clock.html", progress=progress),
            apply_default_css=False,
            server_functions=[page_state],
            visible="hidden",
            elem_id="page-clock",
        )

    def _versions(self) -> list[tuple[str, bool]]:
        """Return a digest of each watcher's key, and whether it is in progress."""
        versions = []
        for watcher in self._watchers:
            try:
                version = watcher.version()
            except Exception as error:  # the refresh reports it, on the page or in the log
                version = Version((type(error).__name__, str(error)))
            versions.append((_digest(repr(version.key)), version.in_progress))
        return versions

    def _updates(
        self, number: int, watcher: _Watcher, request: gr.Request, values: list[Any]
    ) -> tuple[list[Any], bool]:
        """Return a watcher's updates, and whether its refresh worked."""
        try:
            updates = list(watcher.refresh(request, *values))
        except Exception as error:
            if self._logged.get(number) != str(error):
                self._logged[number] = str(error)
                log.error("A part of the page cannot be refreshed", exc_info=error)
            text = str(error) if isinstance(error, DigitCNNError) else UNAVAILABLE
            return [
                status_line(text) if output is watcher.status else gr.skip()
                for output in watcher.outputs
            ], False
        self._logged.pop(number, None)
        return updates, True


def _page_version(versions: Sequence[tuple[str, bool]]) -> str:
    """Return the version of an up-to-date page, ending in ``running`` while something runs."""
    running = any(in_progress for _, in_progress in versions)
    return _digest("".join(key for key, _ in versions)) + " running" * running


def _digest(text: str, key: bytes = b"") -> str:
    return hashlib.blake2b(text.encode(), key=key, digest_size=8).hexdigest()


def _value(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except DigitCNNError:
        return None  # the tab that shows the value reports the problem


# A digest under a key of this process cannot be turned back into a cookie.
_KEY = secrets.token_bytes(32)


def _login_of(request: gr.Request) -> str:
    """Return a text that differs from login to login; empty without logins.

    The page uses it to recognise a sketch that was drawn under another login.
    """
    tokens = re.findall(r"access-token-[^;]+", request.headers.get("cookie", ""))
    return _digest("".join(sorted(tokens)), _KEY) if tokens else ""
