"""The Runs section of the Train tab: a table of all runs, and actions on one of them.

Everyone may view runs, reuse their settings and download their files; only the owner may resume,
rename and delete them. Downloads are copies of the result of ``read_file``: the page never serves
a path of the output folder.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import gradio as gr

from digitcnn.digits.names import base_of, listed, set_names
from digitcnn.errors import RunError
from digitcnn.intervals import accuracy_text
from digitcnn.network.filenames import safe_filename
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochResult
from digitcnn.training.run_files import list_files, read_file
from digitcnn.training.run_record import FINISHED, RunRecord
from digitcnn.training.run_results import RunResults
from digitcnn.ui.access import Access
from digitcnn.ui.gradio_private import save_bytes_to_cache
from digitcnn.ui.parts import PRIVATE
from digitcnn.ui.tables import Cell, Value, table, table_view
from digitcnn.ui.toasts import toasting
from digitcnn.ui.train_settings import recipe_values
from digitcnn.workspace import Workspace

COLUMNS = (
    "Run",
    "State",
    "Digit set",
    "Epochs",
    "Seed",
    "Test accuracy (95%)",
    "Held-out accuracy (95%)",
    "Started (UTC)",
)

# Columns that are shown where the runs differ in them, before the epochs.
SETTINGS: Mapping[str, Callable[[TrainingConfig], Value]] = {
    "Network": lambda config: config.network,
    "Learning rate": lambda config: Cell(f"{config.learning_rate:g}", config.learning_rate),
    "Batch size": lambda config: Cell(str(config.batch_size), config.batch_size),
    "Images": lambda config: (
        Cell(f"{config.train_images:,}", config.train_images)
        if config.train_images
        else Cell("all", math.inf)
    ),
    "Augmentation": lambda config: "on" if config.augmentation else "off",
    "Dropout": lambda config: "on" if config.dropout else "off",
}

# Only for handlers that raise nothing: Gradio shows no error of a handler outside its queue.
_AT_ONCE: dict[str, Any] = {**PRIVATE, "queue": False}


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

    watched: the components that ``updates`` is for. chosen: the dropdown of the chosen run.
    """

    def __init__(
        self,
        workspace: Workspace,
        access: Access,
        owner_token: gr.Textbox,
        settings: Sequence[Any],
    ) -> None:
        """settings: the controls that ``recipe_values`` gives values for."""
        self._workspace, self._access = workspace, access
        gr.Markdown("### Runs")
        self.table = table_view(elem_id="runs-table")
        with gr.Row(elem_classes="model-row"):
            self.chosen = gr.Dropdown(
                [],
                label="Run",
                info="Resume it, reuse its settings or manage it",
                scale=3,
                elem_id="train-resume-run",
            )
            self.resume = gr.Button(
                "Resume", scale=1, min_width=120, interactive=False, elem_id="train-resume"
            )
            self.reuse = gr.Button("Reuse settings", scale=1, elem_id="runs-reproduce")
        with gr.Accordion("Manage run", open=False, elem_id="runs-more"):
            self._build_files()
            self._build_rename()
            self._build_delete()
        self.watched = [self.table, self.chosen, self.resume, self.file]
        self._connect(owner_token, settings)

    def _build_files(self) -> None:
        with gr.Row(elem_classes="model-row"):
            self.file = gr.Dropdown(
                [],
                label="Run file",
                info="report.html is the whole run in one page",
                scale=3,
                elem_id="runs-file",
            )
            self.download = gr.DownloadButton(
                "Download", scale=1, min_width=120, interactive=False, elem_id="runs-download"
            )

    def _build_rename(self) -> None:
        with gr.Row(elem_classes="model-row"):
            self.new_name = gr.Textbox(
                label="New name",
                info="Renames the folder; the checkpoint keeps its name",
                max_length=60,
                scale=3,
                elem_id="runs-new-name",
            )
            self.rename = gr.Button("Rename", scale=1, min_width=120, elem_id="runs-rename")

    def _build_delete(self) -> None:
        self.delete = gr.Button("Delete run…", variant="stop", elem_id="runs-delete")
        with gr.Column(visible=False, elem_id="runs-confirm") as self.confirmation:
            self.question = gr.Markdown(elem_id="runs-question")
            with gr.Row():
                self.confirm = gr.Button("Delete run", variant="stop", elem_id="runs-delete-yes")
                self.cancel = gr.Button("Cancel", elem_id="runs-delete-no")
        self.to_delete = gr.State("")  # the run that the question is about

    def _connect(self, owner_token: gr.Textbox, settings: Sequence[Any]) -> None:
        asking = [self.confirmation, self.question, self.to_delete]
        owner: dict[str, Any] = {**PRIVATE, "js": self._access.WITH_TOKEN_JS}
        self.chosen.change(
            self.choose_run, self.chosen, [self.resume, self.file, *asking], **_AT_ONCE
        )
        self.file.change(self.offer_file, [self.chosen, self.file], self.download, **PRIVATE)
        self.reuse.click(self.reuse_settings, self.chosen, list(settings), **PRIVATE)
        self.resume.click(self.resume_run, [owner_token, self.chosen], self.watched, **owner)
        self.rename.click(
            self.rename_run,
            [owner_token, self.chosen, self.new_name],
            [*self.watched, self.new_name],
            **owner,
        )
        self.delete.click(self.ask_to_delete, self.chosen, asking, **PRIVATE)
        self.cancel.click(_not_asking, None, asking, **_AT_ONCE)
        self.confirm.click(
            self.delete_run, [owner_token, self.to_delete], [*self.watched, *asking], **owner
        )

    @toasting
    def choose_run(self, name: str | None) -> list[Any]:
        """Show another run's files, and no question about the previous one."""
        return [*self._chosen_updates(name), *_not_asking()]

    @toasting
    def reuse_settings(self, name: str | None) -> list[Any]:
        """Return the recipe's components, set as in a run."""
        config = self._workspace.runs.open(_required(name)).record().config
        entries = self._workspace.catalog.entries()
        known = {entry.name for entry in entries if entry.split == "train"}
        gone = [name for name in set_names(config.digits) if name not in known]
        if gone:
            raise RunError(
                f"Digit set {gone[0]} of run '{name}' is no longer available; restore it or "
                "choose another run."
            )
        return recipe_values(config)

    @toasting
    def resume_run(self, request: gr.Request, token: str, name: str | None) -> list[Any]:
        """Resume a run that ended early."""
        self._access.require_owner(request, token, to="resume a run")
        self._workspace.job.resume(_required(name))
        return self._all_updates(name)

    @toasting
    def rename_run(
        self, request: gr.Request, token: str, name: str | None, new: str | None
    ) -> list[Any]:
        """Rename a run and its folder."""
        self._access.require_owner(request, token, to="rename a run")
        renamed = self._workspace.job.rename(_required(name), safe_filename(new or "", ""))
        return [*self._all_updates(renamed), ""]

    @toasting
    def ask_to_delete(self, name: str | None) -> list[Any]:
        """Show the question whether to delete a run."""
        record = self._workspace.runs.open(_required(name)).record()
        checkpoint = f" Checkpoint {record.checkpoint} is kept." if record.checkpoint else ""
        text = f"Permanently delete run **{record.name}** and all its files?{checkpoint}"
        return [gr.Column(visible=True), text, record.name]

    @toasting
    def delete_run(self, request: gr.Request, token: str, name: str) -> list[Any]:
        """Delete the run that the question named."""
        self._access.require_owner(request, token, to="delete a run")
        self._workspace.job.delete(name)
        return [*self._all_updates(None), *_not_asking()]

    @toasting
    def offer_file(self, name: str | None, file: str | None) -> gr.DownloadButton:
        """Return the download button for one of a run's files."""
        if not file:
            return gr.DownloadButton(value=None, interactive=False)
        content = read_file(self._workspace.runs.open(name or ""), file)
        # Named by its content, so that repeated downloads store the file once.
        path = save_bytes_to_cache(content, PurePath(file).name, self.download.GRADIO_CACHE)
        return gr.DownloadButton(value=path, interactive=True)

    def previous(self, run: str) -> tuple[str, tuple[EpochResult, ...]]:
        """Return the name and the epochs of the finished run before ``run``, experiments' not."""
        names = [
            record.name
            for record in self._workspace.runs.records()
            if record.state == FINISHED and not record.group and record.name != run
        ]
        if not names:
            return "", ()
        with contextlib.suppress(RunError):
            return names[0], self._workspace.runs.open(names[0]).results.history()
        return "", ()

    def view(self, epochs: int) -> RunsView:
        """Return the view of a page that is up to date."""
        return self._view(self._workspace.runs.records(), epochs)

    def updates(
        self, shown: RunsView, chosen: str | None, epochs: int, *, choose: bool = False
    ) -> tuple[list[Any], RunsView]:
        """Return the updates for ``watched``, and what the page shows with them.

        chosen: the run chosen on the page; it stays chosen while it exists. epochs: finished ones
        of the running run. choose: whether the page is made to choose it.
        """
        records = self._workspace.runs.records()
        now = self._view(records, epochs)
        if (now.runs, now.job) != (shown.runs, shown.job):
            rows, choices, *rest = self._all_updates(chosen, records)
            if not choose and chosen in [record.name for record in records]:
                # Without a value: a choice made during this request is not reverted.
                choices = gr.Dropdown(_choices(records))
            return [rows, choices, *rest], now
        rows = self._table(records) if now != shown else gr.skip()
        return [rows, gr.skip(), gr.skip(), gr.skip()], now

    def _view(self, records: Sequence[RunRecord], epochs: int) -> RunsView:
        states = tuple((record.name, record.state) for record in records)
        return RunsView(states, self._workspace.job.view().state, epochs)

    def _all_updates(self, chosen: str | None, records: list[RunRecord] | None = None) -> list[Any]:
        records = self._workspace.runs.records() if records is None else records
        if chosen not in [record.name for record in records]:
            own = [record for record in records if not record.group]
            resumable = [record for record in own if record.resumable]
            chosen = next((record.name for record in [*resumable, *own]), None)
        return [
            self._table(records),
            gr.Dropdown(_choices(records), value=chosen),
            *self._chosen_updates(chosen),
        ]

    def _chosen_updates(self, name: str | None) -> list[Any]:
        """Return the updates for the Resume button and the choice of files."""
        none = [gr.Button(interactive=False), gr.Dropdown([], value=None)]
        if not name:
            return none
        try:
            run = self._workspace.runs.open(name)
            record, files = run.record(), list_files(run)
        except RunError:
            return none  # deleted a moment ago; the next update removes it from the page
        choices = [(f"{file.name} ({_size(file.size)})", file.name) for file in files]
        return [gr.Button(interactive=record.resumable), gr.Dropdown(choices, value=None)]

    def _table(self, records: list[RunRecord]) -> str:
        if not records:
            return "<p>No runs yet. Start a training above.</p>"
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
        columns = (*COLUMNS[:3], *settings, *COLUMNS[3:])
        return table(columns, rows, label="Runs, newest first, then experiments")


