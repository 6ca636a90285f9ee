"""The Experiments section of the Train tab: choose, predict, run, and see the outcome.

Everyone may predict and watch; only the owner may start, stop and delete.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from markupsafe import Markup

from digitcnn.errors import ConfigError, RunError
from digitcnn.experiments import catalogue
from digitcnn.experiments.experiment import Experiment
from digitcnn.experiments.job import ExperimentView
from digitcnn.feedback.entry import hash_of
from digitcnn.training.run_record import RUNNING
from digitcnn.ui import experiments_view
from digitcnn.ui.clock import REFRESH_JS, Version
from digitcnn.ui.context import Context
from digitcnn.ui.parts import PRIVATE
from digitcnn.ui.tables import table_view
from digitcnn.ui.toasts import toasting
from digitcnn.web import bundle
from digitcnn.web.templates import render

# The ``js=`` of an event whose first input is the hidden text box: this browser's secret takes its
# place on the way to the handler, as the owner's token does.
WITH_VISITOR_JS = bundle.handler("withSecret", "digitcnn-visitor")


class ExperimentsSection:
    """The section's components, built inside an open tab, and their handlers."""

    def __init__(self, context: Context) -> None:
        self._workspace, self._access = context.workspace, context.access
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
        self.result = table_view("experiment-result", "tiles.css", "experiments.css")
        # Whether predictions are open on the page, and whether its user has chosen an experiment.
        self.was_open, self.has_chosen = gr.State(value=True), gr.State(value=False)
        self._watched = [self.result, self.predict, self.run, self.stop, self.delete, self.was_open]
        self._connect(context)

    def _connect(self, context: Context) -> None:
        asking = [self.confirmation, self.question, self.to_delete]
        # This browser's secret takes the place of the owner's token.
        visitor: dict[str, Any] = {**PRIVATE, "js": WITH_VISITOR_JS}
        own = {
            "fn": self.own_prediction,
            "inputs": [context.owner_token, self.select],
            "outputs": self.predict,
            **visitor,
        }
        self.select.change(
            self.choose, self.select, [self.card, self.status, *self._watched, *asking], **PRIVATE
        ).then(**own)
        context.with_token(
            self.select.input, self.record_choice, [self.select], self.has_chosen, queue=False
        )
        context.page.load(**own)
        self.predict.input(
            self.make_prediction, [context.owner_token, self.select, self.predict], **visitor
        ).then(None, js=REFRESH_JS)
        context.with_token(
            self.run.click, self.start_experiment, [self.select], self.status
        ).success(None, js=bundle.handler("askForPrediction")).then(None, js=REFRESH_JS)
        context.with_token(self.stop.click, self.stop_experiment).then(None, js=REFRESH_JS)
        self.delete.click(self.ask_about_outcome, self.select, asking, **PRIVATE)
        self.cancel.click(_not_asking, None, asking, queue=False, **PRIVATE)
        context.with_token(self.confirm.click, self.delete_outcome, [self.to_delete], asking).then(
            None, js=REFRESH_JS
        )
        watch, page = context.clock.watch, [self.select, self.has_chosen]
        watch(
            self._show_status, page, [self.status], version=self._status_version, status=self.status
        )
        watch(
            self._show_rest,
            [*page, self.was_open],
            [self.select, self.card, *self._watched],
            version=self._version,
        )

    def _version(self) -> Version:
        view = self._workspace.experiment_job.view()
        at = (view.stopping, view.training.number, len(view.training.history))
        return Version(
            (
                view.state,
                at if view.state == RUNNING else view.version,
                self._other(),
                self._workspace.groups.version,  # changes with each prediction as well
                self._announced,
            )
        )

    def _status_version(self) -> Version:
        running = self._workspace.experiment_job.view().state == RUNNING
        return Version(self._version().key, in_progress=running)

    def _other(self) -> str:
        """Return the job that keeps experiments from running, as ``ExclusiveLock.busy``."""
        running = self._workspace.experiment_job.view().state == RUNNING
        return "" if running else self._workspace.job.exclusive.busy

    def _shown(self, chosen: Any, has_chosen: Any) -> Experiment:
        """Return what a page shows: its choice, or what the owner shows those without one."""
        return catalogue.find(chosen if has_chosen else self._announced or chosen)

    def _show_rest(
        self, request: gr.Request, chosen: Any, has_chosen: Any, was_open: bool
    ) -> list[Any]:
        experiment = self._shown(chosen, has_chosen)
        choice = [gr.skip(), gr.skip()]
        if experiment.name != chosen:
            choice = [experiment.name, experiments_view.card(experiment)]
        return [*choice, *self._updates(experiment, was_open)]

    @toasting
    def record_choice(self, request: gr.Request, token: Any, name: Any) -> bool:
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
            self._status(experiment),
            *self._updates(experiment, was_open=True),
            *_not_asking(),
        ]

    @toasting
    def own_prediction(self, visitor: Any, name: Any) -> gr.Radio:
        """Offer an experiment's choices, with the one ticked that this visitor has made."""
        experiment = catalogue.find(name)
        people = self._workspace.peoples_predictions
        prediction = people.of(experiment, hash_of(visitor)) if visitor else None
        return gr.Radio(_choices(experiment), value=prediction, info=experiment.predict)

    @toasting
    def make_prediction(self, visitor: Any, name: Any, choice: Any) -> None:
        """Store a visitor's prediction, unless the outcome is known."""
        experiment = catalogue.find(name)
        if not self._open_for_predictions(experiment):
            raise ConfigError("The outcome is known; predict before the next run.")
        self._workspace.peoples_predictions.record(experiment, hash_of(visitor), choice)

    @toasting
    def start_experiment(self, request: gr.Request, token: Any, name: Any) -> Markup:
        """Start the chosen experiment."""
        self._access.require_owner(request, token, to="run an experiment")
        experiment = catalogue.find(name)
        self._workspace.experiment_job.start(experiment)
        self._announced = experiment.name
        return self._status(experiment)

    @toasting
    def stop_experiment(self, request: gr.Request, token: Any) -> None:
        """Stop the running experiment after the current step."""
        self._access.require_owner(request, token, to="stop an experiment")
        self._workspace.experiment_job.stop()

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
    def delete_outcome(self, request: gr.Request, token: Any, group: Any) -> list[Any]:
        """Delete the outcome that the question named, with its runs and checkpoints."""
        self._access.require_owner(request, token, to="delete an experiment's runs")
        self._workspace.experiment_job.delete(group)
        return _not_asking()

    def _open_for_predictions(self, experiment: Experiment) -> bool:
        """Whether the outcome of the newest execution is not known yet."""
        group = self._workspace.groups.latest(experiment.name)
        return group is None or group.outcome is None

    def _show_status(self, request: gr.Request, chosen: Any, has_chosen: Any) -> list[Any]:
        return [self._status(self._shown(chosen, has_chosen))]

    def _status(self, experiment: Experiment) -> Markup:
        view = self._workspace.experiment_job.view()
        group = self._workspace.groups.latest(experiment.name)
        elsewhere = view.state == RUNNING and not _runs(view, experiment)
        people = None
        if self._open_for_predictions(experiment) and not elsewhere:
            people = sum(self._workspace.peoples_predictions.counts(experiment))
        return experiments_view.status(view, group, people, self._other())

    def _updates(self, experiment: Experiment, was_open: bool) -> list[Any]:
        """Return the updates for ``_watched``."""
        view = self._workspace.experiment_job.view()
        running, here = view.state == RUNNING, _runs(view, experiment)
        group = self._workspace.groups.latest(experiment.name)
        if here:
            result: Any = experiments_view.running(view)
        else:
            result = "" if group is None else experiments_view.result(experiment, group)
        is_open = self._open_for_predictions(experiment)
        return [
            result,
            _prediction(is_open=is_open, was_open=was_open, running=here),
            gr.Button(interactive=not (running or self._other())),
            gr.Button(interactive=running and not view.stopping),
            gr.Button(interactive=group is not None and not here),
            is_open,
        ]


def _runs(view: ExperimentView, experiment: Experiment) -> bool:
    running = view.experiment if view.state == RUNNING else None
    return running is not None and running.name == experiment.name


def _prediction(*, is_open: bool, was_open: bool, running: bool) -> gr.Radio:
    """Open or close the predictions; the choice that was made stays ticked."""
    label = "Predict now, while the outcome is unknown" if running else "Predict first"
    if not is_open:
        label = "Predictions are closed: the outcome is known"
    if is_open and not was_open:  # a new run starts without predictions
        return gr.Radio(label=label, interactive=True, value=None)
    return gr.Radio(label=label, interactive=is_open)


def _choices(experiment: Experiment) -> list[tuple[str, int]]:
    return [(choice.text, place) for place, choice in enumerate(experiment.choices)]


def _not_asking() -> list[Any]:
    return [gr.Column(visible=False), gr.skip(), ""]
