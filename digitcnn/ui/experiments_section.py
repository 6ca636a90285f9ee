"""The Experiments section of the Train tab: choose, predict, run, and see the outcome.

Everyone may predict and watch; only the owner may start, stop and delete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from digitcnn.errors import ConfigError, RunError
from digitcnn.experiments import catalogue
from digitcnn.experiments.experiment import Experiment
from digitcnn.feedback.entry import hash_of
from digitcnn.training.run_record import RUNNING
from digitcnn.ui import experiments_view
from digitcnn.ui.access import WITH_TOKEN_JS, Access
from digitcnn.ui.clock import REFRESH_JS, Clock, Version
from digitcnn.ui.parts import PRIVATE
from digitcnn.ui.toasts import toasting
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# The ``js=`` of an event whose first input is the hidden text box: this browser's secret takes its
# place on the way to the handler, as the owner's token does.
WITH_VISITOR_JS = bundle.handler("withSecret", "digitcnn-visitor")


@dataclass(frozen=True)
class ExperimentsView:
    """What a page shows: the chosen experiment, how far it is, and the version of the outcomes.

    other: the job that keeps experiments from running. is_open: whether the outcome can still be
    predicted.
    """

    chosen: str = ""
    job: tuple[Any, ...] = ()
    other: str = ""
    groups: int = -1
    people: tuple[int, ...] = ()
    is_open: bool = True
    running: bool = False


class ExperimentsSection:
    """The section's components, built inside an open tab, and their handlers."""

    def __init__(self, workspace: Workspace, access: Access, owner_token: gr.Textbox) -> None:
        self._workspace, self._access, self._token = workspace, access, owner_token
        # What pages without a choice of their own show.
        self._announced = ""
        known = [catalogue.find(name) for name in catalogue.names()]
        first = known[0]
        gr.Markdown(
            "### Experiments\nA question, a prediction, a few short training runs (a minute or two "
            "in all), and a verdict."
        )
        self.select = gr.Dropdown(
            [(f"{one.name}: {one.question}", one.name) for one in known],
            value=first.name,
            label="Experiment",
            elem_id="experiment-select",
        )
        self.card = gr.HTML(
            experiments_view.card(first),
            css_template=bundle.style("downloads.css"),
            elem_id="experiment-card",
        )
        self.predict = gr.Radio(
            _choices(first), label="Predict first", info=first.predict, elem_id="experiment-predict"
        )
        with gr.Row(elem_classes="owner-only"):
            self.run = gr.Button("Run experiment", min_width=140, elem_id="experiment-run")
            self.stop = gr.Button(
                "Stop", variant="stop", interactive=False, min_width=90, elem_id="experiment-stop"
            )
            self.delete = gr.Button(
                "Delete outcome…", interactive=False, min_width=140, elem_id="experiment-delete"
            )
        with gr.Column(visible=False, elem_id="experiment-confirm") as self.confirmation:
            self.question = gr.Markdown(elem_id="experiment-question")
            with gr.Row():
                self.confirm = gr.Button(
                    "Delete outcome", variant="stop", elem_id="experiment-delete-yes"
                )
                self.cancel = gr.Button("Cancel", elem_id="experiment-delete-no")
        self.to_delete = gr.State("")
        self.status = gr.HTML(render("train/no_status.html"), elem_id="experiment-status")
        self.result = gr.HTML(
            css_template=bundle.style(
                "scroll_shadow.css", "tables.css", "tiles.css", "experiments.css"
            ),
            apply_default_css=False,
            elem_id="experiment-result",
        )
        self.view = gr.State(ExperimentsView())
        # Whether the page's user has chosen an experiment.
        self.has_chosen = gr.State(value=False)
        self._watched = [
            self.status,
            self.result,
            self.predict,
            self.run,
            self.stop,
            self.delete,
            self.view,
        ]

    def connect(self, clock: Clock, page: gr.Blocks) -> None:
        """Connect the components to their handlers."""
        owner: dict[str, Any] = {**PRIVATE, "js": WITH_TOKEN_JS}
        asking = [self.confirmation, self.question, self.to_delete]
        shown = [self.card, *self._watched, *asking]
        own: dict[str, Any] = {
            "fn": self.own_prediction,
            "inputs": [self._token, self.select],
            "outputs": self.predict,
            **PRIVATE,
            "js": WITH_VISITOR_JS,
        }
        self.select.change(self.choose, self.select, shown, **PRIVATE).then(**own)
        self.select.input(
            self.take_choice, [self._token, self.select], self.has_chosen, queue=False, **owner
        )
        page.load(**own)
        self.predict.input(
            self.make_prediction,
            [self._token, self.select, self.predict],
            self._watched,
            **PRIVATE,
            js=WITH_VISITOR_JS,
        )
        self.run.click(
            self.start_experiment, [self._token, self.select], self._watched, **owner
        ).success(None, js=bundle.handler("askForPrediction")).then(None, js=REFRESH_JS)
        self.stop.click(
            self.stop_experiment, [self._token, self.select], self._watched, **owner
        ).then(None, js=REFRESH_JS)
        self.delete.click(self.ask_about_outcome, self.select, asking, **PRIVATE)
        self.cancel.click(_not_asking, None, asking, queue=False, **PRIVATE)
        self.confirm.click(
            self.delete_outcome,
            [self._token, self.select, self.to_delete],
            [*self._watched, *asking],
            **owner,
        )
        clock.watch(
            self.watch_experiments,
            [self.select, self.has_chosen, self.view],
            [self.select, *self._watched, self.card],
            version=self.version,
            status=self.status,
        )

    def version(self) -> Version:
        """Return the version of an up-to-date page."""
        view = self._workspace.experiment_job.view()
        running = view.state == RUNNING
        at = (view.stopping, view.training.number, len(view.training.history))
        key = (
            view.state,
            at if running else view.version,
            "" if running else self._workspace.job.exclusive.busy,
            self._workspace.groups.version,
            self._announced,
        )
        return Version(key, in_progress=running)

    def watch_experiments(
        self, request: gr.Request, chosen: Any, has_chosen: Any, shown: ExperimentsView
    ) -> list[Any]:
        """Bring a page up to date: the experiment first, if it changes, which shows the rest.

        The card comes with it: on a busy machine the page waits for the rest.
        """
        if self._announced not in ("", chosen) and not has_chosen:
            card = experiments_view.card(catalogue.find(self._announced))
            return [self._announced, *[gr.skip()] * len(self._watched), card]
        return [gr.skip(), *self._updates(catalogue.find(chosen), shown), gr.skip()]

    @toasting
    def take_choice(self, request: gr.Request, token: Any, name: Any) -> bool:
        """Note that the page's user has chosen; show the owner's choice to those who have not.

        While an experiment runs, they keep watching that one.
        """
        running = self._workspace.experiment_job.view().state == RUNNING
        if self._access.is_owner(request, token) and not running:
            self._announced = catalogue.find(name).name
        return True

    @toasting
    def choose(self, name: Any) -> list[Any]:
        """Show another experiment's card and its outcome."""
        experiment = catalogue.find(name)
        return [
            experiments_view.card(experiment),
            *self._updates(experiment, ExperimentsView()),
            *_not_asking(),
        ]

    @toasting
    def own_prediction(self, visitor: Any, name: Any) -> gr.Radio:
        """Offer an experiment's choices, with the one ticked that this visitor has made."""
        experiment = catalogue.find(name)
        people = self._workspace.peoples_predictions
        made = people.of(experiment, hash_of(visitor)) if visitor else None
        return gr.Radio(_choices(experiment), value=made, info=experiment.predict)

    @toasting
    def make_prediction(self, visitor: Any, name: Any, choice: Any) -> list[Any]:
        """Store a visitor's prediction, unless the outcome is known."""
        experiment = catalogue.find(name)
        if not self._open_for_predictions(experiment):
            raise ConfigError("The outcome is known; predict before the next run.")
        people = self._workspace.peoples_predictions
        people.record(experiment, hash_of(visitor), choice)
        updates = self._updates(experiment, ExperimentsView())
        updates[self._watched.index(self.predict)] = gr.skip()  # the choice stays as it was made
        return updates

    @toasting
    def start_experiment(self, request: gr.Request, token: Any, name: Any) -> list[Any]:
        """Start the chosen experiment."""
        self._access.require_owner(request, token, to="run an experiment")
        experiment = catalogue.find(name)
        self._workspace.experiment_job.start(experiment)
        self._announced = experiment.name
        return self._updates(experiment, ExperimentsView())

    @toasting
    def stop_experiment(self, request: gr.Request, token: Any, name: Any) -> list[Any]:
        """Stop the running experiment after the current step."""
        self._access.require_owner(request, token, to="stop an experiment")
        self._workspace.experiment_job.stop()
        return self._updates(catalogue.find(name), ExperimentsView())

    @toasting
    def ask_about_outcome(self, name: Any) -> list[Any]:
        """Show the question whether to delete the newest outcome of the chosen experiment."""
        group = self._workspace.groups.latest(catalogue.find(name).name)
        if group is None:
            raise RunError("This experiment has no outcome; run it first.")
        runs = len(self._workspace.groups.runs_of(group.name))
        text = (
            f"Permanently delete **{group.name}**: its outcome, its {runs} runs and their "
            "checkpoints?"
        )
        return [gr.Column(visible=True), text, group.name]

    @toasting
    def delete_outcome(self, request: gr.Request, token: Any, name: Any, group: Any) -> list[Any]:
        """Delete the outcome that the question named, with its runs and checkpoints."""
        self._access.require_owner(request, token, to="delete an experiment's runs")
        self._workspace.experiment_job.delete(group)
        return [*self._updates(catalogue.find(name), ExperimentsView()), *_not_asking()]

    def _open_for_predictions(self, experiment: Experiment) -> bool:
        """Whether the outcome of the newest execution is not known yet."""
        group = self._workspace.groups.latest(experiment.name)
        return group is None or group.outcome is None

    def _updates(self, experiment: Experiment, shown: ExperimentsView) -> list[Any]:
        """Return the updates for ``_watched``."""
        workspace = self._workspace
        view = workspace.experiment_job.view()
        running = view.state == RUNNING
        here = running and view.experiment is not None and view.experiment.name == experiment.name
        counts = workspace.peoples_predictions.counts(experiment)
        epochs = (view.training.number, len(view.training.history)) if here else ()
        version = workspace.groups.version
        group = workspace.groups.latest(experiment.name)
        known = group is not None and group.outcome is not None
        other = "" if running else workspace.job.exclusive.busy
        now = ExperimentsView(
            experiment.name, (view.state, *epochs), other, version, counts, not known, here
        )
        if now == shown and not running:
            return [gr.skip()] * len(self._watched)
        if here:
            result: Any = experiments_view.running(view)
        else:
            result = "" if group is None else experiments_view.result(experiment, group)
        people = None if known or (running and not here) else sum(counts)
        return [
            experiments_view.status(view, group, people, other),
            result if now != shown else gr.skip(),
            _prediction(shown, now),
            gr.Button(interactive=not (running or other)),
            gr.Button(interactive=running and not view.stopping),
            gr.Button(interactive=group is not None and not here),
            now,
        ]


def _prediction(shown: ExperimentsView, now: ExperimentsView) -> gr.Radio:
    """Open or close the predictions; the choice that was made stays ticked."""
    label = "Predict now, while the outcome is unknown" if now.running else "Predict first"
    if not now.is_open:
        label = "Predictions are closed: the outcome is known"
    if now.is_open and not shown.is_open:  # a new run starts without predictions
        return gr.Radio(label=label, interactive=True, value=None)
    return gr.Radio(label=label, interactive=now.is_open)


def _choices(experiment: Experiment) -> list[tuple[str, int]]:
    return [(choice.text, place) for place, choice in enumerate(experiment.choices)]


def _not_asking() -> list[Any]:
    return [gr.Column(visible=False), gr.skip(), ""]
