"""How many dropout passes to measure: a slider that follows the model, and its value checked."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from digitcnn.errors import CheckpointError
from digitcnn.options import MOST_PASSES, check_passes, usual_passes
from digitcnn.ui.context import Context
from digitcnn.ui.models import Models
from digitcnn.ui.parts import PRIVATE, whole


def passes_slider(context: Context, **options: Any) -> gr.Slider:
    """Build a slider that is set to the usual number of the model selected in the header."""
    passes = gr.Slider(1, MOST_PASSES, value=usual_passes(None), step=1, **options)
    # Without triggers: when the page loads and whenever the selection changes.
    gr.on(
        None,
        partial(default_passes, context.models),
        context.model_select,
        passes,
        queue=False,
        trigger_mode="always_last",
        **PRIVATE,
    )
    return passes


def default_passes(models: Models, name: str | None) -> int:
    """Return how many passes are usual for a model: as many as it has epochs."""
    try:
        return usual_passes(models.get(name).details.epochs)
    except CheckpointError:
        # The selector follows within a second; pressing the button meanwhile shows the problem.
        return usual_passes(None)


def checked_passes(value: Any) -> int:
    """Return a slider's value, of any type. Raises ConfigError for an unusable number."""
    passes: int = whole(value)
    check_passes(passes)
    return passes
