"""``stability``: passes with dropout on; the same numbers as the page's Stability tab."""

from __future__ import annotations

import argparse
import sys

from tqdm import tqdm

from digitcnn.analysis.figures.stability import stability_text
from digitcnn.analysis.metrics import accuracy_text, percent
from digitcnn.analysis.stability import PassResult, Stability, passes
from digitcnn.commands.base import (
    Answer,
    catalog_of,
    opened_checkpoint,
    predicted,
    say,
)
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.options import check_passes, usual_passes


def run(args: argparse.Namespace) -> Answer:
    loaded = opened_checkpoint(args.checkpoint, args.device)
    count = getattr(args, "passes", usual_passes(loaded.details.epochs))
    check_passes(count)
    digit_set = _test_set(args, catalog_of(args), loaded.details.digits)
    steps = passes(
        loaded.network,
        predicted(loaded, digit_set, features=True),
        count,
        masks=args.masks,
        temperature=loaded.temperature,
    )
    with tqdm(unit="pass", total=count, file=sys.stderr, disable=None, leave=False) as bar:
        for step in steps:
            if isinstance(step, PassResult):
                bar.update()
            else:
                found = step
    return found.to_json(), _text(found), 0


def _test_set(args: argparse.Namespace, catalog: Catalog, trained_on: str | None) -> DigitSet:
    """The set that was named, else MNIST, else what is here, with a sentence."""
    if hasattr(args, "digits"):
        return catalog.open(args.digits, "test")
    if catalog.has("mnist", "test"):
        return catalog.open("mnist", "test")
    own = trained_on is not None and catalog.has(trained_on, "test")
    name = trained_on if own and trained_on is not None else "synthetic"
    say(f"mnist is not on this machine; {name} is taken instead. Name others with --digits.")
    return catalog.open(name, "test")


def _text(found: Stability) -> str:
    return "\n".join(
        [
            stability_text(found),
            f"minimum {percent(found.min)}, maximum {percent(found.max)}; without dropout "
            f"{accuracy_text(found.accuracy, found.n)} on {found.n:,} images",
            f"{percent(found.flipped)} of the images change their answer in any pass",
        ]
    )
