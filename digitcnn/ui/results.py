"""Results of a tab, each with the models and sets that it was computed for.

Every piece of HTML that a run writes is stamped with its ``Subject``. ``results.js`` greys each
piece whose stamp differs from the current selection, names the models and sets it belongs to, and
offers a button that computes results for the new selection. Results already computed on any page
are shown at once.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr
from cachetools import LRUCache
from markupsafe import Markup

from digitcnn.analysis.figures.style import listed
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CheckpointError, DigitCNNError, DigitSetError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.services.comparison import names_of
from digitcnn.ui.access import WITH_TOKEN_JS
from digitcnn.ui.models import Models
from digitcnn.ui.parts import PRIVATE, ViewUpdate, outputs, status_line
from digitcnn.ui.toasts import toasting
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# Results of a tab in memory, some 2 MB each with nine figures.
HELD = 12


@dataclass(frozen=True)
class Subject:
    """The models and test sets that results are of; empty where there are none yet.

    keys: of the models, for ``Models.get``. names: for people. digests: identify their
    predictions in caches.
    sets, counts: names of the test sets, the reference first, and how many images each has.
    """

    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    counts: tuple[int | None, ...] = ()

    @classmethod
    def of(
        cls, workspace: Workspace, models: Models, keys: Sequence[Any], sets: Sequence[str]
    ) -> Subject:
        """Describe a choice of models and test sets, which nothing has been checked of.

        Raises DigitCNNError for a model or set that is not there.
        """
        checkpoints = [models.get(key) for key in keys]
        return cls(
            tuple(keys),
            tuple(names_of(checkpoints)),
            tuple(checkpoint.key for checkpoint in checkpoints),
            tuple(sets),
            tuple(workspace.catalog.entry(name, "test").n for name in sets),
        )

    @property
    def stamp(self) -> str:
        """A short text that is the same for the same models and sets, in whatever order."""
        parts = (
            sorted(zip(self.keys, self.digests, strict=True)),
            sorted(zip(self.sets, map(str, self.counts), strict=True)),
        )
        return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()

    @property
    def text(self) -> str:
        """The models and sets, for people."""
        return f"{listed(self.names)} on {listed(self.sets)}" if self.names else ""

    def open(
        self, workspace: Workspace, models: Models, name: Any
    ) -> tuple[list[Checkpoint], DigitSet]:
        """Return the models and the set called ``name``. Raises DigitCNNError where one is gone."""
        if name not in self.sets:
            raise DigitSetError("There are no results for this set on this page; compute them.")
        return self.checkpoints(models), workspace.catalog.open(name, "test")

    def checkpoints(self, models: Models) -> list[Checkpoint]:
        """Return the models. Raises CheckpointError where one is gone or another file by now."""
        found = [models.get(key) for key in self.keys]
        for name, digest, checkpoint in zip(self.names, self.digests, found, strict=True):
            if checkpoint.key != digest:
                raise CheckpointError(f"{name} has changed; compute its results again.")
        return found


# Called with a request, the subject and the values of further inputs.
Steps = Callable[..., Iterator[ViewUpdate]]


class Results:
    """The results of one tab. Create it where the notice on outdated results is to stand."""

    def __init__(self, tab: str, task: str, action: str) -> None:
        """Build the notice.

        tab: first part of the tab's ``elem_id``s. task: name of a run in the status after a
        failure. action: what the button does, such as ``Evaluate``.
        """
        self.tab, self.task, self.action = tab, task, action
        self.view = gr.State(Subject())
        self._running = gr.State(value=False)
        self._choice = gr.HTML(apply_default_css=False, elem_id=f"{tab}-choice")
        self._held: LRUCache[str, ViewUpdate] = LRUCache(HELD)
        self._lock = threading.Lock()
        self._counter = itertools.count()

    def stamped(self, subject: Subject, html: str) -> str:
        """Return HTML marked as a result of ``subject``; nothing stays nothing."""
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
        button: gr.Button,
        components: Mapping[str, Any],
        *,
        selection: Sequence[Any],
        subject_of: Callable[..., Subject],
        steps: Steps,
        further: Sequence[Any] = (),
        owner_token: gr.Textbox | None = None,
        prepare: Callable[[ViewUpdate], ViewUpdate] = dict,
        at_a_time: int | Literal["default"] = "default",
    ) -> None:
        """Show what ``steps`` yields when the button is pressed, which is disabled until the end.

        components: by the names in the updates, ``status`` among them. selection: the components
        whose values say what is chosen; ``subject_of`` turns these into a Subject or raises
        DigitCNNError. steps: called with the request, the subject, the owner's token if it is
        given, and the values of ``further``. prepare: turns an update into what the components
        take. at_a_time: how many run at a time, for all pages together; the others wait.
        """
        shown = {
            **components,
            "view": self.view,
            "button": button,
            "running": self._running,
            "choice": self._choice,
        }
        html = {name for name, part in components.items() if isinstance(part, gr.HTML)}
        tokens = [owner_token] if owner_token is not None else []
        # An update rather than a Button: constructing one here would add it to the page.
        ready: ViewUpdate = {"button": gr.update(interactive=True), "running": False}

        def begin(*chosen: Any) -> list[Any]:
            waiting = {"status": status_line("Waiting in the queue."), "running": True}
            waiting["button"] = gr.Button(interactive=False)
            return outputs({**waiting, "choice": self._choice_html(subject_of, chosen)[0]}, shown)

        @toasting
        def run(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
            token, rest = values[: len(tokens)], values[len(tokens) :]
            chosen, others = rest[: len(selection)], rest[len(selection) :]
            whole: ViewUpdate = {}
            try:
                subject = subject_of(*chosen)
                for update in steps(request, subject, *token, *others):
                    stamped = {
                        name: self.stamped(subject, value) if name in html else value
                        for name, value in update.items()
                    }
                    whole |= {"view": subject, **stamped}
                    yield outputs({"view": subject, **prepare(stamped)}, shown)
            except Exception:
                # Gradio runs no further step after one that fails, so the button is enabled here.
                stopped = status_line(f"{self.task} stopped; see the error message.")
                yield outputs({"status": stopped, **ready}, shown)
                raise
            with self._lock:
                self._held[subject.stamp] = whole
            yield outputs(ready, shown)

        def follow(view: Subject, running: bool, *chosen: Any) -> list[Any]:
            """Say what is chosen now, and show its results where they are known."""
            html, subject = self._choice_html(subject_of, chosen)
            update: ViewUpdate = {"choice": html}
            if view.names and not running and subject is not None and subject.stamp != view.stamp:
                with self._lock:
                    update |= prepare(self._held.get(subject.stamp, {}))
            return outputs(update, shown)

        def catch_up(view: Subject, running: bool, *chosen: Any) -> list[Any]:
            """Show known results of what was chosen during the run.

            The choice itself stays as ``follow`` shows it: these values may be older than it.
            """
            updates = follow(view, running, *chosen)
            updates[list(shown).index("choice")] = gr.skip()
            return updates

        run.__name__ = f"{self.tab}_steps"  # what the event is called in Gradio's configuration
        everything = list(shown.values())
        now = [self.view, self._running, *selection]
        button.click(begin, list(selection), everything, queue=False, **PRIVATE).then(
            run,
            [*tokens, *selection, *further],
            everything,
            concurrency_limit=at_a_time,
            js=WITH_TOKEN_JS if tokens else None,
            **PRIVATE,
        ).then(catch_up, now, everything, queue=False, **PRIVATE)
        # The script greys the results before the app has heard of the new choice.
        choosing = (
            "(...inputs) => { dispatchEvent(new CustomEvent('digitcnn-choosing', "
            f"{{ detail: '{self.tab}' }})); return inputs; }}"
        )
        gr.on(
            [part.change for part in selection],
            follow,
            now,
            everything,
            js=choosing,
            trigger_mode="always_last",
            queue=False,
            **PRIVATE,
        )

    def _choice_html(
        self, subject_of: Callable[..., Subject], chosen: Sequence[Any]
    ) -> tuple[Markup, Subject | None]:
        """Render what is chosen; without a stamp where nothing can be computed for it."""
        try:
            subject = subject_of(*chosen)
        except DigitCNNError:
            subject = None
        html = render(
            "results/choice.html",
            tab=self.tab,
            stamp="" if subject is None else subject.stamp,
            action="" if subject is None else f"{self.action} {listed(subject.names)}",
            # Another text each time: the page takes notice of every response.
            number=next(self._counter),
        )
        return html, subject


def results_view(elem_id: str) -> gr.Column:
    """Build a column for results and their tools, hidden until it has a table or chart.

    The style sheet hides it: an update that arrives while its tab is not open can be lost.
    """
    return gr.Column(elem_id=elem_id, elem_classes="results")
