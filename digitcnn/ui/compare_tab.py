"""The Compare tab: several networks on the same images; which is better, and whether it matters."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from digitcnn.analysis.comparison import Comparison, check_number, compare, unique_names
from digitcnn.analysis.predictions import Predictions
from digitcnn.analysis.robustness import Robustness
from digitcnn.analysis.shared_cache import Progress
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import (
    CheckpointError,
    ConfigError,
    DigitCNNError,
    DigitSetError,
    SketchError,
)
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.ui import compare_view as view
from digitcnn.ui.access import Access
from digitcnn.ui.answered_images import TILES_STYLE
from digitcnn.ui.background import telling
from digitcnn.ui.dropped import PREFIX, keep
from digitcnn.ui.models import Models, verdicts_html
from digitcnn.ui.parts import results_view, status_line
from digitcnn.ui.robustness_section import WHAT_IT_IS, figure_view, robustness_views
from digitcnn.ui.set_chooser import MOST_SETS, build_sets
from digitcnn.ui.sketchpad_tab import Payload, replying, seen_of
from digitcnn.ui.tables import table_view
from digitcnn.ui.toasts import toasting
from digitcnn.web import bundle
from digitcnn.web.templates import render
from digitcnn.workspace import Workspace

# At most so many comparisons are computed at a time, whoever asks; the others wait.
AT_A_TIME = 2


NOTHING_YET = (
    "Nothing is compared yet. Choose two models or more (train another, or drop a file above) and "
    "press Compare: their accuracies come first, then whether the difference is more than chance, "
    "the images on which they differ, and robustness."
)


@dataclass(frozen=True)
class Compared:
    """What a page shows: the models' names for Models.get, as people read them, and the sets."""

    keys: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()


