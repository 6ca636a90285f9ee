"""The page's one clock: polls for changes of the app and refreshes stale components.

Once a second the page asks whether it is stale, a call that costs browser and app next to nothing.
Only if it is, Gradio's own event runs, which takes the browser a hundred times as long. While
something runs, its progress is refreshed every second where it is visible, every fourth elsewhere.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import gradio as gr

from digitcnn.errors import DigitCNNError

log = logging.getLogger(__name__)

Refresh = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class News:
    """The state of one part of the app. key: differs whenever a refresh would show something new.

    moving: something runs, so a refresh shows something new every second, with the same key.
    """

    key: Hashable
    moving: bool = False


@dataclass(frozen=True)
class _Watcher:
    refresh: Refresh
    inputs: list[Any]
    outputs: list[Any]
    news: Callable[[], News]
    seen_in: str


T = TypeVar("T")


class Recent(Generic[T]):
    """A value that is computed again when it is older than ``seconds``, for all pages. Thread-safe.

    clock: monotonic, in seconds.
    """

    def __init__(
        self, compute: Callable[[], T], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._compute, self._seconds, self._clock = compute, seconds, clock
        self._lock = threading.Lock()
        self._value: T | None = None
        self._computed = -math.inf

    def now(self) -> T:
        """Return the value. Raises what computing it raises."""
        with self._lock:
            if self._value is None or self._clock() - self._computed >= self._seconds:
                self._value = self._compute()
                self._computed = self._clock()
            return self._value


class Clock:
    """Collects the components to refresh while the page is built; ``build`` starts the clock."""

    def __init__(self) -> None:
        self._watchers: list[_Watcher] = []
        self._facts: dict[str, Callable[[], Any]] = {}
        # The last error of each watcher, so that it is logged once.
        self._logged: dict[int, str] = {}

    def watch(
        self,
        refresh: Refresh,
        inputs: list[Any],
        outputs: list[Any],
        *,
        news: Callable[[], News],
        seen_in: str = "",
    ) -> None:
        """Call ``refresh`` when the page is loaded and whenever ``news`` has changed since.

        refresh: called with the request and the inputs' values; returns a value for each output.
        If it raises, the error is logged once and the outputs stay as they are. news: called every
        second for every page. seen_in: ``elem_id`` of the element that shows the progress.
        """
        self._watchers.append(_Watcher(refresh, inputs, outputs, news, seen_in))

    def tell(self, name: str, fact: Callable[[], Any]) -> None:
        """Send a value to the page's scripts once a second, with the other updates.

        fact: returns plain values; must be cheap, since every page calls it. If it raises, null
        is sent.
        """
        self._facts[name] = fact

    def build(self, page: gr.Blocks) -> None:
        """Add the clock to the open ``page``, after everything that is watched."""
        inputs = [part for watcher in self._watchers for part in watcher.inputs]
        outputs = [part for watcher in self._watchers for part in watcher.outputs]
        shown = gr.Textbox(visible="hidden", show_label=False, elem_id="page-shown")
        behind = gr.Button(visible="hidden", elem_id="page-behind")

        def catch_up(request: gr.Request, *values: Any) -> list[Any]:
            # The state first: later changes then make the page stale again.
            updates: list[Any] = [self._state()]
            remaining = list(values)
            for number, watcher in enumerate(self._watchers):
                count = len(watcher.inputs)
                own, remaining = remaining[:count], remaining[count:]
                updates += self._updates(number, watcher, request, own)
            return updates

        def page_news(payload: Any, request: gr.Request) -> dict[str, Any]:
            own = {"state": self._state(), "app": page.app_id, "login": _login_of(request)}
            return {name: _value(fact) for name, fact in self._facts.items()} | own

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
        """Return the state that an up-to-date page shows: a key, and ``moving`` during progress."""
        all_news = []
        for watcher in self._watchers:
            try:
                all_news.append(watcher.news())
            except Exception as error:  # the refresh reports it, on the page or in the log
                all_news.append(News((type(error).__name__, str(error))))
        key = hashlib.blake2b(repr([news.key for news in all_news]).encode(), digest_size=8)
        return key.hexdigest() + " moving" * any(news.moving for news in all_news)

    def _updates(
        self, number: int, watcher: _Watcher, request: gr.Request, values: list[Any]
    ) -> list[Any]:
        try:
            updates = list(watcher.refresh(request, *values))
        except Exception as error:
            if self._logged.get(number) != str(error):
                self._logged[number] = str(error)
                log.error("A part of the page cannot be kept up to date", exc_info=error)
            return [gr.skip()] * len(watcher.outputs)
        self._logged.pop(number, None)
        return updates


def _value(fact: Callable[[], Any]) -> Any:
    try:
        return fact()
    except DigitCNNError:
        return None  # a call for it alone shows the problem


# A digest under a key of this process cannot be turned back into a cookie.
_KEY = secrets.token_bytes(32)


def _login_of(request: gr.Request) -> str:
    """Return a mark that differs from login to login; empty without logins.

    The page uses it to recognise a sketch that was drawn under another login.
    """
    tokens = re.findall(r"access-token-[^;]+", request.headers.get("cookie", ""))
    if not tokens:
        return ""
    return hashlib.blake2b("".join(sorted(tokens)).encode(), key=_KEY, digest_size=8).hexdigest()
