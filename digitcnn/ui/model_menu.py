"""The model chip in the header: the selector, and its menu (open, download, details)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr
from markupsafe import Markup

from digitcnn.analysis.settings_text import setting_name, setting_text
from digitcnn.digits.names import listed, set_title, written
from digitcnn.errors import CheckpointError
from digitcnn.intervals import accuracy_text
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.details import CLAIMED
from digitcnn.ui.clock import Clock, Version
from digitcnn.ui.drop_results import DropResults
from digitcnn.ui.dropped import DroppedFile
from digitcnn.ui.gradio_private import save_file_to_cache
from digitcnn.ui.models import Models
from digitcnn.ui.parts import PRIVATE, announced
from digitcnn.ui.toasts import toasting
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace


def model_facts_html(checkpoint: Checkpoint, *, trained_here: bool) -> Markup:
    """Return all that is known of a model as a list; claims of its file are marked."""
    details = checkpoint.details
    claimed = "" if trained_here else CLAIMED
    config = details.config
    facts = [
        ("Name", checkpoint.name),
        ("Network", checkpoint.description or checkpoint.architecture),
    ]
    if checkpoint.path is not None and checkpoint.path.stem != checkpoint.name:
        facts.append(("File", checkpoint.path.name))
    if details.digits:
        facts.append(("Trained on", listed(details.digits)))
    for digits, metrics in details.metrics.items():
        title = f"Accuracy on {set_title(digits, 'test')} images"
        if digits.startswith("held_out"):  # of all sets together, or of one of them
            held_out = written(digits.removeprefix("held_out").strip())
            title = "Held-out accuracy" + f" on {held_out}" * bool(held_out)
        accuracy = accuracy_text(metrics["accuracy"], metrics["n"])
        facts.append((title, f"{accuracy}, n = {metrics['n']:,}{claimed}"))
    if details.epochs is not None:
        facts.append(("Training", f"{details.epochs} epochs, {details.state}"))
    facts += [
        (setting_name(key), setting_text(config, key))
        for key in ("train_images", "batch_size", "learning_rate")
        if key in config
    ]
    if details.seed is not None:
        facts.append(("Seed", str(details.seed)))
    facts += [
        (
            "Calibration",
            f"temperature {checkpoint.temperature:.3f}" if checkpoint.calibrated else "none",
        ),
        ("Non-digits", "rejected" if checkpoint.ood is not None else "cannot be rejected"),
    ]
    if details.created:
        facts.append(("Created (UTC)", details.created[:16].replace("T", " ")))
    facts += [("Size", f"{checkpoint.size / 1e6:.1f} MB"), ("Digest", checkpoint.digest[:16])]
    return render("models/details.html", facts=facts, claimed=bool(claimed and details.metrics))


def _stored_selection(text: Any) -> tuple[str, str] | None:
    """Return the selected model and the newest finished run's model that a browser stored."""
    try:
        stored = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    match stored:
        case {"model": str(model), "trained": str(trained)} if model:
            return model, trained
    return None


