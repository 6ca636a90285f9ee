"""The Train tab: start and stop the one training of this process, and watch it from any page."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from html import escape
from typing import Any

import gradio as gr

from digitcnn.analysis.metrics import accuracy_text
from digitcnn.digits.digit_set import HELD_OUT_SHARE
from digitcnn.errors import ConfigError, DigitCNNError
from digitcnn.network import device as devices
from digitcnn.options import DEVICES
from digitcnn.training.config import RANGES, TrainingConfig
from digitcnn.training.estimate import Stopwatch
from digitcnn.training.run_record import RUNNING
from digitcnn.training.view import TrainingView
from digitcnn.ui.access import Access
from digitcnn.ui.clock import Clock, News
from digitcnn.ui.curves import curves
from digitcnn.ui.learning_rate import learning_rate_slider
from digitcnn.ui.runs_section import RunsSection, Seen
from digitcnn.ui.toasts import toasting
from digitcnn.ui.wording import duration
from digitcnn.workspace import Workspace

# Epochs, batch size and training images of a first try: a minute or two on two cores.
QUICK = (8, 64, 3_000)

UNSEEN = "The state cannot be shown; the terminal that runs digitcnn says why."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watching:
    """What the page shows already: the job's version and state, and the runs."""

    version: int = -1
    state: str = ""
    runs: Seen = field(default_factory=Seen)


