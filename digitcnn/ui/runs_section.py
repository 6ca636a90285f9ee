"""The Runs section of the Train tab: a table of all runs, and what the menu of each does.

Everyone may look at runs and download their files; only the owner may resume, rename and delete
them. The section's script is ``runs.js``. Files are read by ``Run.read_file``: the page never
serves a path of the output folder.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from digitcnn.analysis.settings_text import setting_name, setting_text
from digitcnn.digits.names import base_of, listed, set_names, written
from digitcnn.errors import RunError
from digitcnn.intervals import accuracy_text
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.filenames import safe_filename
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochResult
from digitcnn.training.report import REPORT
from digitcnn.training.run_record import FINISHED, RunRecord
from digitcnn.training.run_results import RunResults
from digitcnn.ui.access import Access
from digitcnn.ui.calls import Payload, file_reply, replying
from digitcnn.ui.clock import Version
from digitcnn.ui.context import Context
from digitcnn.ui.gradio_private import event_data
from digitcnn.ui.parts import PRIVATE, html_view, zipped
from digitcnn.ui.tables import DASH, Cell, Value, interval_cell, table, table_view, two_lines
from digitcnn.ui.toasts import toasting
from digitcnn.ui.train_settings import recipe_values
from digitcnn.ui.wording import counted
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# Before the settings, and after them: a phone shows the accuracy without scrolling.
FIRST = ("Run", "State", "Test accuracy (95%)", "Held-out accuracy (95%)", "Digit set")
LAST = ("Epochs", "Seed", "Started (UTC)")

# Columns of their own where the runs differ in them. More are folded, so that the last is in sight.
SETTINGS = ("network", "train_images", "augmentation", "learning_rate", "batch_size", "dropout")
MOST_SETTINGS = 4


class RunsSection:
    """The section's components, built inside an open tab, and their handlers.

    tools: its ``select`` event carries the models to compare, ``{"models"}``.
    """

    def __init__(self, context: Context, settings: Sequence[Any]) -> None:
        """settings: the controls that ``recipe_values`` gives values for."""
        self._workspace = context.workspace
        gr.Markdown("### Runs")
        self.tools = html_view(
            "runs-tools",
            value=render("train/run_tools.html"),
            js_on_load=bundle.on_load("reportRuns"),
            server_functions=[manager(context.workspace, context.access)],
        )
        runs = table_view("runs-table", "runs.css")
        self.tools.click(self.reuse_settings, None, list(settings), **PRIVATE).success(
            None, js=bundle.handler("showStart"), **PRIVATE
        )
        context.clock.watch(
            lambda _: [self.html()], [], [runs], version=lambda: Version(self.states())
        )

    @toasting
    def reuse_settings(self, event: gr.EventData) -> list[Any]:
        """Return the recipe's components, set as in a run."""
        name = event_data(event).get("run")
        config = self._workspace.runs.open(str(name)).record().config
        entries = self._workspace.catalog.entries()
        known = {entry.name for entry in entries if entry.split == "train"}
        missing = [name for name in set_names(config.digits) if name not in known]
        if missing:
            raise RunError(
                f"Digit set {missing[0]} of run '{name}' is no longer available; restore it or "
                "choose another run."
            )
        text = f"Settings of {escape(str(name))} are filled in; press Start training."
        gr.Info(text)
        return recipe_values(config)

    def previous(self, run: str) -> tuple[RunRecord | None, tuple[EpochResult, ...]]:
        """Return the last finished run before ``run``, and its epochs; experiments do not count."""
        records = iter(self._workspace.runs.records())  # newest first
        if not any(record.name == run for record in records):
            return None, ()
        for record in records:
            if record.state == FINISHED and not record.group:
                with contextlib.suppress(RunError):
                    return record, self._workspace.runs.open(record.name).results.history()
        return None, ()

    def resumable(self) -> str:
        """Return the name of the newest run, except experiments', if it can be resumed."""
        own = (record for record in self._workspace.runs.records() if not record.group)
        newest = next(own, None)
        return newest.name if newest and newest.resumable else ""

    def states(self) -> tuple[Hashable, ...]:
        """Return everything that the table depends on.

        A run is finished before its figures and its report exist, so the job's state counts.
        """
        view = self._workspace.job.view()
        states = [(record.name, record.state) for record in self._workspace.runs.records()]
        return view.state, len(view.history), *states

    def html(self) -> str:
        """Render the table."""
        records = self._workspace.runs.records()
        if not records:
            return render("paragraphs.html", sentences=["No runs yet."])
        groups: dict[str, list[RunRecord]] = {}
        own: list[tuple[RunRecord, RunResults]] = []
        for record in records:
            if record.group:
                groups.setdefault(record.group, []).append(record)
                continue
            with contextlib.suppress(RunError):  # deleted since it was listed
                own.append((record, self._workspace.runs.open(record.name).results))
        settings = _differing([record.config for record, _ in own])
        rows = [_row(record, results, settings) for record, results in own]
        rows += [_group_row(group, members, settings) for group, members in groups.items()]
        names = [setting_name(key) for key in settings]
        return table(
            (*FIRST, *names, *LAST),
            rows,
            label="Runs, newest first, then experiments",
            advanced=[*names[MOST_SETTINGS:], "Seed"],
            file_name="runs.csv",
        )


