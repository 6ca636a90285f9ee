"""``data``: list, download and add digit sets."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from tqdm import tqdm

from digitcnn.commands.base import Result, advance, catalog_of, download
from digitcnn.digits.catalog import Entry
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CheckpointError
from digitcnn.folders import SHIPPED_FILE
from digitcnn.terminal import log


def run(args: argparse.Namespace) -> Result:
    """List, download or add digit sets."""
    return {"list": _data_list, "download": _data_download, "add": _data_add}[args.action](args)


def _data_list(args: argparse.Namespace) -> Result:
    entries = catalog_of(args).entries(thorough=True)
    rows = [
        {
            "name": entry.name,
            "split": entry.split,
            "n": entry.n,
            "present": entry.present,
            "path": None if entry.path is None else str(entry.path),
            "problem": entry.problem,
        }
        for entry in entries
    ]
    lines = [
        f"{entry.name:24} {entry.split:6} {_state(entry):>9}  {entry.problem or ''}".rstrip()
        for entry in entries
    ]
    return {"sets": rows}, "\n".join(lines), 0


def _state(entry: Entry) -> str:
    if entry.n is not None:
        return str(entry.n)
    return "damaged" if entry.problem else "missing"


def _data_download(args: argparse.Namespace) -> Result:
    catalog = catalog_of(args)
    download(catalog, args.name, args.split)
    return _data_list(args)


def _data_add(args: argparse.Namespace) -> Result:
    catalog = catalog_of(args)
    from digitcnn.digits.own_set import read_own_set  # NumPy, Pillow and PyTorch

    # An unusable name is reported before a large folder is read.
    catalog.check_new(args.name, args.split)
    with tqdm(unit="image", file=sys.stderr, disable=None, leave=False) as bar:
        own = read_own_set(
            args.path,
            args.name,
            args.split,
            args.frame,
            partial(advance, bar),
            transpose=args.transpose,
        )
    folder = catalog.add(own.digit_set)
    n = len(own.digit_set)
    advice = _orientation_advice(own.digit_set)
    if advice is not None:
        log(f"{args.name} may not be stored upright. The shipped model reads {advice}")
    result = {
        "name": args.name,
        "split": args.split,
        "n": n,
        "per_digit": own.digit_set.labels.long().bincount(minlength=10).tolist(),
        "frame": args.frame,
        "inverted": own.inverted,
        "fingerprint": own.digit_set.fingerprint,
        "path": str(folder),
        "advice": advice,
    }
    ink = " (dark ink on light paper: inverted)" if own.inverted else ""
    return result, f"{args.name} ({args.split}): {n:,} images in {folder}{ink}.", 0


def _orientation_advice(digit_set: DigitSet) -> str | None:
    """Return the shipped model's advice; None where it has none or is missing."""
    from digitcnn.analysis.orientation import orientation_advice
    from digitcnn.network.checkpoint import load

    try:
        model = load(SHIPPED_FILE)
    except CheckpointError:
        return None
    return orientation_advice(model.classifier, digit_set)
