"""``data``: list and fetch digit sets, and add one's own."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from digitcnn.commands.base import Answer, add_command, advance, catalog_of, download
from digitcnn.digits.catalog import SPLITS
from digitcnn.digits.own_set import FRAMINGS, read_own_set


def add(commands: Any) -> None:
    data = commands.add_parser("data", help="list, fetch and add digit sets")
    actions = data.add_subparsers(metavar="ACTION", required=True)
    add_command(actions, "list", _data_list, help="digit sets and whether they are here")
    download = add_command(actions, "download", _data_download, help="fetch a digit set")
    download.add_argument("name", metavar="NAME", help="such as mnist, emnist-digits or usps")
    download.add_argument("--split", choices=SPLITS, default=None, help="only this one")
    own = add_command(
        actions,
        "add",
        _data_add,
        help="add a digit set of your own",
        description="Add a digit set of your own: an IDX pair, an .npz with images and labels, or "
        "a folder of pictures per digit. Dark ink on light paper is inverted.",
    )
    own.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="IDX images file or a folder with one, an .npz, or a folder with subfolders 0 to 9",
    )
    own.add_argument("--name", required=True, help="what the set is called from now on")
    own.add_argument("--split", choices=SPLITS, default="test", help="what it is for")
    own.add_argument(
        "--frame",
        choices=FRAMINGS,
        default="none",
        help="none keeps images of 28x28 as they are; mnist and emnist bring any size to the "
        "framing of these sets",
    )


def _data_list(args: argparse.Namespace) -> Answer:
    entries = catalog_of(args).entries()
    rows = [
        {
            "name": entry.name,
            "split": entry.split,
            "n": entry.n,
            "present": entry.present,
            "path": None if entry.path is None else str(entry.path),
        }
        for entry in entries
    ]
    lines = [
        f"{entry.name:24} {entry.split:6} {entry.n if entry.present else 'not here':>9}"
        for entry in entries
    ]
    return {"sets": rows}, "\n".join(lines), 0


def _data_download(args: argparse.Namespace) -> Answer:
    catalog = catalog_of(args)
    download(catalog, args.name, args.split)
    return _data_list(args)


def _data_add(args: argparse.Namespace) -> Answer:
    catalog = catalog_of(args)
    # A name that will not do is said before a large folder is read.
    catalog.check_new(args.name, args.split)
    with tqdm(unit="image", file=sys.stderr, disable=None, leave=False) as bar:
        own = read_own_set(args.path, args.name, args.split, args.frame, partial(advance, bar))
    folder = catalog.add(own.digit_set)
    n = len(own.digit_set)
    result = {
        "name": args.name,
        "split": args.split,
        "n": n,
        "per_digit": own.digit_set.labels.long().bincount(minlength=10).tolist(),
        "frame": args.frame,
        "inverted": own.inverted,
        "fingerprint": own.digit_set.fingerprint,
        "path": str(folder),
    }
    ink = " (dark ink on light paper: inverted)" if own.inverted else ""
    return result, f"{args.name} ({args.split}): {n:,} images in {folder}{ink}.", 0