def _differing(configs: Sequence[TrainingConfig]) -> list[str]:
    """Return those of SETTINGS in which the runs differ, and the images in any case."""
    return [
        key
        for key in SETTINGS
        # The number of images is always shown: a quick training uses few.
        if key == "train_images" or len({getattr(config, key) for config in configs}) > 1
    ]


def _setting(config: TrainingConfig, key: str) -> Cell:
    value, text = getattr(config, key), setting_text(config.to_json(), key)
    order = math.inf if value is None else text if isinstance(value, bool) else value
    return Cell(text, order)


def _row(record: RunRecord, results: RunResults, settings: Sequence[str]) -> list[Value]:
    history, metrics = results.history(), results.metrics()
    held_out = _accuracy(history[-1].accuracy, history[-1].held_out) if history else DASH
    tested = next((metrics[n] for n in set_names(record.config.digits) if n in metrics), None)
    test = _accuracy(tested["accuracy"], tested["n"]) if tested else DASH
    return [
        Cell(render("train/run_cell.html", run=record), record.name),
        record.state,
        test,
        held_out,
        listed(record.config.digits),
        *(_setting(record.config, key) for key in settings),
        Cell(f"{len(history)} of {record.config.epochs}", len(history)),
        Cell(str(record.config.seed), record.config.seed),
        _time(record),
    ]


def _accuracy(accuracy: float, n: int) -> Cell:
    return interval_cell(accuracy_text(accuracy, n), accuracy)


def _time(record: RunRecord) -> Cell:
    day, time = record.created[:10], record.created[11:16]
    return two_lines(day, time, f"{day} {time}")


def _group_row(group: str, members: Sequence[RunRecord], settings: Sequence[str]) -> list[Value]:
    """Return one row for the runs of an experiment, newest first."""
    seeds = sorted({record.config.seed for record in members})
    states = ", ".join(sorted({record.state for record in members}))
    return [
        f"{group} ({counted(len(members), 'run')})",
        states,
        DASH,
        DASH,
        written(base_of(members[0].config.digits)),
        *["–" for _ in settings],
        DASH,
        Cell(", ".join(map(str, seeds)), seeds[0] if len(seeds) == 1 else math.inf),
        _time(members[-1]),
    ]


