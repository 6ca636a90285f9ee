"""The plain way to draw in Gradio, the baseline of ``pad_latency``: gr.Sketchpad and gr.Label.

    python -m benchmarks.stock_sketchpad PORT

It uses the same model and framing as digitcnn's page. The label counts its predictions, so that
each one differs from the one before.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from typing import Any

import gradio as gr
from PIL import Image

from digitcnn.digits.sketch import from_image
from digitcnn.folders import SHIPPED_FILE
from digitcnn.network.checkpoint import load


def page() -> gr.Blocks:
    checkpoint = load(SHIPPED_FILE)
    numbers = itertools.count(1)

    def answer(drawn: dict[str, Any]) -> str:
        composite: Image.Image = drawn["composite"]
        seen = from_image(composite)
        digit = "?" if seen is None else int(checkpoint.probabilities(seen[None])[0].argmax())
        return f"{digit}, answer {next(numbers)}"

    blocks: gr.Blocks
    with gr.Blocks() as blocks:
        pad = gr.Sketchpad(type="pil", image_mode="RGBA", elem_id="stock-pad")
        label = gr.Label(elem_id="stock-answer")
        pad.change(answer, pad, label, show_progress="hidden")
    return blocks


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    args = parser.parse_args(arguments)
    page().launch(server_port=args.port, quiet=True)


if __name__ == "__main__":
    main()
