"""``export``: write a network for use elsewhere, as an ONNX model or as an offline page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from digitcnn.commands.base import Answer, opened_checkpoint
from digitcnn.digits import synthetic
from digitcnn.errors import ExportError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.export import offline_page, onnx_model, write_file
from digitcnn.terminal import say


def run(args: argparse.Namespace) -> Answer:
    loaded = opened_checkpoint(args.checkpoint, "cpu")
    target = args.onnx or args.page
    if target.exists() and target.samefile(args.checkpoint):
        raise ExportError(
            f"{target} is the checkpoint itself, which is never changed; name another file."
        )
    result = {"checkpoint": loaded.name, "digest": loaded.digest, "file": str(target)}
    if args.onnx:
        found, text = _write_onnx(loaded, target)
    else:
        found, text = _write_page(loaded, target)
    return {**result, **found}, text, 0


def _write_onnx(loaded: Checkpoint, target: Path) -> tuple[dict[str, Any], str]:
    content = onnx_model.to_onnx(loaded)
    say(f"Comparing with PyTorch on {onnx_model.CHECKED_IMAGES:,} images drawn by the program ...")
    images = synthetic.draw("synthetic", "test", images=onnx_model.CHECKED_IMAGES).images
    agreement = onnx_model.check(content, loaded, images)
    write_file(target, content)
    found = {
        "format": "onnx",
        "bytes": len(content),
        "checked_images": agreement.images,
        "disagreements": agreement.disagreements,
        "largest_difference": agreement.largest_difference,
    }
    text = (
        f"{target}: {loaded.name} as an ONNX model, {len(content) / 1e6:.1f} MB; ONNX Runtime and "
        f"PyTorch give the same digit for all of {agreement.images:,} images, with logits at most "
        f"{agreement.largest_difference:.1e} apart."
    )
    return found, text


def _write_page(loaded: Checkpoint, target: Path) -> tuple[dict[str, Any], str]:
    content = offline_page.to_page(loaded).encode()
    write_file(target, content)
    text = (
        f"{target}: {loaded.name} as a page, {len(content) / 1e6:.1f} MB; open it in a browser, "
        "with or without a connection."
    )
    return {"format": "page", "bytes": len(content)}, text
