"""What the commands share: their common options, how they speak, which sets they open."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from digitcnn.analysis.predictions import Predictions, predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import DigitSetError
from digitcnn.feedback import FeedbackStore
from digitcnn.network import checkpoint as checkpoints
from digitcnn.network import device as devices
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.workspace import (
    PROGRAM_FOLDER,
    catalog_with_feedback,
    data_folder,
    feedback_place,
)

# A command's result: its JSON object, the same as text for people, and the exit status.
Answer = tuple[dict[str, Any], str, int]


def add_command(commands: Any, name: str, function: Any, **texts: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **texts
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=argparse.SUPPRESS,
        help="folder of digit sets (default: DIGITCNN_DATA, else the user's cache folder)",
    )
    parser.add_argument(
        "--device", choices=devices.CHOICES, default="auto", help="where to compute"
    )
    parser.set_defaults(command=function)
    return parser


def catalog_of(args: argparse.Namespace) -> Catalog:
    """Raises ConfigError for a bad DIGITCNN_FEEDBACK_URL."""
    store = FeedbackStore(feedback_place(PROGRAM_FOLDER / "outputs"))
    return catalog_with_feedback(data_folder(getattr(args, "data_dir", None)), store)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def advance(bar: tqdm, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def opened_checkpoint(path: Path, device: str) -> Checkpoint:
    """A checkpoint on the device that was asked for; bare weights under the input scaling that
    they were most likely trained with, and it is said which."""
    loaded = checkpoints.load(path).fitted()
    if loaded.scaling is not None:
        say(f"{path.name} is {loaded.verdict}.")
    loaded.network.to(devices.choose(device).device)
    return loaded


def predicted(loaded: Checkpoint, digit_set: DigitSet, *, features: bool = False) -> Predictions:
    """The network's answers, with a bar on the terminal. features: whether they are needed."""
    with tqdm(unit="image", file=sys.stderr, disable=None, leave=False) as bar:
        bar.set_description(f"{loaded.name} on {digit_set.name}")
        return predict(
            loaded.network,
            digit_set,
            digest=loaded.digest,
            progress=partial(advance, bar),
            keep_features=features,
        )


def add_digits_option(parser: argparse.ArgumentParser) -> None:
    """The option that ``opened_test_sets`` reads."""
    parser.add_argument(
        "--digits",
        default=argparse.SUPPRESS,
        help="test sets, separated by commas (default: those of mnist,emnist-digits that are here)",
    )


def opened_test_sets(args: argparse.Namespace) -> list[DigitSet]:
    """The sets that were named, else the usual ones that are on this machine."""
    catalog = catalog_of(args)
    if hasattr(args, "digits"):
        names = [name.strip() for name in args.digits.split(",")]
    else:
        here = [e.name for e in catalog.entries() if e.present and e.split == "test"]
        names = [name for name in ("mnist", "emnist-digits") if name in here]
        for name in ("mnist", "emnist-digits"):
            if name not in here:
                say(f"{name} is not on this machine: python -m digitcnn data download {name}")
        if not names:
            raise DigitSetError("Neither is here; fetch one, or name others with --digits.")
    return [catalog.open(name, "test") for name in dict.fromkeys(names)]


def download(catalog: Catalog, name: str, split: str | None = None) -> None:
    with tqdm(unit="B", unit_scale=True, file=sys.stderr, disable=None) as bar:
        for progress in catalog.download(name, split):
            bar.total = progress.total
            bar.set_description(progress.file)
            bar.update(progress.done - bar.n)
    say(f"{name} is in {catalog.data_dir}.")
