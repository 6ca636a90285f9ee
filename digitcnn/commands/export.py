"""``export``: write a checkpoint as an ONNX model or as an offline page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from digitcnn.commands.base import Result, opened_checkpoint
from digitcnn.digits import synthetic
from digitcnn.errors import ExportError
from digitcnn.folders import checkpoint_file
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.export import offline_page, onnx_model, write_file
from digitcnn.terminal import log


def run(args: argparse.Namespace) -> Result:
    """Export a checkpoint; raises ExportError for a file that cannot be written."""
    checkpoint = opened_checkpoint(args.checkpoint, args, "cpu")
    target = args.onnx or args.page
    if target.exists() and target.samefile(checkpoint_file(args.checkpoint)):
        raise ExportError(
            f"{target} is the checkpoint itself, which is never changed; name another file."
        )
    result = {"checkpoint": checkpoint.name, "digest": checkpoint.digest, "file": str(target)}
    write = _write_onnx if args.onnx else _write_page
    details, text = write(checkpoint, target)
    return {**result, **details}, text, 0


def _write_onnx(checkpoint: Checkpoint, target: Path) -> tuple[dict[str, Any], str]:
    content = onnx_model.to_onnx(checkpoint)
    log(f"Comparing with PyTorch on {onnx_model.CHECKED_IMAGES:,} generated images ...")
    images = synthetic.draw("synthetic", "test", images=onnx_model.CHECKED_IMAGES).images
    agreement = onnx_model.check(content, checkpoint, images)
    write_file(target, content)
    details = {
        "format": "onnx",
        "bytes": len(content),
        "checked_images": agreement.images,
        "disagreements": agreement.disagreements,
        "largest_difference": agreement.largest_difference,
    }
    text = (
        f"{target}: {checkpoint.name} as an ONNX model, {len(content) / 1e6:.1f} MB; ONNX Runtime "
        f"and PyTorch agree on all {agreement.images:,} images (logits at most "
        f"{agreement.largest_difference:.1e} apart)."
    )
    return details, text


def _write_page(checkpoint: Checkpoint, target: Path) -> tuple[dict[str, Any], str]:
    content = offline_page.to_page(checkpoint).encode()
    write_file(target, content)
    text = (
        f"{target}: {checkpoint.name} as a page, {len(content) / 1e6:.1f} MB; open it in a "
        "browser, with or without a connection."
    )
    return {"format": "page", "bytes": len(content)}, text
