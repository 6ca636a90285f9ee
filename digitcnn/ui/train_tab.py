"""The Train tab: start and stop the one training of this process, and watch it from any page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from markupsafe import Markup

from digitcnn.analysis.drawing_check import check_drawings
from digitcnn.errors import CheckpointError, ConfigError, RunError
from digitcnn.network.filenames import safe_filename
from digitcnn.training.config import TrainingConfig
from digitcnn.training.run_record import RUNNING
from digitcnn.training.view import TrainingView
from digitcnn.ui import experiments_view
from digitcnn.ui.clock import REFRESH_JS, Version
from digitcnn.ui.context import Context
from digitcnn.ui.curves import curves
from digitcnn.ui.experiments_section import ExperimentsSection
from digitcnn.ui.job_status import BUSY, busy_status, training_status
from digitcnn.ui.link_settings import link_parameters, linked_config
from digitcnn.ui.parts import PRIVATE
from digitcnn.ui.runs_section import RunsSection
from digitcnn.ui.set_chooser import downloading, set_choices, usual_set
from digitcnn.ui.toasts import toasting
from digitcnn.ui.train_settings import (
    AugmentationPreview,
    Devices,
    TimeEstimate,
    TrainingSettings,
    config_of,
    problems_of,
    quick,
    recipe_values,
)
from digitcnn.web import bundle
from digitcnn.web.templates import render

QUICK_LABEL, START_LABEL = "Quick training", "Start training"

# Settings inside the accordion. A link that changes one of them opens it.
FOLDED = ("network", "augmentation", "dropout", "train_images", "seed")

_WAITING = Markup("Correct the marked setting to see an estimate.")

# On a phone the status is below the buttons, on a low screen it may be above the visible part.
_SHOW_STATUS_JS = bundle.handler("reveal", "#train-status")


def build_train_tab(context: Context) -> gr.HTML:
    """Build the tab inside an open ``gr.Tab``; return its ``RunsSection.tools``."""
    return TrainTab(context).runs.tools


class TrainTab:
    """The components of the tab and their handlers."""

    def __init__(self, context: Context) -> None:
        workspace = self._workspace = context.workspace
        self._access = context.access
        self._devices = Devices(workspace)
        self._estimate = TimeEstimate(workspace, self._devices)
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
        ExperimentsSection(context)
        self.runs = RunsSection(context, settings.recipe)
        # A field of the page: a clock without queue cannot trigger the change of a gr.State.
        self.job_state = gr.Textbox(visible="hidden", show_label=False, elem_id="train-job-state")
        self._connect(context)

    def _connect(self, context: Context) -> None:
        settings = self._settings
        self.preview.connect(self.more, settings.digits, settings.augmentation)
        values = [*settings.recipe, settings.device]
        # Otherwise Gradio rounds what was typed, or rejects it with a toast of its own.
        typed = {"preprocess": False}
        for button, start in ((self.start, self.start_training), (self.quick, self.start_quick)):
            context.with_token(
                button.click, start, [settings.name, *values], self.status, **typed
            ).success(None, js=_SHOW_STATUS_JS).then(None, js=REFRESH_JS)
        context.with_token(self.stop.click, self.stop_training).then(None, js=REFRESH_JS)
        context.with_token(self.resume.click, self.resume_training, outputs=self.status).then(
            None, js=REFRESH_JS
        )
        self.link_button.click(
            self.link_to_settings, values, self.link, preprocess=False, **PRIVATE
        ).success(None, self.link, self.link, js=bundle.handler("wholeAddress"))
        context.with_token(
            settings.download.click,
            self.download_mnist,
            outputs=[settings.download_status, settings.download, settings.digits],
        )
        # The state of the job says whether a trial is possible.
        for event in (
            *(control.change for control in values),
            context.page.load,
            self.job_state.change,
        ):
            estimated = [self.estimate, self.quick, self.start]
            context.with_token(event, self.estimate_time, values, estimated, **typed)
        context.page.load(
            self.opening_values,
            None,
            [settings.download, self.more, *settings.recipe],
            queue=False,
            **PRIVATE,
        )
        watch = context.clock.watch
        watch(
            lambda _: [self._status_html()],
            [],
            [self.status],
            version=self._status_version,
            status=self.status,
        )
        watch(self._show_curves, [], [self.chart], version=self._curves_version)
        buttons = [self.start, self.quick, self.stop, self.resume, self.job_state]
        watch(self._show_buttons, [], buttons, version=self._buttons_version)

    def _busy(self) -> str:
        """Return why no training can start, other than a running one, as ``ExclusiveLock.busy``."""
        job = self._workspace.job
        return "" if job.view().state == RUNNING else job.exclusive.busy

    def _curves_version(self) -> Version:
        """Return the version of the curves.

        Version and progress of a running training change several times a second, so a page becomes
        stale only with each epoch, and its progress is refreshed in between.
        """
        view = self._workspace.job.view()
        running = view.state == RUNNING
        key = (view.state, len(view.history) if running else view.version, self.runs.states())
        return Version(key, in_progress=running)

    def _status_version(self) -> Version:
        curves, other = self._curves_version(), self._busy()
        key = (curves.key, other, self._workspace.job.view().stopping)
        return Version(key, in_progress=curves.in_progress or bool(other))

    def _buttons_version(self) -> Version:
        view = self._workspace.job.view()
        return Version((view.state, view.stopping, bool(self._busy()), self.runs.resumable()))

    def opening_values(self, request: gr.Request) -> list[Any]:
        """Return the sets available now, not at the app's start, and the settings of the link."""
        missing = not self._workspace.catalog.has("mnist", "train")
        choices = set_choices(self._workspace, "train")
        config = TrainingConfig(digits=usual_set(self._workspace, "train"))
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
    ) -> Markup:
        """Start a run with the settings on the page."""
        self._access.require_owner(request, token)
        return self._start(name, *config_of(*values))

    @toasting
    def start_quick(
        self, request: gr.Request, token: str, name: str | None, *values: Any
    ) -> Markup:
        """Start a short run: few images and epochs, the other settings as on the page."""
        self._access.require_owner(request, token)
        config, device = config_of(*values)
        return self._start(name, quick(config, self._workspace), device)

    def _start(self, name: str | None, config: TrainingConfig, device: str) -> Markup:
        self._workspace.job.start(
            config, safe_filename(str(name or ""), "") or None, self._devices.get(device)
        )
        return self._status_html()

    @toasting
    def stop_training(self, request: gr.Request, token: str) -> None:
        """Stop the run after the current step."""
        self._access.require_owner(request, token)
        self._workspace.job.stop()

    @toasting
    def resume_training(self, request: gr.Request, token: str) -> Markup:
        """Resume the newest run, which ended early."""
        self._access.require_owner(request, token)
        run = self.runs.resumable()
        if not run:
            raise RunError("No run can be resumed now.")
        self._workspace.job.resume(run)
        return self._status_html()

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
        workspace = self._workspace

        def done() -> list[Any]:
            choice = gr.CheckboxGroup(set_choices(workspace, "train"), value=["mnist"])
            return ["MNIST is downloaded.", choice]

        yield from downloading(workspace, "mnist", None, done)

    def _show_buttons(self, request: gr.Request) -> list[Any]:
        view, busy = self._workspace.job.view(), bool(self._busy())
        running = view.state == RUNNING
        idle = not (running or busy)
        return [
            gr.Button(interactive=idle),
            gr.Button(interactive=idle),
            gr.Button(interactive=running and not view.stopping),
            gr.Button(interactive=idle and self.runs.resumable() != ""),
            BUSY if busy else view.state,
        ]

    def _show_curves(self, request: gr.Request) -> list[Markup]:
        view = self._workspace.job.view()
        return [curves(view, self.runs.previous(view.run)[1])]

    def _status_html(self) -> Markup:
        view, other = self._workspace.job.view(), self._busy()
        saved = view.ended.checkpoint if view.ended else None
        previous, _ = self.runs.previous(view.run)
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
