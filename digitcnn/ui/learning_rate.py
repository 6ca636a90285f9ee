"""A logarithmic slider with the learning rate itself beside it."""

from __future__ import annotations

import math

import gradio as gr

_TEMPLATE = """
<label class="rate-label" for="learning-rate-value">Learning rate</label>
<div class="rate-info">the peak of the schedule; the slider is logarithmic</div>
<div class="rate-row">
  <input type="range" min="{low}" max="{high}" step="0.05" value="{start}"
         aria-label="Learning rate, logarithm to base 10">
  <input type="number" id="learning-rate-value" min="{lowest:g}" max="{highest:g}" step="any"
         value="{rate:g}">
</div>
<div class="rate-ends"><span>{lowest:g}</span><span>{highest:g}</span></div>
"""

_CSS = """
.rate-label { display: block; font-size: var(--block-title-text-size);
  color: var(--block-title-text-color); }
.rate-info { color: var(--block-info-text-color); font-size: var(--block-info-text-size);
  margin: 2px 0 8px; }
.rate-row { display: flex; gap: 12px; align-items: center; }
input[type=range] { flex: 1; min-width: 0; accent-color: var(--slider-color); }
input[type=number] { width: 92px; padding: 4px 8px; text-align: right; border-radius: 6px;
  border: 1px solid var(--input-border-color); background: var(--input-background-fill);
  color: var(--body-text-color); }
.rate-ends { display: flex; justify-content: space-between; margin-right: 104px;
  color: var(--body-text-color-subdued); font-size: 0.75rem; }
"""

# The number is what is sent; the slider follows it, and writes two significant digits into it.
_SCRIPT = """
const [slider, number] = element.querySelectorAll('input');
const follow = () => { slider.value = Math.log10(Number(number.value)); };
slider.addEventListener('input', () => {
  number.value = Number((10 ** Number(slider.value)).toPrecision(2));
  props.value = Number(number.value);
});
slider.addEventListener('change', () => trigger('change'));
number.addEventListener('input', () => { follow(); props.value = Number(number.value); });
number.addEventListener('change', () => trigger('change'));
watch('value', () => { number.value = props.value; follow(); });
"""


def learning_rate_slider(rate: float, lowest: float, highest: float) -> gr.HTML:
    """The control; its value is the rate itself."""
    template = _TEMPLATE.format(
        low=math.log10(lowest),
        high=math.log10(highest),
        start=math.log10(rate),
        lowest=lowest,
        highest=highest,
        rate=rate,
    )
    return gr.HTML(
        rate,
        html_template=template,
        css_template=_CSS,
        js_on_load=_SCRIPT,
        elem_id="train-learning-rate",
        container=True,
        elem_classes="rate",
    )
