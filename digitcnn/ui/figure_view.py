"""Figures on the page: each is an image that opens in full when it is clicked."""

from __future__ import annotations

import io
import zipfile

import gradio as gr
from markupsafe import Markup

from digitcnn.analysis.figures import NAMES
from digitcnn.ui.parts import png_address
from digitcnn.web.bundle import style
from digitcnn.web.templates import render

CAPTIONS = {
    "01_training_history": "Loss and accuracy per epoch.",
    "02_sample_data": "The same digits from each set, as the network sees them.",
    "03_predictions": "First images and most confident errors, with prediction and confidence.",
    "04_cross_dataset_evaluation": "Accuracy on each set, and errors per digit.",
    "05_conv_filters": "The 32 first-layer filters on a common scale.",
    "06_feature_maps": "One digit after each layer.",
    "07_confusion_matrix": "Which digits are confused; right predictions are muted.",
    "08_confidence_analysis": "Confidence compared with accuracy.",
    "09_stability_test": "Accuracy over repeated passes with dropout on.",
}


def figure_place(elem_id: str) -> gr.HTML:
    """Build an empty place for a figure."""
    return gr.HTML(
        css_template=style("figures.css"),
        apply_default_css=False,
        elem_id=elem_id,
    )


def figure_html(name: str, png: bytes) -> Markup:
    """Render one of the nine with its caption."""
    return opening_figure(name, CAPTIONS[name], png, caption=f"{name[:2]} · {CAPTIONS[name]}")


def missing_figure_html(name: str, reason: str) -> Markup:
    """Render why one of the nine cannot be drawn, in place of the image."""
    caption = f"{name[:2]} · {CAPTIONS[name]}"
    return render("evaluate/no_figure.html", name=name, caption=caption, reason=reason)


def opening_figure(name: str, alt: str, png: bytes, *, caption: str = "") -> Markup:
    """Render a figure for a ``figure_place``."""
    return render(
        "evaluate/figure.html", name=name, alt=alt, address=png_address(png), caption=caption
    )


def plain_figure(alt: str, png: bytes) -> Markup:
    """Render a figure that does not open."""
    return render("evaluate/gap.html", alt=alt, address=png_address(png))


def zip_of(pngs: dict[str, bytes]) -> bytes:
    """Return the figures in one zip file, uncompressed: PNG is compressed already."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in NAMES:
            if name in pngs:
                archive.writestr(f"{name}.png", pngs[name])
    return file.getvalue()
