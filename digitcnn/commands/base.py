"""What the commands share: their common options, how they speak, which sets they open."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from digitcnn.digits.catalog import Catalog, LiveSet
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import DigitSetError
from digitcnn.folders import data_folder, feedback_place, output_folder
from digitcnn.terminal import say

if TYPE_CHECKING:
    from digitcnn.analysis.predictions import Predictions
    from digitcnn.feedback import FeedbackStore
    from digitcnn.network.checkpoint import Checkpoint

# A command's result: its JSON object, the same as text for people, and the exit status.
Answer = tuple[dict[str, Any], str, int]


def folder_option(args: argparse.Namespace, name: str) -> Path | None:
    """Return a folder option's value, None where the command has no such option or it is unset."""
    return getattr(args, name, None)


def catalog_of(args: argparse.Namespace) -> Catalog:
    """Return the digit sets that a command works on.

    Raises ConfigError for an invalid DIGITCNN_FEEDBACK_URL.
    """
    place = feedback_place(output_folder(folder_option(args, "output_dir")))
    return catalog_with_feedback(data_folder(folder_option(args, "data_dir")), place)


def catalog_with_feedback(data: Path, place: Path | str) -> Catalog:
    """Return the digit sets of a data folder, and ``feedback``: labelled sketches.

    Opens the store only when it is needed: SQLAlchemy and PyTorch take seconds to import.
    """

    def store() -> FeedbackStore:
        from digitcnn.feedback import FeedbackStore

        return FeedbackStore(place)

    if isinstance(place, str):
        store()  # raises ConfigError for an invalid address
    live = LiveSet(
        count=lambda: store().count_labelled() if isinstance(place, str) or place.exists() else 0,
        read=lambda: store().labelled(),
        how="draw on the Sketchpad and say what it is",
    )
    return Catalog(data, live={"feedback": live})


def advance(bar: tqdm, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def opened_checkpoint(path: Path, device: str) -> Checkpoint:
    """A checkpoint on the device that was asked for; bare weights under the input scaling that
    they were most likely trained with, and it is said which."""
    from digitcnn.network import checkpoint as checkpoints
    from digitcnn.network import device as devices

    loaded = checkpoints.load(path).fitted()
    if loaded.scaling is not None:
        say(f"{path.name} is {loaded.verdict}.")
    loaded.network.to(devices.choose(device).device)
    return loaded


def predicted(loaded: Checkpoint, digit_set: DigitSet, *, features: bool = False) -> Predictions:
    """The network's answers, with a bar on the terminal. features: whether they are needed."""
    from digitcnn.analysis.predictions import predict

    with tqdm(unit="image", file=sys.stderr, disable=None, leave=False) as bar:
        bar.set_description(f"{loaded.name} on {digit_set.name}")
        return predict(
            loaded.network,
            digit_set,
            digest=loaded.digest,
            progress=partial(advance, bar),
            keep_features=features,
        )


def opened_test_sets(args: argparse.Namespace) -> list[DigitSet]:
    """The sets that were named, else the usual ones that are on this machine."""
    catalog = catalog_of(args)
    if hasattr(args, "digits"):
        names = [name.strip() for name in args.digits.split(",")]
    else:
        usual = ("mnist", "emnist-digits")
        names = [name for name in usual if catalog.check(name, "test")]
        for name in usual:
            if name not in names:
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
