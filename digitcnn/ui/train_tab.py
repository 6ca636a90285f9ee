"""The Train tab: start and stop the one training of this process, and watch it from any page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from markupsafe import Markup

from digitcnn.analysis.drawing_check import check_drawings
from digitcnn.digits.set_download import download
from digitcnn.errors import CheckpointError, ConfigError, RunError
from digitcnn.network.filenames import safe_filename
from digitcnn.training.config import TrainingConfig
from digitcnn.training.run_record import RUNNING, RunRecord
from digitcnn.training.view import TrainingView
from digitcnn.ui import experiments_view
from digitcnn.ui.access import WITH_TOKEN_JS, Access
from digitcnn.ui.augmentation_preview import AugmentationPreview
from digitcnn.ui.clock import REFRESH_JS, Clock, Version
from digitcnn.ui.curves import curves
from digitcnn.ui.experiments_section import ExperimentsSection
from digitcnn.ui.job_status import BUSY, busy_status, training_status
from digitcnn.ui.link_settings import link_parameters, linked_config
from digitcnn.ui.parts import PRIVATE
from digitcnn.ui.runs_section import RunsSection, RunsView
from digitcnn.ui.toasts import toasting
from digitcnn.ui.train_settings import (
    Devices,
    TimeEstimate,
    TrainingSettings,
    config_of,
    default_set,
    problems_of,
    quick,
    recipe_values,
    training_sets,
)
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

QUICK_LABEL, START_LABEL = "Quick training", "Start training"

# Settings inside the accordion. A link that changes one of them opens it.
FOLDED = ("network", "augmentation", "dropout", "train_images", "seed")

_WAITING = Markup("Correct the marked setting to see an estimate.")

# On a phone the status is below the buttons, on a low screen it may be above the visible part.
_SHOW_STATUS_JS = bundle.handler("reveal", "#train-status")


@dataclass(frozen=True)
class TrainTabView:
    """What a page shows of the tab: the job's version and state, and the runs."""

    version: int = -1
    state: str = ""
    runs: RunsView = field(default_factory=RunsView)


def build_train_tab(
    workspace: Workspace, access: Access, owner_token: gr.Textbox, clock: Clock, page: gr.Blocks
) -> TrainTab:
    """Build the tab inside an open ``gr.Tab`` of ``page``, and return it.

    owner_token: the hidden field that carries the owner's token to the handlers that need it.
    """
    tab = TrainTab(workspace, access, owner_token)
    tab.connect(clock, page)
    return tab


