"""The Runs section of the Train tab: every run with its state, and what can be done with one.

Looking, taking over a run's settings and downloading its files are for all; resuming, renaming
and deleting are the owner's. A file leaves as a copy of what ``Run.read`` gives: the page never
serves a path of the output folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import gradio as gr

from digitcnn.analysis.metrics import accuracy_text
from digitcnn.errors import RunError
from digitcnn.training.run_files import list_files, read_file
from digitcnn.training.run_record import FAILED, INTERRUPTED, STOPPED, RunRecord
from digitcnn.ui.access import Access
from digitcnn.ui.gradio_private import save_bytes_to_cache
from digitcnn.ui.tables import Cell, table, table_view
from digitcnn.ui.toasts import toasting
from digitcnn.workspace import Workspace

RESUMABLE = (STOPPED, INTERRUPTED, FAILED)
COLUMNS = ("run", "state", "digits", "epochs", "seed", "held-out accuracy (95 %)", "started (UTC)")


@dataclass(frozen=True)
class Seen:
    """What a page shows of the runs: their names and states, and the epochs of the running one.

    job: the training's state. A run is finished before its figures and its report are there.
    """

    runs: tuple[tuple[str, str], ...] | None = None
    job: str = ""
    epochs: int = 0


class RunsSection:
    """The section's components, built inside an open tab, and what they show.

    look: updates for ``watched``, when runs or epochs are others than those seen.
    """

    def __init__(
        self,
        workspace: Workspace,
        access: Access,
        owner_token: gr.Textbox,
        settings: Sequence[Any],
    ) -> None:
        """settings: the controls of digits, epochs, batch size, learning rate, seed, training
        images and augmentation, which a run's settings can be put into."""
        self._workspace, self._access = workspace, access
        gr.Markdown("### Runs")
        self.table = table_view(elem_id="runs-table")
        with gr.Row(elem_classes="model-row"):
            self.chosen = gr.Dropdown(
                [],
                label="Run",
                info="to go on with, to repeat, or to look into",
                scale=3,
                elem_id="train-resume-run",
            )
            self.resume = gr.Button(
                "Resume", scale=1, min_width=120, interactive=False, elem_id="train-resume"
            )
            reproduce = gr.Button("Take its settings", scale=1, elem_id="runs-reproduce")
        with gr.Accordion("Files, name, deletion", open=False, elem_id="runs-more"):
            with gr.Row(elem_classes="model-row"):
                self.file = gr.Dropdown(
                    [],
                    label="File of the run",
                    info="report.html is the whole run in one page",
                    scale=3,
                    elem_id="runs-file",
                )
                download = gr.DownloadButton(
                    "Download", scale=1, min_width=120, interactive=False, elem_id="runs-download"
                )
            with gr.Row(elem_classes="model-row"):
                new_name = gr.Textbox(
                    label="New name",
                    info="of the run's folder; its checkpoint keeps its own",
                    max_length=60,
                    scale=3,
                    elem_id="runs-new-name",
                )
                rename = gr.Button("Rename", scale=1, min_width=120, elem_id="runs-rename")
            delete = gr.Button("Delete this run ...", variant="stop", elem_id="runs-delete")
            with gr.Column(visible=False, elem_id="runs-confirm") as confirmation:
                question = gr.Markdown(elem_id="runs-question")
                with gr.Row():
                    confirm = gr.Button("Yes, delete it", variant="stop", elem_id="runs-delete-yes")
                    keep = gr.Button("No, keep it", elem_id="runs-delete-no")
        doomed = gr.State("")  # the run that the question is about

        self.watched = [self.table, self.chosen, self.resume, self.file]
        asking = [confirmation, question, doomed]
        not_asking = [gr.Column(visible=False), gr.skip(), ""]

        @toasting
        def choose(name: str | None) -> list[Any]:
            """Another run: its files, and no question about the one before."""
            return [*self._of_chosen(name), *not_asking]

        @toasting
        def take_settings(name: str | None) -> list[Any]:
            config = workspace.runs.open(_named(name)).record().config
            entries = workspace.catalog.entries()
            if config.digits not in {entry.name for entry in entries if entry.split == "train"}:
                raise RunError(
                    f"The digit set {config.digits} of run '{name}' is not on this machine any "
                    "more; put it back, or choose another run."
                )
            return [
                config.digits,
                config.epochs,
                config.batch_size,
                config.learning_rate,
                config.seed,
                config.train_images or 0,
                config.augmentation,
            ]

        @toasting
        def go_on(request: gr.Request, token: str, name: str | None) -> list[Any]:
            access.require_owner(request, token, to="go on with a run")
            workspace.job.resume(_named(name))
            return self._all(name)

        @toasting
        def give_name(
            request: gr.Request, token: str, name: str | None, new: str | None
        ) -> list[Any]:
            access.require_owner(request, token, to="rename a run")
            renamed = workspace.job.rename(_named(name), (new or "").strip())
            return [*self._all(renamed), ""]

        @toasting
        def ask(name: str | None) -> list[Any]:
            record = workspace.runs.open(_named(name)).record()
            kept = f" Its checkpoint {record.checkpoint} stays." if record.checkpoint else ""
            text = f"Delete the run **{record.name}** and all its files for good?{kept}"
            return [gr.Column(visible=True), text, record.name]

        @toasting
        def remove(request: gr.Request, token: str, name: str) -> list[Any]:
            access.require_owner(request, token, to="delete a run")
            workspace.job.delete(name)
            return [*self._all(None), *not_asking]

        @toasting
        def offer(name: str | None, file: str | None) -> gr.DownloadButton:
            if not file:
                return gr.DownloadButton(value=None, interactive=False)
            content = read_file(workspace.runs.open(name or ""), file)
            # Named by its content, so the same file is kept once however often it is asked for.
            path = save_bytes_to_cache(content, PurePath(file).name, download.GRADIO_CACHE)
            return gr.DownloadButton(value=path, interactive=True)

        # In the queue: Gradio shows no error of a handler outside it.
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        owner: dict[str, Any] = {**quiet, "js": access.WITH_TOKEN_JS}
        at_once: dict[str, Any] = {**quiet, "queue": False}
        self.chosen.change(choose, self.chosen, [self.resume, self.file, *asking], **at_once)
        self.file.change(offer, [self.chosen, self.file], download, **quiet)
        reproduce.click(take_settings, self.chosen, list(settings), **quiet)
        self.resume.click(go_on, [owner_token, self.chosen], self.watched, **owner)
        rename.click(
            give_name, [owner_token, self.chosen, new_name], [*self.watched, new_name], **owner
        )
        delete.click(ask, self.chosen, asking, **quiet)
        keep.click(lambda: not_asking, None, asking, **at_once)
        confirm.click(remove, [owner_token, doomed], [*self.watched, *asking], **owner)

    def seen(self, epochs: int) -> Seen:
        """What a page shows that was updated now."""
        return self._seen(self._workspace.runs.records(), epochs)

    def look(
        self, seen: Seen, chosen: str | None, epochs: int, *, choose: bool = False
    ) -> tuple[list[Any], Seen]:
        """Updates for ``watched``, and what the page shows with them.

        chosen: the run that the page has chosen; it stays so while it exists. epochs: finished
        ones of the running run. choose: the page is made to choose it.
        """
        records = self._workspace.runs.records()
        now = self._seen(records, epochs)
        if (now.runs, now.job) != (seen.runs, seen.job):
            rows, choices, *of_chosen = self._all(chosen, records)
            if not choose and chosen in [record.name for record in records]:
                # Without a value: what is chosen while this is asked is not taken back.
                choices = gr.Dropdown(_choices(records))
            return [rows, choices, *of_chosen], now
        rows = self._table(records) if now != seen else gr.skip()
        return [rows, gr.skip(), gr.skip(), gr.skip()], now

    def _seen(self, records: Sequence[RunRecord], epochs: int) -> Seen:
        states = tuple((record.name, record.state) for record in records)
        return Seen(states, self._workspace.job.view().state, epochs)

    def _all(self, chosen: str | None, records: list[RunRecord] | None = None) -> list[Any]:
        records = self._workspace.runs.records() if records is None else records
        names = [record.name for record in records]
        if chosen not in names:
            resumable = [record.name for record in records if _can_go_on(record)]
            chosen = next(iter([*resumable, *names]), None)
        return [
            self._table(records),
            gr.Dropdown(_choices(records), value=chosen),
            *self._of_chosen(chosen),
        ]

    def _of_chosen(self, name: str | None) -> list[Any]:
        """Updates for the Resume button and the choice of files."""
        if not name:
            return [gr.Button(interactive=False), gr.Dropdown([], value=None)]
        try:
            run = self._workspace.runs.open(name)
            record, files = run.record(), list_files(run)
        except RunError:
            # Deleted a moment ago, maybe by somebody else: the next look takes it off the page.
            return [gr.Button(interactive=False), gr.Dropdown([], value=None)]
        choices = [(f"{file.name} ({_size(file.size)})", file.name) for file in files]
        return [gr.Button(interactive=_can_go_on(record)), gr.Dropdown(choices, value=None)]

    def _table(self, records: list[RunRecord]) -> str:
        if not records:
            return "<p>No run yet: press Start.</p>"
        rows: list[list[str | int | Cell]] = []
        for record in records:
            try:
                history = self._workspace.runs.open(record.name).results.history()
            except RunError:
                continue  # deleted since it was listed
            last = history[-1] if history else None
            accuracy = (
                Cell(accuracy_text(last.accuracy, last.held_out), last.accuracy)
                if last
                else Cell("–", float("nan"))
            )
            rows.append(
                [
                    record.name,
                    record.state,
                    record.config.digits,
                    Cell(f"{len(history)} of {record.config.epochs}", len(history)),
                    Cell(str(record.config.seed), record.config.seed),
                    accuracy,
                    record.created[:16].replace("T", " "),
                ]
            )
        return table(COLUMNS, rows, label="Runs, newest first")


def _named(chosen: str | None) -> str:
    if not chosen:
        raise RunError("No run is chosen: choose one above, or train one.")
    return chosen


def _choices(records: list[RunRecord]) -> list[tuple[str, str]]:
    """Label and name of each run."""
    return [(f"{record.name} · {record.state}", record.name) for record in records]


def _can_go_on(record: RunRecord) -> bool:
    return record.state in RESUMABLE and record.saves


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3)):,} kB"
