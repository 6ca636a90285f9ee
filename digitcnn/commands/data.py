"""``data``: list and fetch digit sets."""

from __future__ import annotations

import argparse
from typing import Any

from digitcnn.commands.base import Answer, add_command, catalog_of, download


def add(commands: Any) -> None:
    data = commands.add_parser("data", help="list and fetch digit sets")
    actions = data.add_subparsers(metavar="ACTION", required=True)
    add_command(actions, "list", _data_list, help="digit sets and whether they are here")
    download = add_command(actions, "download", _data_download, help="fetch a digit set")
    download.add_argument("name", metavar="NAME", help="such as mnist, emnist-digits or usps")
    download.add_argument("--split", choices=("train", "test"), default=None, help="only this one")


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