def build_compare_tab(
    workspace: Workspace,
    models: Models,
    access: Access,
    owner_token: gr.Textbox,
    model_select: gr.Dropdown,
    page: gr.Blocks,
) -> None:
    """Build the tab inside an open ``gr.Tab`` of ``page``.

    model_select: its value is the name of the checkpoint that is compared with others at first.
    """
    here = models.choices()
    at_first = suggested([name for _, name in here], models.default)
    suggestion = gr.State(at_first)
    shown = gr.State(Compared())
    gr.Markdown(
        "Put two to eight models side by side on the same images: which is better, and whether the "
        "difference is more than chance. Drop checkpoints of your own below."
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=300, elem_classes="takes-files"):
            chosen = gr.Dropdown(
                here,
                value=at_first,
                multiselect=True,
                label="Models",
                info="two to eight; at first the one chosen above the tabs and the newest other",
                elem_id="compare-models",
            )
            files = gr.File(
                label="Drop checkpoints, .pt or .safetensors",
                file_count="multiple",
                height=120,
                elem_id="compare-files",
            )
            said = gr.HTML(elem_id="compare-verdicts")
            with gr.Row(visible=False) as keeping:
                dropped = gr.Dropdown([], label="Dropped model", elem_id="compare-dropped")
                keep_it = gr.Button("Keep", scale=0, min_width=120, elem_id="compare-keep")
        with gr.Column(scale=2, min_width=280):
            digits = build_sets(workspace, page, "compare-digits")
            run = gr.Button("Compare", variant="primary", elem_id="compare-run")
    status = gr.HTML(status_line(NOTHING_YET), elem_id="compare-status")
    with results_view("compare-results"):
        table = table_view(elem_id="compare-table")
        words = gr.HTML(elem_id="compare-words")
        pairs = table_view(elem_id="compare-pairs")
        with gr.Accordion("Settings and training curves", open=False):
            settings = table_view(elem_id="compare-settings")
            history = gr.HTML(elem_id="compare-history")
        gr.Markdown("### Where they differ")
        with gr.Row():
            set_of = gr.Dropdown([], label="Test set", elem_id="compare-set")
            first = gr.Dropdown([], label="One model", elem_id="compare-first")
            second = gr.Dropdown([], label="The other", elem_id="compare-second")
        images = table_view(elem_id="compare-images", style=TILES_STYLE)

        gr.Markdown(f"### Robustness\nOf the test set chosen above, {WHAT_IT_IS}")
        bear = gr.Button("Measure robustness", size="sm", elem_id="compare-robustness-run")
        robustness_status = gr.HTML(elem_id="compare-robustness-status")
        robustness = figure_view("compare-robustness")
        robustness_table = table_view(elem_id="compare-robustness-table")

    gr.Markdown("### Draw once, ask all")
    ask = gr.Button("Ask them about the drawing on the Sketchpad", size="sm", elem_id="compare-ask")
    gr.HTML(
        render("compare/one_sketch.html"),
        css_template=bundle.style("compare.css"),
        apply_default_css=False,
        server_functions=[compare_function(models)],
        elem_id="compare-answers",
    )

    parts: dict[str, Any] = {
        "status": status,
        "run": run,
        "table": table,
        "words": words,
        "pairs": pairs,
        "settings": settings,
        "history": history,
        "set": set_of,
        "first": first,
        "second": second,
        "images": images,
        "robustness_status": robustness_status,
        "robustness": robustness,
        "robustness_table": robustness_table,
        "shown": shown,
    }

    def models_here(chosen: Any, selected: Any, request: gr.Request) -> Any:
        """What can be chosen now; what was chosen and is still here stays."""
        now = models.choices(request.session_hash)
        names = [name for _, name in now]
        stays = [name for name in _names(chosen) if name in names]
        if stays == _names(chosen):
            # Without a value: what is chosen while this is asked is not taken back.
            return gr.Dropdown(now, multiselect=True)
        return gr.Dropdown(now, value=stays or suggested(names, selected), multiselect=True)

    def follow(
        chosen: Any, selected: Any, suggestion: list[str], request: gr.Request
    ) -> tuple[Any, list[str]]:
        """Until somebody chooses here, the choice goes with the selector above the tabs."""
        now = models.choices(request.session_hash)
        wanted = suggested([name for _, name in now], selected)
        if _names(chosen) != suggestion or wanted == suggestion:
            return models_here(chosen, selected, request), suggestion
        return gr.Dropdown(now, value=wanted, multiselect=True), wanted

    @toasting
    def receive(dropped_files: Any, chosen: Any, request: gr.Request) -> list[Any]:
        session = request.session_hash or ""
        verdicts = models.receive(dropped_files, session)
        good = [verdict.key for verdict in verdicts if verdict.key is not None]
        now = models.choices(session)
        names = [name for _, name in now]
        wanted = [name for name in [*_names(chosen), *good] if name in names]
        mine = [(label, name) for label, name in now if name.startswith(PREFIX)]
        return [
            verdicts_html(verdicts),
            gr.Dropdown(now, value=list(dict.fromkeys(wanted)), multiselect=True),
            None,
            gr.Row(visible=bool(mine)),
            gr.Dropdown(mine, value=mine[0][1] if mine else None),
        ]

    @toasting
    def keep_dropped(request: gr.Request, token: str, key: Any) -> str:
        access.require_owner(request, token, to="keep a dropped file")
        if not isinstance(key, str) or not key.startswith(PREFIX):
            raise CheckpointError("No dropped model is chosen; drop a file first.")
        path = keep(models.get(key), workspace.checkpoints.folder)
        return status_line(f"Kept as {path.name}.")

    @toasting
    def score(chosen: Any, sets: Any) -> Iterator[list[Any]]:
        try:
            for looks in compared(workspace, models, chosen, sets):
                yield [looks.get(part, gr.skip()) for part in parts]
        except DigitCNNError:
            yield [
                status_line("Nothing was compared."),
                gr.Button(interactive=True),
                *[gr.skip()] * (len(parts) - 2),
            ]
            raise

    @toasting
    def differ(now: Compared, name: Any, a: Any, b: Any) -> str:
        return differences_of(workspace, models, now, name, a, b)

    @toasting
    def measure(now: Compared, name: Any) -> Iterator[list[Any]]:
        try:
            yield from robustness_of(workspace, models, now, name)
        except DigitCNNError as error:
            yield [status_line(str(error)), "", ""]

    def wait() -> list[Any]:
        return [status_line("Waiting for its turn."), gr.Button(interactive=False)]

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    # One after the other: the answer for an earlier selection never comes last.
    gr.on(
        [page.load, model_select.change],
        follow,
        [chosen, model_select, suggestion],
        [chosen, suggestion],
        trigger_mode="always_last",
        queue=False,
        **private,
    )
    chosen.focus(models_here, [chosen, model_select], chosen, queue=False, **private)
    files.upload(receive, [files, chosen], [said, chosen, files, keeping, dropped], **private)
    keep_it.click(keep_dropped, [owner_token, dropped], status, js=access.WITH_TOKEN_JS, **private)
    run.click(wait, None, [status, run], queue=False, **private).then(
        score, [chosen, digits], list(parts.values()), concurrency_limit=AT_A_TIME, **private
    )
    bear.click(
        measure, [shown, set_of], [robustness_status, robustness, robustness_table], **private
    )
    ask.click(None, chosen, None, js=_ASK_JS, api_visibility="private")
    for choice in (set_of, first, second):
        choice.input(differ, [shown, set_of, first, second], images, **private)