class TrainTab:
    """The components of the tab and their handlers."""

    def __init__(self, workspace: Workspace, access: Access, owner_token: gr.Textbox) -> None:
        self._workspace, self._access, self._owner_token = workspace, access, owner_token
        computes = Devices(workspace)
        self._devices, self._estimate = computes, TimeEstimate(workspace, computes)
        # Digest of the model that read the sketches last, and the result in words.
        self._checked = ("", "")
        gr.Markdown(
            "Train a model and watch it learn. One run trains at a time; it continues when you "
            "close this page, and everyone with the link sees it.",
            elem_classes="lead-in",
        )
        gr.HTML(render("train/visitor_note.html"), elem_classes="visitor-only")
        settings = self._settings = TrainingSettings(workspace)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300, elem_classes="owner-only"):
                with gr.Row(elem_classes=["train-buttons"]):
                    self.quick = gr.Button(
                        QUICK_LABEL, variant="primary", min_width=90, elem_id="train-quick"
                    )
                    self.start = gr.Button(START_LABEL, min_width=90, elem_id="train-start")
                    self.stop = gr.Button(
                        "Stop",
                        variant="stop",
                        interactive=False,
                        min_width=70,
                        elem_id="train-stop",
                    )
                    # Its place stays empty while there is nothing to resume.
                    self.resume = gr.Button(
                        "Resume", interactive=False, min_width=70, elem_id="train-resume"
                    )
                self.estimate = gr.Markdown(elem_id="train-estimate", min_height=76)
                settings.build_main()
                with gr.Accordion("More settings", open=False) as self.more:
                    settings.build_more()
                    self.preview = AugmentationPreview(workspace)
                    self.link_button = gr.Button("Link to these settings", elem_id="train-link")
                    self.link = gr.Textbox(
                        label="Link",
                        info="Opens this tab with these settings; starts nothing",
                        interactive=False,
                        visible=False,
                        buttons=["copy"],
                        elem_id="train-link-text",
                    )
            with gr.Column(scale=3, min_width=320):
                # Filled when the page is loaded; content built in here would be outdated.
                self.status = gr.HTML(render("train/no_status.html"), elem_id="train-status")
                self.chart = gr.HTML(curves(TrainingView()), elem_id="train-curves")
        self._experiments = ExperimentsSection(workspace, access, owner_token)
        self.runs = RunsSection(workspace, access, settings.recipe)
        # A field of the page: a clock without queue cannot trigger the change of a gr.State.
        self.job_state = gr.Textbox(visible="hidden", show_label=False, elem_id="train-job-state")
        self.view = gr.State(TrainTabView())
        self._watched = [
            self.status,
            self.chart,
            self.start,
            self.quick,
            self.stop,
            self.resume,
            self.runs.table,
            self.job_state,
            self.view,
        ]

    def connect(self, clock: Clock, page: gr.Blocks) -> None:
        """Connect the components to their handlers."""
        settings = self._settings
        self.preview.connect(self.more, settings.digits, settings.augmentation)
        values = [*settings.recipe, settings.device]
        owner: dict[str, Any] = {**PRIVATE, "js": WITH_TOKEN_JS}
        # Else Gradio rounds what was typed, or refuses it in a toast of its own.
        typed = {"preprocess": False, **owner}
        token = self._owner_token
        for button, start in ((self.start, self.start_training), (self.quick, self.start_quick)):
            button.click(start, [token, settings.name, *values], self._watched, **typed).success(
                None, js=_SHOW_STATUS_JS
            ).then(None, js=REFRESH_JS)
        for button, change in (
            (self.stop, self.stop_training),
            (self.resume, self.resume_training),
        ):
            button.click(change, token, self._watched, **owner).then(None, js=REFRESH_JS)
        self.link_button.click(
            self.link_to_settings, values, self.link, preprocess=False, **PRIVATE
        ).success(None, self.link, self.link, js=bundle.handler("wholeAddress"))
        settings.download.click(
            self.download_mnist,
            token,
            [settings.download_status, settings.download, settings.digits],
            **owner,
        )
        estimated: dict[str, Any] = {
            "fn": self.estimate_time,
            "inputs": [token, *values],
            "outputs": [self.estimate, self.quick, self.start],
            **typed,
        }
        for control in values:
            control.change(**estimated)
        page.load(**estimated)
        # Whether a trial is possible has changed.
        self.job_state.change(**estimated)
        page.load(
            self.opening_values,
            None,
            [settings.download, self.more, *settings.recipe],
            queue=False,
            **PRIVATE,
        )
        clock.watch(
            lambda _, view: self._updates(view),
            [self.view],
            self._watched,
            version=self.version,
            status=self.status,
        )
        self._experiments.connect(clock, page)

    def version(self) -> Version:
        """Return the version of an up-to-date page.

        Version and progress of a running training change several times a second, so a page becomes
        stale only with each epoch, and its progress is refreshed in between.
        """
        view = self._workspace.job.view()
        running = view.state == RUNNING
        at = view.stopping if running else view.version
        other = "" if running else self._workspace.job.exclusive.busy
        key = (view.state, at, other, self.runs.view(len(view.history)))
        return Version(key, in_progress=running)

    def opening_values(self, request: gr.Request) -> list[Any]:
        """Return the sets available now, not at the app's start, and the settings of the link."""
        missing = not self._workspace.catalog.has("mnist", "train")
        choices = training_sets(self._workspace)
        config = TrainingConfig(digits=default_set(self._workspace))
        linked = linked_config(request.query_params, config, [name for _, name in choices])
        digits, *others = recipe_values(linked or config)
        changed = {} if linked is None else dict(vars(linked).items() - vars(config).items())
        return [
            gr.Button(visible=missing),
            gr.skip() if changed.keys().isdisjoint(FOLDED) else gr.Accordion(open=True),
            gr.CheckboxGroup(choices, value=digits),
            *(others if linked else [gr.skip()] * len(others)),
        ]

    @toasting
    def link_to_settings(self, *values: Any) -> gr.Textbox:
        """Return the address's parameters that bring these settings back."""
        config, _ = config_of(*values)
        return gr.Textbox("?tab=train&" + urlencode(link_parameters(config)), visible=True)

    @toasting
    def start_training(
        self, request: gr.Request, token: str, name: str | None, *values: Any
    ) -> list[Any]:
        """Start a run with the settings on the page."""
        self._access.require_owner(request, token)
        return self._start(name, *config_of(*values))

    @toasting
    def start_quick(
        self, request: gr.Request, token: str, name: str | None, *values: Any
    ) -> list[Any]:
        """Start a short run: few images and epochs, the other settings as on the page."""
        self._access.require_owner(request, token)
        config, device = config_of(*values)
        return self._start(name, quick(config, self._workspace), device)

    def _start(self, name: str | None, config: TrainingConfig, device: str) -> list[Any]:
        self._workspace.job.start(
            config, safe_filename(str(name or ""), "") or None, self._devices.get(device)
        )
        return self._updates(TrainTabView())

    @toasting
    def stop_training(self, request: gr.Request, token: str) -> list[Any]:
        """Stop the run after the current step."""
        self._access.require_owner(request, token)
        self._workspace.job.stop()
        return self._updates(TrainTabView())

    @toasting
    def resume_training(self, request: gr.Request, token: str) -> list[Any]:
        """Resume the newest run, which ended early."""
        self._access.require_owner(request, token)
        run = self.runs.resumable()
        if not run:
            raise RunError("No run can be resumed now.")
        self._workspace.job.resume(run)
        return self._updates(TrainTabView())

    @toasting
    def estimate_time(self, request: gr.Request, token: str, *values: Any) -> list[Any]:
        """Return what both start buttons start, as Markdown, and the buttons with their times.

        The text for bad settings carries their problems, which ``toasts.js`` moves to the fields.
        """
        if not values[0]:  # as between two choices
            return ["Choose at least one digit set.", gr.skip(), gr.skip()]
        may_try = self._access.is_owner(request, token)
        try:
            config, device = config_of(*values)
            text, (of_quick, of_this) = self._estimate.texts(config, device, may_try=may_try)
        except ConfigError as error:
            # Not raised: after an error Gradio drops the change that came meanwhile.
            problems = Markup().join(
                render("page/field_problem.html", field=each.field, text=str(each))
                for each in problems_of(*values) or [error]
            )
            return [_WAITING + problems, gr.Button(QUICK_LABEL), gr.Button(START_LABEL)]
        text = escape(text, quote=False)
        return [text, gr.Button(QUICK_LABEL + of_quick), gr.Button(START_LABEL + of_this)]

    @toasting
    def download_mnist(self, request: gr.Request, token: str) -> Iterator[list[Any]]:
        """Download MNIST and yield its progress."""
        self._access.require_owner(request, token, to="download a digit set")
        for progress in download(self._workspace.catalog, "mnist"):
            yield [gr.Markdown(escape(progress.message), visible=True), gr.skip(), gr.skip()]
        yield [
            gr.Markdown("MNIST is downloaded.", visible=True),
            gr.Button(visible=False),
            gr.CheckboxGroup(training_sets(self._workspace), value=["mnist"]),
        ]

    def _updates(self, shown: TrainTabView) -> list[Any]:
        """Return the updates for ``_watched``."""
        view = self._workspace.job.view()
        running = view.state == RUNNING
        other = "" if running else self._workspace.job.exclusive.busy
        state = BUSY if other else view.state
        changed = (view.version, state) != (shown.version, shown.state)
        now = TrainTabView(view.version, state, self.runs.view(len(view.history)))
        new_runs = now.runs != shown.runs
        previous, epochs = self.runs.previous(view.run) if changed or new_runs else (None, ())
        return [
            self._status(view, previous, other)
            if changed or new_runs or running or other
            else gr.skip(),
            curves(view, epochs) if changed or new_runs else gr.skip(),
            *[gr.Button(interactive=not (running or other)) if changed else gr.skip()] * 2,
            gr.Button(interactive=running and not view.stopping) if changed else gr.skip(),
            self._resume_button(bool(running or other)) if changed or new_runs else gr.skip(),
            self.runs.html() if new_runs else gr.skip(),
            state if state != shown.state else gr.skip(),
            now if now != shown else gr.skip(),
        ]

    def _resume_button(self, busy: bool) -> gr.Button:
        run = "" if busy else self.runs.resumable()
        return gr.Button(interactive=bool(run))

    def _status(self, view: TrainingView, previous: RunRecord | None, other: str) -> Markup:
        saved = view.ended.checkpoint if view.ended else None
        models = (saved.stem if saved else "", previous.model if previous else "")
        sketches = self._sketches_read(models[0]) if models[0] else ""
        names = list(filter(None, models))
        if other:
            experiment = self._workspace.experiment_job.view()
            done = None
            if experiment.state == RUNNING:
                done = (experiment.share, experiments_view.progress_facts(experiment))
            return busy_status(other, done, view, names, sketches)
        device = self._workspace.compute.name
        return training_status(view, device, names, sketches, self.runs.resumable())

    def _sketches_read(self, model: str) -> str:
        """Return how many of the built-in sketches a model reads; empty where it is gone."""
        try:
            checkpoint = self._workspace.checkpoints.get(model)
        except CheckpointError:
            return ""
        if checkpoint.digest != self._checked[0]:
            self._checked = checkpoint.digest, check_drawings(checkpoint).score
        return self._checked[1]
