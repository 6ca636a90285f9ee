"""A logarithmic slider with the learning rate itself beside it."""

from __future__ import annotations

import math

import gradio as gr

from digitcnn.analysis.settings_text import value_text
from digitcnn.web import bundle
from digitcnn.web.templates import source


def learning_rate_slider(rate: float, lowest: float, highest: float) -> gr.HTML:
    """Build the control; its value is the rate itself."""
    return gr.HTML(
        rate,
        html_template=source("train/learning_rate.html"),
        css_template=bundle.style("learning_rate.css"),
        js_on_load=bundle.on_load("logarithmicSlider"),
        elem_id="train-learning-rate",
        container=True,
        elem_classes="rate",
        # What the template shows.
        rate=value_text(rate),
        lowest=value_text(lowest),
        highest=value_text(highest),
        rate_exponent=math.log10(rate),
        lowest_exponent=math.log10(lowest),
        highest_exponent=math.log10(highest),
    )
