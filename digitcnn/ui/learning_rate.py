"""A logarithmic slider with the learning rate itself beside it."""

from __future__ import annotations

import math

import gradio as gr

from digitcnn.analysis.settings_text import value_text
from digitcnn.web import bundle
from digitcnn.web.templates import render


def learning_rate_slider(rate: float, lowest: float, highest: float) -> gr.HTML:
    """Build the control; its value is the rate itself."""
    numbers = {"rate": rate, "lowest": lowest, "highest": highest}
    template = render(
        "train/learning_rate.html",
        exponents={name: math.log10(number) for name, number in numbers.items()},
        **{name: value_text(number) for name, number in numbers.items()},
    )
    return gr.HTML(
        rate,
        html_template=str(template),
        css_template=bundle.style("learning_rate.css"),
        js_on_load=bundle.on_load("logarithmicSlider"),
        elem_id="train-learning-rate",
        container=True,
        elem_classes="rate",
    )