def _not_asking() -> list[Any]:
    return [gr.Column(visible=False), gr.skip(), ""]


def _required(chosen: str | None) -> str:
    if not chosen:
        raise RunError("No run is chosen; choose one above, or train one.")
    return chosen


def _choices(records: list[RunRecord]) -> list[tuple[str, str]]:
    """Return label and name of each run, those of experiments last."""
    ordered = sorted(records, key=lambda record: bool(record.group))
    return [(f"{record.name} · {record.state}", record.name) for record in ordered]


def _differing(configs: Sequence[TrainingConfig]) -> dict[str, Callable[[TrainingConfig], Value]]:
    """Return those of SETTINGS in which the runs differ."""
    return {
        name: read
        for name, read in SETTINGS.items()
        if len({str(read(config)) for config in configs}) > 1
    }


def _row(
    record: RunRecord,
    results: RunResults,
    settings: Mapping[str, Callable[[TrainingConfig], Value]],
) -> list[Value]:
    history, metrics = results.history(), results.metrics()
    held_out = Cell("–", math.nan)
    if history:
        last = history[-1]
        held_out = Cell(accuracy_text(last.accuracy, last.held_out), last.accuracy)
    tested = next((metrics[n] for n in set_names(record.config.digits) if n in metrics), None)
    test = Cell("–", math.nan)
    if tested:
        test = Cell(accuracy_text(tested["accuracy"], tested["n"]), tested["accuracy"])
    return [
        record.name,
        record.state,
        listed(record.config.digits),
        *(read(record.config) for read in settings.values()),
        Cell(f"{len(history)} of {record.config.epochs}", len(history)),
        Cell(str(record.config.seed), record.config.seed),
        test,
        held_out,
        record.created[:16].replace("T", " "),
    ]


def _group_row(
    group: str,
    members: Sequence[RunRecord],
    settings: Mapping[str, Callable[[TrainingConfig], Value]],
) -> list[Value]:
    """Return one row for the runs of an experiment, newest first."""
    seeds = sorted({record.config.seed for record in members})
    states = ", ".join(sorted({record.state for record in members}))
    return [
        f"{group} ({len(members)} runs)",
        states,
        base_of(members[0].config.digits),
        *["–" for _ in settings],
        Cell("–", math.nan),
        Cell(", ".join(map(str, seeds)), seeds[0]),
        Cell("–", math.nan),
        Cell("–", math.nan),
        members[-1].created[:16].replace("T", " "),
    ]


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3)):,} kB"
