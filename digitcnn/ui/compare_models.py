"""Which models Compare compares: the choice, and a place to drop checkpoints on."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any

import gradio as gr

from digitcnn.errors import CheckpointError
from digitcnn.options import MOST_COMPARED
from digitcnn.ui.context import Context
from digitcnn.ui.drop_results import DropResults
from digitcnn.ui.dropped import PREFIX, DroppedFile, save_dropped
from digitcnn.ui.gradio_private import event_data
from digitcnn.ui.parts import PRIVATE, announced, status_line
from digitcnn.ui.subject import names_in
from digitcnn.ui.toasts import toasting
from digitcnn.web import bundle
from digitcnn.web.templates import render


def suggested(
    names: Sequence[str], selected: Any, copies: Container[str] = frozenset()
) -> list[str]:
    """Return the models to compare by default: the selected and the newest other one.

    names: of all available models, the newest first; of fewer than two, all. selected: unchecked.
    copies: names of models fine-tuned on sketches, which are compared only if they are selected.
    """
    first = [name for name in names if name == selected]
    others = [name for name in names if name != selected and name not in copies]
    return [*first, *others][:2]


class ModelChoice:
    """The choice of models, inside an open column of the tab.

    ``build_drop_zone`` and ``build_offer`` add its other parts, and ``connect`` their events.
    """

    def __init__(self, context: Context) -> None:
        """Build the list."""
        self._context, self._models = context, context.models
        available = self._models.choices()
        at_first = self._suggested(self._models.own_names(available), self._models.default)
        self._suggestion = gr.State(None)  # until the page is open
        self.chosen = gr.Dropdown(
            available,
            value=at_first,
            multiselect=True,
            label="Models",
            info="Two to eight: type or click to add one, or drop a file anywhere on this tab",
            elem_id="compare-models",
            elem_classes="model-slots",
        )
        announced(self.chosen)

    def build_drop_zone(self) -> None:
        """Build the place to drop files on, and below it their lines, inside an open column."""
        self._files = gr.File(
            label="Drop weight files of any digit classifier",
            file_count="multiple",
            height=120,
            elem_id="compare-files",
        )
        self._drops = DropResults(self._models, "compare-verdicts", "compared")
        with gr.Row(visible=False, elem_classes="owner-only") as self._saving:
            self._dropped = gr.Dropdown([], label="Dropped model", elem_id="compare-dropped")
            self._save = gr.Button("Save", scale=0, min_width=120, elem_id="compare-keep")

    def build_offer(self) -> None:
        """Build the place of the button that adds the model selected above, inside an open row."""
        self._add_selected = gr.HTML(
            js_on_load=bundle.on_load("reportPress"), elem_id="compare-add"
        )

    def connect(self, run_tools: gr.HTML, status: gr.HTML) -> None:
        """Add the events.

        run_tools: its ``select`` event carries names of models, ``{"models"}``, to compare at once.
        status: where to say that a file was saved.
        """
        context = self._context
        page, model_select = context.page, context.model_select
        # One after the other: the response to an earlier selection never comes last.
        followed = gr.on(
            [page.load, model_select.change],
            self._follow,
            [self.chosen, model_select, self._suggestion],
            [self.chosen, self._suggestion],
            trigger_mode="always_last",
            queue=False,
            **PRIVATE,
        )
        refreshed = self.chosen.focus(
            self._refresh, [self.chosen, model_select], self.chosen, queue=False, **PRIVATE
        )
        received = self._files.upload(
            toasting(self._receive),
            [self._files, self.chosen, self._drops.files],
            [
                *(self._drops.files, self._drops.html, self.chosen),
                *(self._files, self._saving, self._dropped),
            ],
            **PRIVATE,
        )
        self._drops.connect(self.chosen)
        added = self._add_selected.select(
            self._add, [self.chosen, model_select], self.chosen, queue=False, **PRIVATE
        )
        picked = run_tools.select(self._pick, None, self.chosen, **PRIVATE)
        picked.success(None, js=bundle.handler("press", "#compare-run"), **PRIVATE)
        # Not at the list's ``change``: with a second handler of it, Gradio 6.31 reports a change
        # after each response, without end.
        for after in (
            self.chosen.input,
            *(event.then for event in (followed, refreshed, received, added, picked)),
        ):
            after(
                self._notes,
                [self.chosen, model_select, self._drops.files],
                [self._drops.html, self._add_selected],
                queue=False,
                **PRIVATE,
            )

        @toasting
        def save(request: gr.Request, token: str, key: Any) -> str:
            context.access.require_owner(request, token, to="save a dropped file")
            if not isinstance(key, str) or not key.startswith(PREFIX):
                raise CheckpointError("No dropped model is chosen; drop a file first.")
            path = save_dropped(self._models.get(key), context.workspace.checkpoints.folder)
            return status_line(f"Saved as {path.name}.")

        context.with_token(self._save.click, save, [self._dropped], status)

    def _suggested(self, names: Sequence[str], selected: Any) -> list[str]:
        copies = {name for name in names if "tuned_sketches" in self._models.details(name).config}
        return suggested(names, selected, copies)

    def _choice(self, available: list[tuple[str, str]], names: Iterable[str]) -> gr.Dropdown:
        """Return the list with these models chosen, as far as they are available."""
        known = {name for _, name in available}
        usable = [name for name in dict.fromkeys(names) if name in known]
        return gr.Dropdown(available, value=usable, multiselect=True)

    def _refresh(self, chosen: Any, selected: Any, request: gr.Request) -> Any:
        """Offer the models available now; chosen ones that are still available stay chosen."""
        available = self._models.choices(request.session_hash)
        names = {name for _, name in available}
        remaining = [name for name in names_in(chosen) if name in names]
        if remaining == names_in(chosen):
            # Without a value, so that a choice made meanwhile is not undone.
            return gr.Dropdown(available, multiselect=True)
        own = self._models.own_names(available, selected)
        return self._choice(available, remaining or self._suggested(own, selected))

    def _follow(
        self, chosen: Any, selected: Any, suggestion: list[str] | None, request: gr.Request
    ) -> tuple[Any, list[str]]:
        """Follow the selector above the tabs, until a choice is made here.

        A model that the app selects because its run has just finished is only offered: choosing it
        would replace another model unasked.
        """
        if suggestion is not None and (
            names_in(chosen) != suggestion or selected == self._models.just_trained
        ):
            return self._refresh(chosen, selected, request), suggestion
        available = self._models.choices(request.session_hash)
        new = self._suggested(self._models.own_names(available, selected), selected)
        return self._choice(available, new), new

    def _notes(self, chosen: Any, selected: Any, files: tuple[DroppedFile, ...]) -> tuple[str, str]:
        """Return the lines on the dropped files that are chosen, and the offer of another model."""
        return self._drops.lines(files, chosen), self._offer(chosen, selected)

    def _offer(self, chosen: Any, selected: Any) -> str:
        """Offer to add the model selected above the tabs where it is not chosen."""
        names = names_in(chosen)
        if not names or len(names) == MOST_COMPARED or selected in names:
            return ""
        try:
            name = self._models.get(selected).name
        except CheckpointError:
            return ""  # the selector follows within a second
        return render("compare/add_model.html", name=name)

    def _add(self, chosen: Any, selected: Any, request: gr.Request) -> Any:
        available = self._models.choices(request.session_hash)
        return self._choice(available, names_in([*names_in(chosen), selected]))

    @toasting
    def _pick(self, event: gr.EventData, request: gr.Request) -> gr.Dropdown:
        """Choose the models that a script's event names, ``{"models"}``."""
        available = self._models.choices(request.session_hash)
        chosen = names_in(event_data(event).get("models"))
        for name in chosen:
            self._models.get(name)  # raises for one that is gone
        return self._choice(available, chosen)

    def _receive(
        self, files: Any, chosen: Any, earlier: tuple[DroppedFile, ...], request: gr.Request
    ) -> Iterator[list[Any]]:
        """Read dropped files and choose the good ones, once all are read."""
        session = request.session_hash or ""
        before = good = names_in(chosen)
        for lines, html, new in self._drops.receive(files, earlier, session, before):
            good = [*before, *new]
            yield [lines, html, *[gr.skip()] * 4]
        available = self._models.choices(session)
        dropped = [(label, name) for label, name in available if name.startswith(PREFIX)]
        yield [
            gr.skip(),
            gr.skip(),
            self._choice(available, good),
            None,
            gr.Row(visible=bool(dropped)),
            gr.Dropdown(dropped, value=dropped[0][1] if dropped else None),
        ]
