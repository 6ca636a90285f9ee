"""The section of the Evaluate tab that shows the nine figures and offers them as files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from digitcnn.errors import DigitSetError
from digitcnn.options import FIGURES, FILE_TYPES
from digitcnn.services.evaluation import FigureCache, draw_figures, evaluate
from digitcnn.ui.context import Context
from digitcnn.ui.error_browser import ANY, ANY_DIGIT_CHOICES
from digitcnn.ui.evaluation_steps import EvaluationRequest
from digitcnn.ui.evaluation_view import caption
from digitcnn.ui.gradio_private import save_bytes_to_cache
from digitcnn.ui.parts import PRIVATE, zipped
from digitcnn.ui.passes import passes_slider
from digitcnn.ui.results import Results
from digitcnn.ui.subject import Subject
from digitcnn.ui.tables import data_link
from digitcnn.ui.toasts import toasting
from digitcnn.web import bundle

ALL = "all"
MEDIA_TYPES = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}

# The page is shorter with one figure in place of nine, and may be scrolled beyond its buttons.
_SHOW_ENLARGED_JS = bundle.handler("reveal", "#evaluate-gallery .preview")


def build_figure_gallery(context: Context, cache: FigureCache, results: Results) -> list[Any]:
    """Build the section; return the controls of the figures.

    The number of passes for figure 9, and the image of figure 6: a digit or ANY, and its number
    among those, from 0.
    """
    workspace, models = context.workspace, context.models
    note = gr.HTML(elem_id="evaluate-figures-note")
    gallery = gr.Gallery(
        show_label=False,
        columns=3,
        height="auto",
        object_fit="contain",
        format="png",
        buttons=["download", "fullscreen"],
        interactive=False,
        elem_id="evaluate-gallery",
    )
    with gr.Row(equal_height=True):
        which = gr.Dropdown(
            [("All (zip)", ALL), *((caption(name), name) for name in FIGURES)],
            value=ALL,
            label="Figure to download",
            scale=3,
            elem_id="evaluate-which",
        )
        # Unlike the buttons of a gr.Radio, always shows what is chosen.
        file_type = gr.Dropdown(
            [(name.upper(), name) for name in FILE_TYPES],
            value="png",
            label="File type",
            filterable=False,
            scale=1,
            elem_id="evaluate-file-type",
        )
        download = gr.Button("Download", scale=1, min_width=120, elem_id="evaluate-zip")
    link = gr.HTML(elem_id="evaluate-zip-link")
    with gr.Accordion("Settings of figures 6 and 9", open=False), gr.Row(equal_height=True):
        digit = gr.Dropdown(
            ANY_DIGIT_CHOICES,
            value=ANY,
            label="Example digit (figure 6)",
            info="From the first test set",
            elem_id="evaluate-example-digit",
        )
        place = gr.Number(
            0, label="Image number", info="Counting from 0", precision=0, elem_id="evaluate-example"
        )
        passes = passes_slider(
            context,
            label="Dropout passes (figure 9)",
            info="Used by the next evaluation; default: the model's epochs",
            elem_id="evaluate-passes",
        )

    def files_of(subject: Subject, further: tuple[Any, ...], names: Any, kind: Any) -> Any:
        if not subject.names:
            raise DigitSetError("There are no figures yet; press Evaluate first.")
        request = EvaluationRequest.check(workspace, models, subject, *further)
        predict = workspace.predict
        findings = evaluate(
            request.checkpoint, request.digit_sets, predict=predict, example=request.example
        )
        return draw_figures(
            findings,
            request.checkpoint,
            request.passes,
            predict=predict,
            cache=cache,
            names=names,
            file_type=kind,
        )

    @toasting
    def redraw(subject: Subject, *further: Any) -> Any:
        return gallery_images(files_of(subject, further, FIGURES, "png"), gallery)

    @toasting
    def pack(subject: Subject, name: Any, kind: Any, *further: Any) -> str:
        if kind not in FILE_TYPES or name not in (ALL, *FIGURES):
            raise DigitSetError("Unknown figure or file type; choose them from the lists.")
        files = files_of(subject, further, FIGURES if name == ALL else [name], kind)
        if name == ALL:
            file, media_type = "figures.zip", "application/zip"
            content = zipped((f"{figure}.{kind}", data) for figure, data in files.items())
        elif name in files:
            file, media_type, content = f"{name}.{kind}", MEDIA_TYPES[kind], files[name]
        else:
            raise DigitSetError(f"This model has no figure {name[:2]}; choose another.")
        file = f"{subject.names[0]}-{file}"
        return data_link(content, media_type, file, file)

    def choose(event: gr.EventData) -> Any:
        """Offer the figure that is enlarged."""
        try:
            value = str(event.value)
        except (AttributeError, TypeError):
            return gr.skip()  # not sent by the gallery: gr.SelectData would fail in Gradio's code
        names = [name for name in FIGURES if f"{name}.png" in value]
        return names[0] if names else gr.skip()

    for control in (digit, place):
        control.input(redraw, [results.view, passes, digit, place], gallery, **PRIVATE)
    gallery.select(choose, None, which, queue=False, **PRIVATE).then(
        None, js=_SHOW_ENLARGED_JS, **PRIVATE
    )
    download.click(
        pack, [results.view, which, file_type, passes, digit, place], link, **PRIVATE
    ).success(None, js=bundle.handler("press", "#evaluate-zip-link a"), **PRIVATE)
    results.parts |= {"figures": gallery, "figures_note": note}
    return [passes, digit, place]


def gallery_images(pngs: Mapping[str, bytes], gallery: gr.Gallery) -> list[tuple[str, str]]:
    """Return files and captions as a gallery takes them; the files are in the page's folder."""
    return [
        (save_bytes_to_cache(png, f"{name}.png", gallery.GRADIO_CACHE), caption(name))
        for name, png in pngs.items()
    ]