# The page's script has the sketch, calls ``compare_answers`` and fills the table.
_ASK_JS = """(models) => {
    dispatchEvent(new CustomEvent("digitcnn-compare", { detail: models }));
}"""


def suggested(names: Sequence[str], selected: Any) -> list[str]:
    """The models that are compared unless somebody chooses: the selected one, the newest other.

    names: of all that are here, the newest first. selected: from anybody; fewer than two models
    give fewer than two.
    """
    first = [name for name in names if name == selected]
    return [*first, *(name for name in names if name != selected)][:2]


def compare_function(models: Models) -> Callable[[Any], Payload]:
    """Return what compare.js calls: any JSON in, a dictionary out, never an error."""

    @replying
    def compare_answers(payload: Payload) -> Payload:
        return predictions_of(models, payload)

    return compare_answers


def predictions_of(models: Models, payload: Payload) -> Payload:
    """Return every chosen model's prediction for one sketch. Raises DigitCNNError.

    payload: the sketch, as the pad sends it, and ``{"models": names}``; from anybody. Returns
    ``{"seen": 784 pixels in base64, "heads", "rows": texts}``.
    """
    keys = _names(payload.get("models"))
    check_number(len(keys))
    seen = seen_of(payload)
    if seen is None:
        raise SketchError("The pad is empty; draw a digit on the Sketchpad tab first.")
    chosen = [models.get(key) for key in keys]
    names = unique_names([c.name for c in chosen], [c.digest for c in chosen])
    return {
        "seen": base64.b64encode(seen.numpy().tobytes()).decode("ascii"),
        "heads": ["Model", "Prediction", "Confidence", "Runner-up"],
        "rows": view.answer_rows(names, [checkpoint.answers(seen[None]) for checkpoint in chosen]),
    }


_NOT_COMPARED = "Nothing is compared yet; choose models and press Compare."

# Some of what is shown, by the names in build_compare_tab; the rest stays as it is.
Looks = dict[str, Any]