class ModelMenu:
    """The components of the chip, built inside the open header, and their handlers."""

    def __init__(self, workspace: Workspace, models: Models) -> None:
        self._workspace, self._models = workspace, models
        choices = models.choices()
        self.select = gr.Dropdown(
            choices,
            value=models.first_choice(choices),
            label="Model",
            container=False,
            elem_id="model-select",
        )
        announced(self.select)
        gr.HTML(render("models/menu_button.html"))
        with gr.Row(elem_id="model-menu"):
            self.add = gr.UploadButton("Open", file_count="multiple", elem_id="model-drop")
            self.download = gr.DownloadButton("Download", elem_id="model-download")
            gr.HTML(render("models/details_button.html"))

    def connect(self, clock: Clock, page: gr.Blocks, drops: DropResults, warning: gr.HTML) -> None:
        """Connect the components to their handlers.

        drops, warning: where to say what became of dropped files, and what is wrong with a model.
        """
        # The latest finished run's model that the page has seen; None at first.
        known = gr.State(None)
        # A field of the page: a clock without queue cannot trigger the change of a gr.State.
        swapped = gr.Textbox(visible="hidden", show_label=False)
        swapped.change(None, swapped, js=bundle.handler("tell", "digitcnn-swap"), **PRIVATE)
        trained = gr.Textbox(visible="hidden", show_label=False)
        gr.on(
            [self.select.change, trained.change],
            inputs=[self.select, trained],
            js=bundle.handler("storeModel"),
            **PRIVATE,
        )
        clock.watch(
            self._refresh,
            [known, self.select, clock.stored],
            [self.select, known, trained, swapped],
            version=self._version,
        )
        for handler, output in ((self._offer_download, self.download), (self._warn, warning)):
            gr.on(
                [page.load, self.select.change],
                handler,
                self.select,
                output,
                queue=False,
                # The reply on the model that was selected before must not come last.
                trigger_mode="always_last",
                **PRIVATE,
            )

        @toasting
        def receive(
            request: gr.Request, files: Any, earlier: tuple[DroppedFile, ...]
        ) -> Iterator[list[Any]]:
            """Select the last good file, on this page alone."""
            session = request.session_hash or ""
            good: list[str] = []
            for lines, html, keys in drops.receive(files, earlier, session):
                good = keys
                yield [lines, html, gr.skip()]
            if good:
                choices = self._models.choices(session)
                yield [gr.skip(), gr.skip(), gr.Dropdown(choices, value=good[-1])]

        self.add.upload(
            receive,
            [self.add, drops.files],
            [drops.files, drops.html, self.select],
            api_visibility="private",
            show_progress="minimal",
        )
        drops.connect()
        page.unload(self._close)

    def facts(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Return ``{"html"}``: the facts of ``{"model"}``. Raises CheckpointError."""
        checkpoint = self._models.get(payload.get("model"))
        trained_here = checkpoint.digest in self._workspace.runs.digests()
        return {"html": model_facts_html(checkpoint, trained_here=trained_here)}

    def _version(self) -> Version:
        labels = [label for label, _ in self._models.choices()]
        return Version((self._models.just_trained, labels, self._models.dropped.changes))

    def _refresh(
        self, request: gr.Request, known: str | None, selected: str | None, stored: Any
    ) -> tuple[Any, str, str, Any]:
        """Offer new files, and select the checkpoint of a run that has just finished.

        A reload restores the page's model, unless a run has finished meanwhile or the model is
        gone. The last two values are the newest finished run's checkpoint, and the name of a model
        that is selected after the page was opened.
        """
        choices = self._models.choices(request.session_hash)
        names = [name for _, name in choices]
        latest = self._models.just_trained
        earlier = _stored_selection(stored) if known is None else None
        before, trained = earlier or (selected, known or "")
        ended = latest in names and latest != trained
        if not ended and before in names:
            # Without a value: a choice made meanwhile stays.
            same = before == selected
            updated = gr.Dropdown(choices) if same else gr.Dropdown(choices, value=before)
            return updated, latest, latest, gr.skip()
        new = latest if ended else self._models.first_choice(choices)
        is_first = known is None and earlier is None
        swapped = gr.skip() if is_first or new is None else self._models.get(new).name
        return gr.Dropdown(choices, value=new), latest, latest, swapped

    @toasting
    def _offer_download(self, name: str | None) -> Any:
        try:
            path = self._models.get(name).path if name else None
        except CheckpointError:
            path = None  # the selector follows within a second
        if path is None:
            return gr.DownloadButton(value=None, interactive=False)
        # Only a copy is served: the checkpoint folder stays private.
        copy = save_file_to_cache(path, self.download.GRADIO_CACHE)
        return gr.DownloadButton(value=copy, interactive=True)

    def _warn(self, name: str | None) -> str:
        try:
            text = self._models.drawing_warning(name)
        except CheckpointError:
            return ""  # the tabs say so
        return render("models/warning.html", text=text)

    def _close(self, request: gr.Request) -> None:
        self._models.dropped.forget(request.session_hash or "")
