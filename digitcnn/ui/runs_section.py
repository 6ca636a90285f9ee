"""The Runs section of the Train tab: a table of all runs, and a menu for each (``run_actions``).

Everyone may look at runs and download their files; only the owner may resume, rename and delete
them. The section's script is ``runs.js``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from digitcnn.analysis.settings_text import setting_name, setting_text
from digitcnn.digits.names import base_of, listed, set_names, written
from digitcnn.errors import RunError
from digitcnn.intervals import accuracy_text
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochResult
from digitcnn.training.run_record import FINISHED, RunRecord
from digitcnn.training.run_results import RunResults
from digitcnn.ui.access import Access
from digitcnn.ui.gradio_private import event_data
from digitcnn.ui.parts import PRIVATE
from digitcnn.ui.run_actions import manager
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


@dataclass(frozen=True)
class RunsView:
    """What a page shows of the runs: their names and states, and the epochs of the running one.

    job: the training's state; a run is finished before its figures and its report are there.
    """

    runs: tuple[tuple[str, str], ...] | None = None
    job: str = ""
    epochs: int = 0


class RunsSection:
    """The section's components, built inside an open tab, and their handlers.

    table: what ``updates`` is for. tools: its ``select`` event carries the models to compare.
    """

    def __init__(self, workspace: Workspace, access: Access, settings: Sequence[Any]) -> None:
        """settings: the controls that ``recipe_values`` gives values for."""
        self._workspace = workspace
        gr.Markdown("### Runs")
        self.tools = gr.HTML(
            render("train/run_tools.html"),
            js_on_load=bundle.on_load("reportRuns"),
            apply_default_css=False,
            server_functions=[manager(workspace, access)],
            elem_id="runs-tools",
        )
        self.table = table_view("runs-table", "runs.css")
        self.tools.click(self.reuse_settings, None, list(settings), **PRIVATE).success(
            None, js=bundle.handler("showStart"), **PRIVATE
        )

    @toasting
    def reuse_settings(self, event: gr.EventData) -> list[Any]:
        """Return the recipe's components, set as in a run."""
        name = event_data(event).get("run")
        config = self._workspace.runs.open(str(name)).record().config
        entries = self._workspace.catalog.entries()
        known = {entry.name for entry in entries if entry.split == "train"}
        gone = [name for name in set_names(config.digits) if name not in known]
        if gone:
            raise RunError(
                f"Digit set {gone[0]} of run '{name}' is no longer available; restore it or "
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

    def view(self, epochs: int) -> RunsView:
        """Return the view of an up-to-date page. epochs: finished ones of the running run."""
        states = tuple((record.name, record.state) for record in self._workspace.runs.records())
        return RunsView(states, self._workspace.job.view().state, epochs)

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
        # How many images is always asked: a quick training uses few.
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