def compared(workspace: Workspace, models: Models, chosen: Any, sets: Any) -> Iterator[Looks]:
    """What the page shows from the press of the button to the end.

    chosen, sets: names of models and test sets, from anybody. Raises DigitCNNError for what cannot
    be compared.
    """
    keys, set_names = _names(chosen), _names(sets)
    check_number(len(keys))
    if not 1 <= len(set_names) <= MOST_SETS:
        raise DigitSetError(f"{len(set_names)} test sets are chosen; choose 1 to {MOST_SETS}.")
    checkpoints = [models.get(key) for key in keys]
    names = unique_names([c.name for c in checkpoints], [c.digest for c in checkpoints])
    comparisons = []
    for set_name in set_names:
        digit_set = workspace.catalog.open(set_name, "test")
        predictions: list[Predictions] = []
        for name, checkpoint in zip(names, checkpoints, strict=True):
            work = partial(_predicted, workspace, checkpoint, digit_set)
            what = f"{name} on {digit_set.name}"
            predictions.append((yield from telling(work, what, lambda line: {"status": line})))
        temperatures = [checkpoint.details.temperature for checkpoint in checkpoints]
        comparisons.append(compare(names, predictions, temperatures))
    last = comparisons[-1]
    yield {
        "status": status_line(f"{len(names)} models on {', '.join(c.title for c in comparisons)}."),
        "run": gr.Button(interactive=True),
        "table": view.models_table(comparisons, checkpoints, workspace.runs.digests()),
        "words": view.words_of(comparisons, checkpoints),
        "pairs": "".join(view.pairs_table(found) for found in comparisons),
        "settings": view.settings_table(names, checkpoints),
        "history": view.history_chart(names, checkpoints),
        "set": gr.Dropdown(set_names, value=set_names[-1]),
        "first": gr.Dropdown(names, value=names[0]),
        "second": gr.Dropdown(names, value=names[1]),
        "images": view.differences(last, digit_set, 0, 1),
        **dict.fromkeys(("robustness_status", "robustness", "robustness_table"), ""),
        "shown": Compared(tuple(keys), tuple(names), tuple(set_names)),
    }


def differences_of(
    workspace: Workspace, models: Models, now: Compared, name: Any, a: Any, b: Any
) -> str:
    """The images and digits on which two of the compared models differ. Raises DigitCNNError."""
    if name not in now.sets or a not in now.names or b not in now.names:
        raise ConfigError(_NOT_COMPARED)
    if a == b:
        raise ConfigError(f"{a} does not differ from itself; choose two models.")
    digit_set = workspace.catalog.open(name, "test")
    checkpoints = [models.get(key) for key in now.keys]
    found = _from_cache(workspace, now.names, checkpoints, digit_set)
    return view.differences(found, digit_set, now.names.index(a), now.names.index(b))


def robustness_of(
    workspace: Workspace, models: Models, now: Compared, name: Any
) -> Iterator[list[Any]]:
    """Status, figure and table of the compared models' robustness, step by step.

    Raises DigitCNNError.
    """
    if name not in now.sets:
        raise ConfigError(_NOT_COMPARED)
    digit_set = workspace.catalog.open(name, "test")
    found: list[Robustness] = []
    for key, model in zip(now.keys, now.names, strict=True):
        work = partial(_measured, workspace, models.get(key), digit_set)
        what = f"{model} on changed images of {name}"
        found.append((yield from telling(work, what, lambda line: [line, gr.skip(), gr.skip()])))
    done = status_line(f"{len(found)} models on changed images of {found[0].title}.")
    yield [done, *robustness_views(found, now.names)]


def _from_cache(
    workspace: Workspace,
    names: Sequence[str],
    checkpoints: Sequence[Checkpoint],
    digit_set: DigitSet,
) -> Comparison:
    predictions = [workspace.predict(checkpoint, digit_set) for checkpoint in checkpoints]
    return compare(names, predictions, [c.details.temperature for c in checkpoints])


def _predicted(
    workspace: Workspace, checkpoint: Checkpoint, digit_set: DigitSet, progress: Progress
) -> Predictions:
    return workspace.predict(checkpoint, digit_set, progress=progress)


def _measured(
    workspace: Workspace, checkpoint: Checkpoint, digit_set: DigitSet, progress: Progress
) -> Robustness:
    return workspace.robustness(checkpoint, digit_set, progress=progress)


def _names(chosen: Any) -> list[str]:
    names = chosen if isinstance(chosen, list) else []
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))
