"""Figures on the page: the nine in a gallery, others as an image that opens in full."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import gradio as gr
from markupsafe import Markup

from digitcnn.options import FIGURES, FileType
from digitcnn.ui.gradio_private import save_bytes_to_cache
from digitcnn.ui.parts import html_view, png_address
from digitcnn.web.templates import render

CAPTIONS = {
    "01_training_history": "Loss and accuracy per epoch; a blind guess has a loss of 2.3 nats.",
    "02_sample_data": "The same digits from each set, as the network sees them.",
    "03_predictions": "First images and most confident errors, with prediction and confidence.",
    "04_cross_dataset_evaluation": "Accuracy on each set, and errors per digit.",
    "05_conv_filters": "The 32 first-layer filters on a common scale.",
    "06_feature_maps": "One digit after each layer.",
    "07_confusion_matrix": "Which digits are confused; right predictions are muted.",
    "08_confidence_analysis": "Confidence compared with accuracy.",
    "09_stability_test": "Accuracy over repeated passes with dropout on.",
}


def caption(name: str) -> str:
    """Return the caption of one of the nine, with its number."""
    return f"{name[:2]} · {CAPTIONS[name]}"


def gallery_images(pngs: Mapping[str, bytes], gallery: gr.Gallery) -> list[tuple[str, str]]:
    """Return files and captions as a gallery takes them; the files are in the page's folder."""
    return [
        (save_bytes_to_cache(png, f"{name}.png", gallery.GRADIO_CACHE), caption(name))
        for name, png in pngs.items()
    ]


def figures_note(missing: Mapping[str, str]) -> Markup:
    """Render the note beside the gallery: why figures are missing, by their names."""
    return render(
        "evaluate/figures_note.html",
        missing=[(caption(name), reason) for name, reason in missing.items()],
    )


def figure_place(elem_id: str) -> gr.HTML:
    """Build an empty place for a figure."""
    return html_view(elem_id, "figures.css")


def opening_figure(name: str, alt: str, png: bytes) -> Markup:
    """Render a figure for a ``figure_place``: it opens in full, and can be saved."""
    return render("evaluate/figure.html", name=name, alt=alt, address=png_address(png))


def zip_of(files: Mapping[str, bytes], file_type: FileType) -> bytes:
    """Return the figures in one zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FIGURES:
            if name in files:
                archive.writestr(f"{name}.{file_type}", files[name])
    return file.getvalue()
