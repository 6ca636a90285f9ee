"""The page's one clock: what follows the state of the app is brought up to date when it is behind.

Once a second the page asks whether it is: a call that costs browser and app next to nothing. Only
where it is, Gradio's own event runs, which takes the browser a hundred times as long, on every page
that is open. While something runs, what is said of it moves: every second where it can be seen,
every fourth elsewhere.
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

log = logging.getLogger(__name__)

Look = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class News:
    """How things stand. key: another one whenever a look would find something new.

    moving: something runs, so that a look finds something new every second without another key.
    """

    key: Hashable
    moving: bool = False


@dataclass(frozen=True)
class _Watcher:
    look: Look
    inputs: list[Any]
    outputs: list[Any]
    news: Callable[[], News]
    seen_in: str


class Clock:
    """Collects what follows the state of the app while the page is built; ``build`` starts it."""

    def __init__(self) -> None:
        self._watchers: list[_Watcher] = []
        self._told: dict[int, str] = {}

    def watch(
        self,
        look: Look,
        inputs: list[Any],
        outputs: list[Any],
        *,
        news: Callable[[], News],
        seen_in: str = "",
    ) -> None:
        """Ask ``look`` when the page is loaded, and whenever ``news`` are others than it shows.

        look: called with the request and the inputs' values; returns a value for each output. What
        it raises is logged once, and its outputs stay as they are. news: asked every second by
        every page. seen_in: ``elem_id`` of where it can be seen that something moves.
        """
        self._watchers.append(_Watcher(look, inputs, outputs, news, seen_in))

    def build(self, page: gr.Blocks) -> None:
        """Inside the open ``page``, after everything that is watched."""
        inputs = [part for watcher in self._watchers for part in watcher.inputs]
        outputs = [part for watcher in self._watchers for part in watcher.outputs]
        shown = gr.Textbox(visible="hidden", show_label=False, elem_id="page-shown")
        behind = gr.Button(visible="hidden", elem_id="page-behind")

        def catch_up(request: gr.Request, *values: Any) -> list[Any]:
            updates: list[Any] = [self._state()]  # first: what changes meanwhile is news again
            left = list(values)
            for number, watcher in enumerate(self._watchers):
                own, left = left[: len(watcher.inputs)], left[len(watcher.inputs) :]
                updates += self._asked(number, watcher, request, own)
            return updates

        def page_news(payload: Any, request: gr.Request) -> dict[str, Any]:
            return {"state": self._state(), "app": page.app_id, "login": _login_of(request)}

        gr.on(
            [page.load, behind.click],
            catch_up,
            inputs,
            [shown, *outputs],
            queue=False,
            api_visibility="private",
            show_progress="hidden",
        )
        places = ", ".join(f"#{watcher.seen_in}" for watcher in self._watchers if watcher.seen_in)
        gr.HTML(
            f'<digitcnn-clock hidden data-seen-in="{places}"></digitcnn-clock>',
            apply_default_css=False,
            server_functions=[page_news],
            visible="hidden",
            elem_id="page-clock",
        )

    def _state(self) -> str:
        """What a page that is up to date shows: a key, and ``moving`` where something does."""
        found = []
        for watcher in self._watchers:
            try:
                found.append(watcher.news())
            except Exception as error:  # the look says it, on the page or in the log
                found.append(News((type(error).__name__, str(error))))
        key = hashlib.blake2b(repr([news.key for news in found]).encode(), digest_size=8)
        return key.hexdigest() + " moving" * any(news.moving for news in found)

    def _asked(
        self, number: int, watcher: _Watcher, request: gr.Request, values: list[Any]
    ) -> list[Any]:
        try:
            updates = list(watcher.look(request, *values))
        except Exception as error:
            if self._told.get(number) != str(error):
                self._told[number] = str(error)
                log.error("A part of the page cannot be kept up to date", exc_info=error)
            return [gr.skip()] * len(watcher.outputs)
        self._told.pop(number, None)
        return updates


# A digest under a key of this process cannot be turned back into a cookie.
_KEY = secrets.token_bytes(32)


def _login_of(request: gr.Request) -> str:
    """Return a mark that differs from login to login; empty where nobody logs in.

    By it the page knows a sketch that was drawn under another login.
    """
    tokens = re.findall(r"access-token-[^;]+", request.headers.get("cookie", ""))
    if not tokens:
        return ""
    return hashlib.blake2b("".join(sorted(tokens)).encode(), key=_KEY, digest_size=8).hexdigest()
