"""The results of a tab, marked with the models and digit sets that they were computed for.

All HTML of one computation carries the stamp of its ``Subject``. ``results.js`` greys results whose
stamp differs from the current selection, names the models and sets that they belong to, and offers
a button that computes results for the new selection. Results already computed on any page are shown
at once, also to a page that was loaded again, as soon as it opens the tab.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr
from cachetools import LRUCache
from markupsafe import Markup

from digitcnn.digits.names import joined
from digitcnn.errors import DigitCNNError
from digitcnn.ui.access import WITH_TOKEN_JS
from digitcnn.ui.gradio_private import Dependency
from digitcnn.ui.parts import PRIVATE, ViewUpdate, html_view, outputs, status_line
from digitcnn.ui.subject import Subject
from digitcnn.ui.toasts import toasting
from digitcnn.web import bundle
from digitcnn.web.templates import render

# Results of a tab in memory; with nine figures each takes about 2 MB.
MOST_CACHED = 12


class RunButtons:
    """A button that starts a computation, and beside it one that stops it.

    One of them is enabled at a time; ``keep_focus.js`` moves the keyboard focus along.
    """

    def __init__(
        self, label: str, elem_id: str, variant: Literal["primary", "secondary"] = "secondary"
    ) -> None:
        """Build the row of both. elem_id: followed by ``-run`` and ``-stop``."""
        with gr.Row(elem_classes="primary-row") as self.row:
            self.run = gr.Button(label, variant=variant, elem_id=f"{elem_id}-run")
            self.stop = gr.Button(
                "Stop", variant="stop", interactive=False, elem_id=f"{elem_id}-stop"
            )
        # Page sessions that pressed Stop.
        self._pressed: set[str] = set()

    def connect(self, status: gr.HTML) -> None:
        """Let Stop work, and show the status of a computation that starts below the screen.

        status: says that the computation is being stopped until it has ended.
        """
        # On a phone and in a low window the status is below the visible part.
        self.run.click(None, js=bundle.handler("center", f"#{status.elem_id}"), **PRIVATE)
        # In the browser: a response could arrive after the last one of the computation.
        stopping = bundle.handler(
            "give", {**gr.update(interactive=False)}, status_line("Stopping.")
        )
        self.stop.click(None, None, [self.stop, status], js=stopping, **PRIVATE)
        self.stop.click(self.press, None, None, queue=False, **PRIVATE)

    def press(self, request: gr.Request) -> None:
        """Request a page's computation to stop."""
        self._pressed.add(_session(request))

    def start(self, request: gr.Request) -> ViewUpdate:
        """Forget an earlier press; return the states of both buttons while something runs."""
        self._pressed.discard(_session(request))
        return {"run": gr.update(interactive=False), "stop": gr.update(interactive=True)}

    def ready(self) -> ViewUpdate:
        """Return the states of both buttons while nothing runs."""
        # Updates rather than Buttons: constructing one here would add it to the page.
        return {"run": gr.update(interactive=True), "stop": gr.update(interactive=False)}

    def until_stopped(
        self, request: gr.Request, updates: Iterator[list[Any]]
    ) -> Generator[list[Any], None, bool]:
        """Yield ``updates`` until Stop is pressed; return whether it was."""
        for update in updates:
            if _session(request) in self._pressed:
                # Nothing else holds the generator, so it is closed, which ends its work.
                return True
            yield update
        return False


def _session(request: gr.Request) -> str:
    return request.session_hash or ""


@dataclass(frozen=True, eq=False)
class Computation:
    """What a tab computes from its inputs.

    selection: the ``announced`` components whose values say what is chosen; ``subject_of`` turns
    these into a Subject or raises DigitCNNError. steps: called with the request, the subject, the
    owner's token if ``connect`` gets its field, and the values of ``further``. at_a_time: the
    number of concurrent runs of all pages; others wait.
    """

    selection: Sequence[Any]
    subject_of: Callable[..., Subject]
    steps: Callable[..., Iterator[ViewUpdate]]
    further: Sequence[Any] = ()
    at_a_time: int | Literal["default"] = "default"


