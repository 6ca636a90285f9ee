"""``stability``: measure how accuracy varies with dropout on, as the Stability tab does."""

from __future__ import annotations

import argparse

from digitcnn.analysis.stability import Stability, stability_text
from digitcnn.commands.base import Result, catalog_of, checked_passes, opened_checkpoint
from digitcnn.commands.progress import progress_bar
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import set_names
from digitcnn.intervals import accuracy_text, percent
from digitcnn.services.evaluation import measure_stability
from digitcnn.terminal import log


def run(args: argparse.Namespace) -> Result:
    """Measure how accuracy varies with dropout on."""
    checkpoint = opened_checkpoint(args.checkpoint, args)
    passes = checked_passes(args, checkpoint)
    digit_set = _test_set(args, catalog_of(args), checkpoint.details.digits)
    with progress_bar() as notify:
        (result,) = measure_stability(
            checkpoint,
            digit_set,
            passes,
            masks=[args.masks],
            notify=notify,
        )
    return result.to_json(), _text(result), 0


def _test_set(args: argparse.Namespace, catalog: Catalog, trained_on: str | None) -> DigitSet:
    """Return the named set, else MNIST, else the model's own or synthetic, after a message."""
    if args.digits is not None:
        return catalog.open(args.digits, "test")
    if catalog.check("mnist", "test"):
        return catalog.open("mnist", "test")
    own = (name for name in set_names(trained_on or "") if catalog.check(name, "test"))
    name = next(own, "synthetic")
    log(f"mnist is not available; using {name}. Choose another with --digits.")
    return catalog.open(name, "test")


def _text(result: Stability) -> str:
    return "\n".join(
        [
            stability_text(result),
            f"minimum {percent(result.min)}, maximum {percent(result.max)}; without dropout "
            f"{accuracy_text(result.accuracy, result.n)} on {result.n:,} images",
            f"{percent(result.flipped)} of the images change their prediction in at least one pass",
        ]
    )