def manager(workspace: Workspace, access: Access) -> Callable[[Any, gr.Request], Payload]:
    """Return ``manage_run``, which does what a run's menu offers.

    It takes ``{"owner", "run", "action"}``, accepts any JSON, and never raises. Only the owner may
    ``resume``, ``rename`` to ``{"name"}`` and ``delete``, with ``{"with_model": true}`` the model
    too, which return the run's new name as ``{"run"}``; ``report``, ``model`` and ``files`` return
    a file as ``{"name", "type", "content": base64}``. ``safe-name`` returns ``{"run"}``, the name
    that a run renamed to ``{"name"}`` would get; empty if no character of it is allowed.
    """

    @replying
    def manage_run(payload: Payload, request: gr.Request) -> Payload:
        name, action = payload.get("run"), payload.get("action")
        if action == "safe-name":
            return {"run": _safe_name(payload)}
        if isinstance(action, str) and action in OWNER_ACTIONS:
            access.require_owner(request, payload.get("owner"), to=f"{action} a run")
            return {"run": OWNER_ACTIONS[action](workspace, str(name), payload)}
        return file_of(workspace, str(name), action)

    return manage_run


def _resume(workspace: Workspace, name: str, _: Payload) -> str:
    return workspace.job.resume(name)


def _rename(workspace: Workspace, name: str, sent: Payload) -> str:
    new = _safe_name(sent)
    if not new:
        raise RunError("The new name has no letters from A to Z and no digits; add some.")
    run = workspace.runs.open(name)
    return name if new == run.name else workspace.job.rename(name, new)


def _safe_name(sent: Payload) -> str:
    typed = sent.get("name")
    return safe_filename(typed if isinstance(typed, str) else "", "")


def _delete(workspace: Workspace, name: str, sent: Payload) -> str:
    model = _deletable_model(workspace, name) if sent.get("with_model") is True else ""
    workspace.job.delete(name)
    if model:
        workspace.checkpoints.delete(model)
    return ""


OWNER_ACTIONS: Mapping[str, Callable[[Workspace, str, Payload], str]] = {
    "resume": _resume,
    "rename": _rename,
    "delete": _delete,
}


def _deletable_model(workspace: Workspace, name: str) -> str:
    """Return the name of a run's model; empty if its file is gone.

    Raises RunError if another run has the same model, or the file has changed since.
    """
    record = workspace.runs.open(name).record()
    models = {one.name: one for one in workspace.checkpoints.list()}
    if record.model not in models:
        return ""
    model = models[record.model]
    others = [
        one.name
        for one in workspace.runs.records()
        if one.model == record.model and one.name != name
    ]
    if others:
        why = f"is also the model of run '{others[0]}'"
    elif not isinstance(model, Checkpoint) or model.digest != record.digest:
        why = f"is no longer the model that run '{name}' saved"
    else:
        return record.model
    raise RunError(f"{record.checkpoint} {why}; delete the run without it.")


def file_of(workspace: Workspace, name: str, kind: Any) -> Payload:
    """Return a run's ``report``, its ``model`` or a zip of all ``files``. Raises DigitCNNError."""
    run = workspace.runs.open(name)
    if kind == "report":
        if REPORT not in run.list_files():
            raise RunError(f"Run '{name}' has no report; it is written when a run ends.")
        file, media_type, content = f"{name}.html", "text/html", run.read_file(REPORT)
    elif kind == "model":
        record = run.record()
        if record.checkpoint is None:
            raise RunError(f"Run '{name}' has no model; it is saved when a run ends.")
        file, media_type = record.checkpoint, "application/octet-stream"
        content = _model_file(workspace, record.model)
    elif kind == "files":
        file, media_type = f"{name}.zip", "application/zip"
        content = zipped((each, run.read_file(each)) for each in run.list_files())
    else:
        raise RunError("This action is unknown; reload the page.")
    return file_reply(file, media_type, content)


def _model_file(workspace: Workspace, name: str) -> bytes:
    path = workspace.checkpoints.get(name).path
    assert path is not None, "a checkpoint of the folder is a file"
    return path.read_bytes()
