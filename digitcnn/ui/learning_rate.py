"""A logarithmic slider with the learning rate itself beside it."""

from __future__ import annotations

import math

import gradio as gr

from digitcnn.analysis.settings_text import value_text
from digitcnn.web import bundle
from digitcnn.web.templates import render

# The number is the value; the slider follows it, and writes two significant digits into it.
_CONNECT_JS = """
const [slider, number] = element.querySelectorAll("input");
const follow = () => { slider.value = Math.log10(Number(number.value)); };
// An emptied field is "" rather than 0, so that it is refused as empty.
const typed = () => (number.value === "" ? "" : Number(number.value));
slider.addEventListener("input", () => {
  number.value = Number((10 ** Number(slider.value)).toPrecision(2));
  props.value = Number(number.value);
});
slider.addEventListener("change", () => trigger("change"));
number.addEventListener("input", () => { follow(); props.value = typed(); });
number.addEventListener("change", () => trigger("change"));
watch("value", () => { number.value = props.value; follow(); });
"""


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
        js_on_load=_CONNECT_JS,
        elem_id="train-learning-rate",
        container=True,
        elem_classes="rate",
    )