class Results:
    """The results of one tab. Creating it adds the notice on outdated results to the page.

    parts: the components that show them, by the names in the updates, ``status`` among them; the
    tab and its sections add theirs before ``connect``.
    """

    def __init__(self, tab: str, task: str, action: str) -> None:
        """Build the notice.

        tab: first part of the tab's ``elem_id``s. task: name of a run in the status after a
        failure. action: what the button does, such as ``Evaluate``.
        """
        self.tab, self.task, self.action = tab, task, action
        self.parts: dict[str, Any] = {}
        # Those of the additions, which new results empty; nothing updates them by these names.
        self._additions: dict[str, gr.HTML] = {}
        self.view = gr.State(Subject())
        self._running = gr.State(value=False)
        self._opened = gr.State(value=False)
        self._choice = html_view(f"{tab}-choice")
        self._cached: LRUCache[str, ViewUpdate] = LRUCache(MOST_CACHED)
        self._lock = threading.Lock()
        self._counter = itertools.count()

    def stamped(self, subject: Subject, html: str) -> str:
        """Return HTML marked as a result of ``subject``; an empty text stays empty."""
        if not html or not subject.names:
            return html
        return render(
            "results/result.html",
            tab=self.tab,
            stamp=subject.stamp,
            text=subject.text,
            html=Markup(html),
        )

    def connect(
        self,
        buttons: RunButtons,
        computation: Computation,
        *,
        opens: gr.Tab,
        owner_token: gr.Textbox | None = None,
        prepare: Callable[[ViewUpdate], ViewUpdate] = dict,
    ) -> Dependency:
        """Run the computation and show its updates when the button is pressed, until Stop is.

        Returns the event after a run.

        opens: the tab; results are shown from when it is opened, so that a page receives none that
        nobody looks at. prepare: turns an update into the components' values.
        """
        shown = {
            **self.parts,
            **self._additions,
            "view": self.view,
            "run": buttons.run,
            "stop": buttons.stop,
            "running": self._running,
            "opened": self._opened,
            "choice": self._choice,
        }
        buttons.connect(self.parts["status"])
        tokens = [] if owner_token is None else [owner_token]
        selection = list(computation.selection)

        def begin(request: gr.Request, *chosen: Any) -> list[Any]:
            waiting = {"status": status_line("Waiting in the queue."), "running": True}
            choice = self._choice_html(computation, chosen)[0]
            return outputs({**waiting, **buttons.start(request), "choice": choice}, shown)

        @toasting
        def run(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
            token, rest = values[: len(tokens)], values[len(tokens) :]
            chosen, others = rest[: len(selection)], rest[len(selection) :]
            whole: ViewUpdate = {}
            additions = dict.fromkeys(self._additions, "")
            ready = {**buttons.ready(), "running": False}

            def updates() -> Iterator[list[Any]]:
                for update in computation.steps(request, subject, *token, *others):
                    stamped = {"view": subject, **self._all_stamped(subject, update, self.parts)}
                    if update.keys() != {"status"}:  # the first results
                        stamped |= additions
                        additions.clear()
                    whole.update(stamped)
                    yield outputs(prepare(stamped), shown)

            try:
                subject = computation.subject_of(*chosen)
                stopped = yield from buttons.until_stopped(request, updates())
            except Exception:
                # Gradio runs no further step after one that fails, so the button is enabled here.
                failed = status_line(f"{self.task} stopped; see the error message.")
                yield outputs({"status": failed, **ready}, shown)
                raise
            if stopped:
                text = f"{self.task} stopped before its end, so results are missing."
                yield outputs({"status": status_line(text), **ready}, shown)
                return
            with self._lock:
                self._cached[subject.stamp] = whole
            yield outputs(ready, shown)

        def follow(view: Subject, running: bool, opened: bool, *chosen: Any) -> list[Any]:
            """Show what is chosen now, and its results if they are cached."""
            html, subject = self._choice_html(computation, chosen)
            update: ViewUpdate = {"choice": html}
            if opened and not running and subject is not None and subject.stamp != view.stamp:
                with self._lock:
                    update |= prepare(self._cached.get(subject.stamp, {}))
            return outputs(update, shown)

        def catch_up(view: Subject, running: bool, _: bool, *chosen: Any) -> list[Any]:
            """Show cached results when the tab opens, and of what was chosen during a run.

            The choice itself stays as ``follow`` shows it, since these values may be outdated.
            """
            updates = dict(zip(shown, follow(view, running, True, *chosen), strict=True))
            return list({**updates, "choice": gr.skip(), "opened": True}.values())

        run.__name__ = f"{self.tab}_steps"  # what the event is called in Gradio's configuration
        everything = list(shown.values())
        now = [self.view, self._running, self._opened, *selection]
        begun = buttons.run.click(begin, selection, everything, queue=False, **PRIVATE)
        ran: Dependency = begun.then(
            run,
            [*tokens, *selection, *computation.further],
            everything,
            concurrency_limit=computation.at_a_time,
            js=WITH_TOKEN_JS if tokens else None,
            **PRIVATE,
        )
        ran.then(catch_up, now, everything, queue=False, **PRIVATE)
        gr.on(
            [part.change for part in selection],
            follow,
            now,
            everything,
            trigger_mode="always_last",
            queue=False,
            **PRIVATE,
        )
        opens.select(catch_up, now, everything, queue=False, **PRIVATE)
        return ran

    def connect_part(
        self,
        buttons: RunButtons,
        components: Mapping[str, Any],
        digits: gr.Dropdown,
        steps: Callable[[Subject, Any], Iterator[ViewUpdate]],
    ) -> None:
        """Compute an addition to the shown results when the button is pressed; before ``connect``.

        components: by the names in the updates, ``status`` among them; emptied at the start, and
        by new results.
        digits: names one of the test sets. steps: called with the subject of the results and that
        name.
        """
        shown = {**components, "run": buttons.run, "stop": buttons.stop}
        empty = {name: "" for name, part in components.items() if isinstance(part, gr.HTML)}
        for name in empty:
            self._additions[f"{len(self._additions)} {name}"] = components[name]
        buttons.connect(components["status"])

        @toasting
        def run(request: gr.Request, subject: Subject, name: Any) -> Iterator[list[Any]]:
            def updates() -> Iterator[list[Any]]:
                for update in steps(subject, name):
                    yield outputs(self._all_stamped(subject, update, components), shown)

            waiting = {**empty, "status": status_line("Starting.")}
            yield outputs({**waiting, **buttons.start(request)}, shown)
            end: ViewUpdate = {}
            try:
                if (yield from buttons.until_stopped(request, updates())):
                    end = {"status": status_line("Stopped.")}
            except DigitCNNError as error:
                end = {"status": status_line(str(error))}
            except Exception:
                yield outputs({**empty, **buttons.ready()}, shown)
                raise
            yield outputs({**end, **buttons.ready()}, shown)

        buttons.run.click(run, [self.view, digits], list(shown.values()), **PRIVATE)

    def _all_stamped(
        self, subject: Subject, update: ViewUpdate, components: Mapping[str, Any]
    ) -> ViewUpdate:
        """Return an update in which the HTML is marked as results of ``subject``."""
        return {
            name: self.stamped(subject, value)
            if isinstance(components.get(name), gr.HTML)
            else value
            for name, value in update.items()
        }

    def _choice_html(
        self, computation: Computation, chosen: Sequence[Any]
    ) -> tuple[Markup, Subject | None]:
        """Render what is chosen, without a stamp if nothing can be computed for it."""
        parts = [part.elem_id for part in computation.selection]
        try:
            subject = computation.subject_of(*chosen)
        except DigitCNNError:
            subject = None
        html = render(
            "results/choice.html",
            tab=self.tab,
            chosen=json.dumps(dict(zip(parts, chosen, strict=True))),
            stamp="" if subject is None else subject.stamp,
            action="" if subject is None else f"{self.action} {joined(subject.names)}",
            # A different text each time, so that the page notices every response.
            number=next(self._counter),
        )
        return html, subject


def results_view(elem_id: str) -> gr.Column:
    """Build a column for results and their tools, hidden until it has a table or chart.

    The style sheet hides it, since Gradio may lose an update that arrives while its tab is closed.
    """
    return gr.Column(elem_id=elem_id, elem_classes="results")