class Devices:
    """The devices of this machine, each tried once, however often the page asks."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._tried: dict[str, devices.Compute | ConfigError] = {}

    def get(self, device: str) -> devices.Compute:
        """Raises ConfigError where a named device is unknown, absent or failed its trial."""
        if device == "auto":
            return self._workspace.compute
        if device not in DEVICES:
            return devices.choose(device)
        with self._lock:
            if device not in self._tried:
                try:
                    self._tried[device] = devices.choose(device)
                except ConfigError as error:
                    self._tried[device] = error
            found = self._tried[device]
        if isinstance(found, ConfigError):
            raise ConfigError(str(found))
        return found


def build_train_tab(
    workspace: Workspace,
    access: Access,
    owner_token: gr.Textbox,
    clock: Clock,
    page: gr.Blocks,
) -> None:
    """Build the tab inside an open ``gr.Tab`` of ``page``.

    owner_token: the hidden field that carries the owner's token to the handlers that need it.
    """
    recipe = TrainingConfig()
    stopwatch = Stopwatch()
    computes = Devices(workspace)
    gr.Markdown(
        "Train the network on a digit set and watch it learn. One training runs at a time; it "
        "goes on when this page is closed, and everyone with the link sees the same one."
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300):
            digits = gr.Dropdown(
                _training_sets(workspace),
                value=_default_set(workspace),
                label="Digit set",
                info="what the network learns from",
                elem_id="train-digits",
            )
            fetch = gr.Button(
                "Fetch MNIST (11 MB)",
                size="sm",
                visible=not workspace.catalog.has("mnist", "train"),
                elem_id="train-fetch",
            )
            fetch_status = gr.Markdown(elem_id="train-fetch-status", visible=False)
            epochs = gr.Slider(
                1,
                200,
                value=recipe.epochs,
                step=1,
                label="Epochs",
                info="passes over the training images",
                elem_id="train-epochs",
            )
            batch_size = gr.Slider(
                16,
                1024,
                value=recipe.batch_size,
                step=1,
                label="Batch size",
                info="images per step",
                elem_id="train-batch-size",
            )
            learning_rate = learning_rate_slider(recipe.learning_rate, *RANGES["learning_rate"])
            estimate = gr.Markdown(elem_id="train-estimate", min_height=30)
            with gr.Row(elem_classes=["train-buttons"]):
                start = gr.Button("Start", variant="primary", min_width=90, elem_id="train-start")
                stop = gr.Button(
                    "Stop", variant="stop", interactive=False, min_width=90, elem_id="train-stop"
                )
                brief = gr.Button("Quick try", min_width=90, elem_id="train-quick")
            with gr.Accordion("More", open=False) as more:
                seed = gr.Number(
                    recipe.seed,
                    label="Seed",
                    info="of weights, order, augmentation and dropout",
                    precision=0,
                    elem_id="train-seed",
                )
                name = gr.Textbox(
                    label="Run name",
                    info="of the run's folder and checkpoint; empty: digit set and time",
                    max_length=60,
                    elem_id="train-name",
                )
                train_images = gr.Number(
                    0,
                    label="Training images",
                    info="learn from only so many; 0: all that are not held out",
                    precision=0,
                    elem_id="train-images",
                )
                augmentation = gr.Checkbox(
                    recipe.augmentation,
                    label="Augmentation",
                    info="each batch changed at random: turned, shifted, scaled, sheared, redrawn",
                    elem_id="train-augmentation",
                )
                device = gr.Dropdown(
                    list(DEVICES),
                    value="auto",
                    label="Device",
                    info=f"auto is {workspace.compute} here. {workspace.compute.note}".strip(),
                    elem_id="train-device",
                )
        with gr.Column(scale=3, min_width=320):
            # Filled when the page is loaded: a state baked into the page would be yesterday's.
            status = gr.HTML('<div class="status"></div>', elem_id="train-status")
            chart = gr.HTML(curves(TrainingView()), elem_id="train-curves")
    recipe_controls = [
        digits,
        epochs,
        batch_size,
        learning_rate,
        seed,
        train_images,
        augmentation,
    ]
    section = RunsSection(workspace, access, owner_token, recipe_controls)
    # A field of the page: a change of a gr.State by a clock without queue starts nothing.
    job_state = gr.Textbox(visible="hidden", show_label=False, elem_id="train-job-state")
    seen = gr.State(Watching())

    settings = [*recipe_controls, device]
    watched = [status, chart, start, stop, *section.watched, job_state, seen]
    failures = _FailuresToldOnce()

    def watch(request: gr.Request, seen: Watching, chosen: str | None) -> list[Any]:
        """Runs by itself on every page, so what it cannot show is no toast but a line."""
        try:
            updates = _look(workspace, section, seen, chosen)
        except Exception as error:
            return [failures.tell(error), *[gr.skip()] * (len(watched) - 1)]
        failures.over()
        return updates

    def sets_here() -> tuple[gr.Dropdown, gr.Button]:
        """What is on this machine now, not when the app was started."""
        missing = not workspace.catalog.has("mnist", "train")
        return (
            gr.Dropdown(_training_sets(workspace), value=_default_set(workspace)),
            gr.Button(visible=missing),
        )

    @toasting
    def begin(request: gr.Request, token: str, run_name: str | None, *values: Any) -> list[Any]:
        access.require_owner(request, token)
        config, wanted = _config(*values)
        run = workspace.job.start(config, (run_name or "").strip() or None, computes.get(wanted))
        return _look(workspace, section, Watching(), run, choose=True)

    @toasting
    def end(request: gr.Request, token: str, chosen: str | None) -> list[Any]:
        access.require_owner(request, token)
        workspace.job.stop()
        return _look(workspace, section, Watching(), chosen)

    @toasting
    def guess(request: gr.Request, token: str, *values: Any) -> str:
        may_try = access.is_owner(request, token)
        return _estimate(workspace, computes, stopwatch, may_try, *values)

    @toasting
    def fetch_mnist(request: gr.Request, token: str) -> Iterator[list[Any]]:
        access.require_owner(request, token, to="fetch a digit set")
        yield from _fetch(workspace)

    owner: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "js": access.WITH_TOKEN_JS,
    }
    chosen = section.chosen
    start.click(begin, [owner_token, name, *settings], watched, **owner).success(
        None, js=_SHOW_STATUS_JS
    )
    stop.click(end, [owner_token, chosen], watched, **owner)
    brief.click(
        lambda: [*QUICK, gr.Accordion(open=True)],
        None,
        [epochs, batch_size, train_images, more],
        queue=False,
        api_visibility="private",
        show_progress="hidden",
    )
    fetch.click(fetch_mnist, [owner_token], [fetch_status, fetch, digits], **owner)
    guessed: dict[str, Any] = {
        "fn": guess,
        "inputs": [owner_token, *settings],
        "outputs": estimate,
        **owner,
    }
    for control in (digits, epochs, batch_size, train_images, augmentation, device):
        control.change(**guessed)
    page.load(**guessed)
    # A run that begins or ends says whether a trial would be in its way.
    job_state.change(**guessed)
    quiet: dict[str, Any] = {
        "api_visibility": "private",
        "show_progress": "hidden",
        "queue": False,
    }
    page.load(sets_here, None, [digits, fetch], **quiet)
    clock.watch(
        watch,
        [seen, chosen],
        watched,
        news=lambda: _news(workspace, section),
        seen_in="train-status",
    )


# On a phone the status is below the buttons, on a low screen it may be above what is seen.
_SHOW_STATUS_JS = (
    "() => document.querySelector('#train-status').scrollIntoView({ block: 'nearest' })"
)


class _FailuresToldOnce:
    """What a handler that runs by itself says when it fails: a line, and one report."""

    def __init__(self) -> None:
        self._told = ""

    def tell(self, error: Exception) -> str:
        """The status line; whatever is new goes to the terminal as well, with its traceback."""
        text = str(error) if isinstance(error, DigitCNNError) else UNSEEN
        if self._told != f"{type(error)} {error}":
            self._told = f"{type(error)} {error}"
            log.error("The state of the training cannot be shown", exc_info=error)
        return f'<div class="status"><div class="status-line">{escape(text)}</div></div>'

    def over(self) -> None:
        self._told = ""


def _training_sets(workspace: Workspace) -> list[tuple[str, str]]:
    """Choices of the digit set: every set with a training file, absent ones marked."""
    choices = []
    for entry in workspace.catalog.entries():
        if entry.split == "train":
            count = f"{entry.n:,} images" if entry.present else "not downloaded"
            state = count if entry.problem is None else "damaged"
            choices.append((f"{entry.name} ({state})", entry.name))
    return choices


def _default_set(workspace: Workspace) -> str:
    """Return MNIST if it is available, or damaged: its problem is then shown by the estimate."""
    mnist = workspace.catalog.entry("mnist", "train")
    return "mnist" if mnist.present or mnist.problem else "synthetic"


def _config(
    digits: str,
    epochs: float,
    batch_size: float,
    learning_rate: float,
    seed: float,
    train_images: float | None,
    augmentation: bool,
    device: str,
) -> tuple[TrainingConfig, str]:
    """The controls' values as a configuration and a device. Raises ConfigError."""
    config = TrainingConfig(
        digits=digits,
        epochs=_whole(epochs),
        batch_size=_whole(batch_size),
        learning_rate=learning_rate,
        seed=_whole(seed),
        # 0 says all: an emptied number field sends 0 as well.
        train_images=_whole(train_images) if train_images else None,
        augmentation=augmentation,
    )
    return config, device


