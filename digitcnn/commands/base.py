"""Shared by several commands: open checkpoints and digit sets, download with a bar."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from digitcnn.digits.catalog import Catalog, LiveSet
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import MNIST_C, MNIST_C_SETS, set_names
from digitcnn.errors import DigitSetError
from digitcnn.feedback.file_format import count_labelled
from digitcnn.folders import checkpoint_file, data_folder, feedback_place, output_folder
from digitcnn.options import check_passes, usual_passes
from digitcnn.terminal import log

if TYPE_CHECKING:
    from digitcnn.feedback.store import FeedbackStore
    from digitcnn.network.checkpoint import Checkpoint

# A command's result: its JSON object, the same as text for people, and the exit status.
Result = tuple[dict[str, Any], str, int]


def catalog_of(args: argparse.Namespace) -> Catalog:
    """Return the digit sets that a command works on, ``feedback`` among them.

    Raises ConfigError for an invalid DIGITCNN_FEEDBACK_URL.
    """
    place = feedback_place(output_folder(args.output_dir))
    return Catalog(data_folder(args.data_dir), live={"feedback": _feedback_set(place)})


def _feedback_set(place: Path | str) -> LiveSet:
    """Return the labelled sketches as a digit set.

    Opens their store only on use: SQLAlchemy and PyTorch take seconds to import.
    """

    def store() -> FeedbackStore:
        from digitcnn.feedback.store import FeedbackStore

        return FeedbackStore(place)

    def count() -> int:
        counted = count_labelled(place) if isinstance(place, Path) else None
        return store().count_labelled() if counted is None else counted

    if isinstance(place, str):
        store()  # raises ConfigError for an invalid address
    return LiveSet(
        count=count,
        read=lambda: store().labelled()[:2],
        how="draw digits on the Sketchpad and label them",
    )


def advance(bar: tqdm, done: int, total: int | None) -> None:
    """Move a progress bar. total: None where it is not known."""
    bar.total = total
    bar.update(done - bar.n)


def opened_checkpoint(path: Path, args: argparse.Namespace, device: str = "") -> Checkpoint:
    """Load any weight file onto a device. path: a file, or the name of a checkpoint.

    device: by default that of ``args``. Prints a line about anything that had to be inferred for
    weights without details, such as the input scaling or another network's pooling.
    Raises CheckpointError for an unusable file, ConfigError for an unusable device.
    """
    from digitcnn.network import checkpoint as checkpoints
    from digitcnn.network import device as devices
    from digitcnn.workspace import scoring_digits

    loaded = checkpoints.load(
        checkpoint_file(path), digits=lambda: scoring_digits(catalog_of(args))
    ).fitted()
    if loaded.scaling is not None or loaded.recipe is not None:
        log(f"{path.name} is {loaded.verdict}.")
    loaded.classifier.to(devices.choose(device or args.device).device)
    return loaded


def checked_passes(args: argparse.Namespace, checkpoint: Checkpoint) -> int:
    """Return the number of dropout passes, by default the model's epochs. Raises ConfigError."""
    passes = usual_passes(checkpoint.details.epochs) if args.passes is None else args.passes
    check_passes(passes)
    return int(passes)


def opened_test_sets(args: argparse.Namespace) -> list[DigitSet]:
    """Open the named test sets, else those of mnist and emnist-digits that are available.

    The name ``mnist-c`` stands for all of MNIST-C.
    Raises DigitSetError where one cannot be opened, or none is available.
    """
    catalog = catalog_of(args)
    if args.digits is not None:
        named = set_names(args.digits) or [args.digits]
        names = [one for name in named for one in (MNIST_C_SETS if name == MNIST_C else (name,))]
    else:
        usual = ("mnist", "emnist-digits")
        names = [name for name in usual if catalog.check(name, "test")]
        for name in usual:
            if name not in names:
                log(f"{name} is not downloaded; run: python -m digitcnn data download {name}")
        if not names:
            raise DigitSetError(
                "No default test set is available; download one, or name others with --digits."
            )
    return [catalog.open(name, "test") for name in names]


def download(catalog: Catalog, name: str, split: str | None = None) -> None:
    """Download a digit set, with a bar on terminals."""
    from digitcnn.digits import set_download  # here, because few commands need the network

    results = []
    with tqdm(unit="B", unit_scale=True, file=sys.stderr, disable=None) as bar:
        for progress in set_download.download(catalog, name, split):
            bar.set_description(progress.file)
            advance(bar, progress.done, progress.total)
            if progress.file == name:  # the end of a split, not a file on its way
                results.append(progress.message)
    for text in results:
        log(text)