def _whole(value: Any) -> Any:
    """A slider's 12.0 as 12; anything that is no whole number stays, to be refused by name."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _estimate(
    workspace: Workspace, computes: Devices, stopwatch: Stopwatch, may_try: bool, *values: Any
) -> str:
    config, device = _config(*values)
    if not _idle(workspace):
        return "How long this would take is measured once the running training has ended."
    compute = computes.get(device)
    entry = workspace.catalog.entry(config.digits, "train")
    if entry.problem is not None:
        return escape(entry.problem)
    n = entry.n
    if n is None:
        return f"{config.digits} is not on this machine yet: fetch it, or take synthetic."
    seconds = stopwatch.seconds(
        config, n, compute, may_try=may_try, undisturbed=lambda: _idle(workspace)
    )
    if seconds is None:
        return "" if may_try else "How long this takes is measured when the owner asks."
    images = config.train_images or n - max(1, n // HELD_OUT_SHARE)
    return (
        f"About **{duration(seconds)}** for {images:,} images an epoch on {compute}; then up to a "
        "minute or so for scores and figures."
    )


def _idle(workspace: Workspace) -> bool:
    return workspace.job.exclusive.free


def _fetch(workspace: Workspace) -> Iterator[list[Any]]:
    for progress in workspace.catalog.download("mnist"):
        done = f"{progress.done / 1e6:.1f}"
        total = f" of {progress.total / 1e6:.1f}" if progress.total else ""
        text = f"{progress.file}: {done}{total} MB {progress.message}"
        yield [gr.Markdown(text, visible=True), gr.skip(), gr.skip()]
    yield [
        gr.Markdown("MNIST is here.", visible=True),
        gr.Button(visible=False),
        gr.Dropdown(_training_sets(workspace), value="mnist"),
    ]


def _news(workspace: Workspace, section: RunsSection) -> News:
    """While it runs, version and progress change several times a second: a page is behind with
    every epoch, and moves in between."""
    view = workspace.job.view()
    running = view.state == RUNNING
    at = view.stopping if running else view.version
    return News((view.state, at, section.seen(len(view.history))), moving=running)


def _look(
    workspace: Workspace,
    section: RunsSection,
    seen: Watching,
    chosen: str | None,
    *,
    choose: bool = False,
) -> list[Any]:
    """Updates for status, chart, start, stop, the runs, the job's state and ``seen``.

    choose: whether ``chosen`` becomes the page's chosen run.
    """
    view = workspace.job.view()
    running = view.state == RUNNING
    news = view.version != seen.version
    updates, shown = section.look(seen.runs, chosen, len(view.history), choose=choose)
    now = Watching(view.version, view.state, shown)
    return [
        _status(view, workspace) if news or running else gr.skip(),
        curves(view) if news else gr.skip(),
        gr.Button(interactive=not running) if news else gr.skip(),
        gr.Button(interactive=running and not view.stopping) if news else gr.skip(),
        *updates,
        view.state if view.state != seen.state else gr.skip(),
        now if now != seen else gr.skip(),
    ]


def _status(view: TrainingView, workspace: Workspace) -> str:
    """The state in one word, what it means, and, while running, how far it is."""
    return (
        f'<div class="status" data-state="{view.state}">'
        f'<div class="status-line"><strong>{view.state}</strong> {_sentence(view, workspace)}</div>'
        f"{_bar(view)}</div>"
    )


def _sentence(view: TrainingView, workspace: Workspace) -> str:
    if view.started is None or view.config is None:
        return f"on {workspace.compute}. Press Start to train."
    run = f"<em>{escape(view.run)}</em>"
    if view.state != RUNNING:
        return f"{run}: {escape(view.message)}"
    elapsed = (datetime.now(timezone.utc) - view.started).total_seconds()
    phase = view.phase
    if view.stopping:
        training = phase in ("starting", "training")
        phase = "stopping after this batch" if training else f"{phase}, stopping after it"
    return f"{run}, {escape(phase)}, {duration(elapsed)} so far on {escape(view.compute)}"


def _bar(view: TrainingView) -> str:
    progress = view.progress
    share = progress.step / progress.steps if progress else 0.0
    if view.state != RUNNING and view.config:
        share = len(view.history) / view.config.epochs  # what a resume would go on from
    facts = "&nbsp;"
    if progress and view.state == RUNNING:
        facts = (
            f"epoch {progress.epoch} of {progress.epochs} · "
            f"{progress.images_per_second:,.0f} images per second"
        )
        if progress.step < progress.steps:
            facts += f" · last epoch done in {duration(progress.seconds_left)}"
    elif view.history and view.config:
        last = view.history[-1]
        facts = (
            f"{accuracy_text(last.accuracy, last.held_out)} on the held-out images of "
            f"{escape(view.config.digits)} after epoch {last.epoch}"
        )
    return (
        f'<div class="bar" role="progressbar" aria-label="Training progress" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * share:.0f}">'
        f'<div style="width: {100 * share:.1f}%"></div></div><div class="facts">{facts}</div>'
    )
