"""The arguments of all commands, in a module that imports nothing heavy.

``digitcnn.cli`` shows help and checks arguments with it, and imports a command's own module only
to run that command: PyTorch takes seconds to import.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from digitcnn.digits.names import FRAMINGS, SPLITS
from digitcnn.experiments.catalogue import names as experiment_names
from digitcnn.options import (
    DEVICES,
    FILE_TYPES,
    MASKS,
    MOST_COMPARED,
    MOST_PASSES,
    MOST_SEEDS,
    NETWORKS,
)
from digitcnn.training.config import TrainingConfig

# What ``ArgumentParser.add_subparsers`` returns; its class is private.
Commands = Any


def add_commands(commands: Commands) -> None:
    """Add a parser for each command, in the order in which ``--help`` lists them."""
    for add in (
        _train,
        _evaluate,
        _compare,
        _stability,
        _figures,
        _predict,
        _experiment,
        _export,
        _data,
    ):
        add(commands)


def _add_command(
    commands: Commands, name: str, *, module: str = "", **texts: Any
) -> argparse.ArgumentParser:
    """Add a command with the options that all have; ``digitcnn.commands.MODULE`` runs it."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **texts
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    about = "digit-set folder (default: DIGITCNN_DATA, else the cache folder)"
    _add_option(parser, "--data-dir", about, kind=Path)
    _add_option(parser, "--device", "where to compute", "auto", choices=DEVICES)
    parser.set_defaults(module=module or name)
    return parser


def _add_option(
    parser: argparse.ArgumentParser,
    flag: str,
    about: str,
    default: Any = argparse.SUPPRESS,
    kind: type = str,
    **more: Any,
) -> None:
    """Add an option of the default's type.

    Without a default it is absent from the arguments unless given; ``about`` says what then, and
    ``kind`` is its type.
    """
    if default is not argparse.SUPPRESS:
        kind = type(default)
    parser.add_argument(flag, type=kind, default=default, help=about, **more)


def _add_output_dir(parser: argparse.ArgumentParser) -> None:
    about = "folder of runs and feedback (default: DIGITCNN_OUTPUT_DIR, else outputs)"
    _add_option(parser, "--output-dir", about, kind=Path)


def _add_checkpoint_dir(parser: argparse.ArgumentParser) -> None:
    about = "checkpoint folder (default: DIGITCNN_CHECKPOINT_DIR, else checkpoints)"
    _add_option(parser, "--checkpoint-dir", about, kind=Path)


def _add_checkpoint(
    parser: argparse.ArgumentParser, about: str = "checkpoint file or name"
) -> None:
    parser.add_argument("--checkpoint", type=Path, required=True, help=about)


def _add_test_sets(parser: argparse.ArgumentParser) -> None:
    about = (
        "comma-separated test sets, mnist-c for all of MNIST-C "
        "(default: mnist,emnist-digits if available)"
    )
    _add_option(parser, "--digits", about)


def _add_passes(parser: argparse.ArgumentParser) -> None:
    about = f"dropout passes, 1 to {MOST_PASSES} (default: the model's training epochs)"
    _add_option(parser, "--passes", about, kind=int)


def _train(commands: Commands) -> None:
    recipe = TrainingConfig()
    parser = _add_command(
        commands,
        "train",
        help="train a network",
        description="Train a network. The defaults are the default recipe.",
    )
    option, switch = partial(_add_option, parser), partial(parser.add_argument, action="store_true")
    option("--epochs", "passes over the training images", recipe.epochs)
    option("--network", "architecture to train", recipe.network, choices=NETWORKS)
    option("--batch-size", "images per step", recipe.batch_size)
    option("--learning-rate", "peak of the one-cycle schedule", recipe.learning_rate)
    option(
        "--digits",
        "comma-separated digit sets to train on (default: mnist, downloaded if missing; synthetic "
        "if that fails)",
        metavar="A,B",
    )
    option("--seed", "random seed for weights, image order, dropout and augmentation", recipe.seed)
    option(
        "--seeds",
        f"train K runs, 1 to {MOST_SEEDS}, with seeds counting up from --seed, named "
        "NAME-seed0 and so on",
        1,
        metavar="K",
    )
    option("--name", "name of run and checkpoint (default: digit set and time)")
    _add_output_dir(parser)
    _add_checkpoint_dir(parser)
    switch("--no-save", help="write neither checkpoint nor resume state")
    switch("--no-viz", help="skip the figures")
    switch("--no-stability", help="skip the dropout passes and their figure")
    option(
        "--stability-passes",
        f"dropout passes per mask type, 1 to {MOST_PASSES} (default: the number of epochs)",
        kind=int,
    )
    on_off = {True: "on", False: "off"}
    for flag, about, default in (
        ("--augmentation", "change each batch at random", recipe.augmentation),
        ("--dropout", "use dropout during training", recipe.dropout),
    ):
        option(flag, about, on_off[default], choices=tuple(on_off.values()))
    option(
        "--train-images",
        "train on this many images (default: all except the held-out ones)",
        kind=int,
    )
    option(
        "--resume",
        "resume a run after its last finished epoch, with its own settings",
        metavar="RUN",
    )


def _evaluate(commands: Commands) -> None:
    parser = _add_command(commands, "evaluate", help="evaluate a checkpoint on test sets")
    _add_checkpoint(parser)
    _add_test_sets(parser)
    _add_output_dir(parser)


def _compare(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "compare",
        help="compare models on the same images",
        description="Compare two to eight trained models on the same images. This compares "
        "models, not recipes. To compare recipes, train several seeds of each.",
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help=f"2 to {MOST_COMPARED} checkpoints"
    )
    _add_option(parser, "--digits", "test set (default: emnist-digits if available, else mnist)")
    _add_output_dir(parser)


def _stability(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "stability",
        help="measure how accuracy varies with dropout on",
        description="Classify a test set repeatedly with dropout on.",
    )
    _add_checkpoint(parser)
    about = "test set (default: mnist if available, else the model's own, else synthetic)"
    _add_option(parser, "--digits", about)
    _add_passes(parser)
    about = "one mask per image, or one mask per pass"
    _add_option(parser, "--masks", about, "independent", choices=MASKS)
    _add_output_dir(parser)


def _figures(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "figures",
        help="draw the nine figures of an evaluation",
        description="Draw nine figures of a checkpoint and its predictions on test sets.",
    )
    _add_checkpoint(parser)
    _add_test_sets(parser)
    _add_option(
        parser,
        "--output-dir",
        "folder of the figures (default: NAME/figures in the folder of runs, after the "
        "checkpoint's name)",
        kind=Path,
    )
    _add_passes(parser)
    _add_option(parser, "--example", "index of the example image in figure 6, from 0", 0)
    _add_option(parser, "--file-type", "format of the figures", "png", choices=FILE_TYPES)


def _predict(commands: Commands) -> None:
    parser = _add_command(commands, "predict", help="classify image files and reject non-digits")
    _add_checkpoint(
        parser,
        "checkpoint file or name; a model trained to the end can reject non-digits (is_digit)",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image of one digit")


def _experiment(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "experiment",
        help="run an experiment: a question, several trainings, and a verdict",
        description="Run an experiment: several small trainings that answer a question, and a "
        "verdict with its interval. One takes a minute or two on two cores. It uses mnist, or "
        "synthetic where mnist is not downloaded.",
    )
    parser.add_argument(
        "name", metavar="NAME", help=f"list, or one of {', '.join(experiment_names())}"
    )
    _add_option(parser, "--seed", "first random seed; the others count up from it", 0)
    _add_output_dir(parser)
    _add_checkpoint_dir(parser)


def _export(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "export",
        help="export a checkpoint as ONNX or HTML",
        description="Export a checkpoint as an ONNX model or a standalone HTML page. An existing "
        "file is overwritten.",
    )
    _add_checkpoint(parser)
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--onnx",
        type=Path,
        metavar="FILE",
        help="an ONNX model, checked against PyTorch; needs pip install -e '.[onnx]'",
    )
    target.add_argument(
        "--page", type=Path, metavar="FILE", help="a page with pad and model for any browser"
    )


def _data(commands: Commands) -> None:
    data = commands.add_parser("data", help="list, download and add digit sets")
    actions = data.add_subparsers(metavar="ACTION", required=True)

    listing = _add_command(
        actions, "list", module="data", help="list digit sets and their availability"
    )
    _add_output_dir(listing)
    listing.set_defaults(action="list")

    download = _add_command(actions, "download", module="data", help="download a digit set")
    download.add_argument(
        "name", metavar="NAME", help="such as mnist, emnist-digits, usps or mnist-c"
    )
    download.add_argument("--split", choices=SPLITS, default=None, help="only this one")
    _add_output_dir(download)
    download.set_defaults(action="download")

    own = _add_command(
        actions,
        "add",
        module="data",
        help="add a digit set of your own",
        description="Add a digit set of your own: an IDX pair, an .npz or .npy with images and "
        "labels, a CSV with a label column, or a folder of images per digit. Dark ink on light "
        "paper is inverted.",
    )
    own.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="IDX images file, .npz, .npy or .csv, a folder with one, or a folder with subfolders "
        "0 to 9",
    )
    own.add_argument("--name", required=True, help="the set's name")
    _add_option(own, "--split", "what it is for", "test", choices=SPLITS)
    about = "none keeps 28x28 images as they are; mnist and emnist convert any size to that framing"
    _add_option(own, "--frame", about, "none", choices=FRAMINGS)
    own.add_argument(
        "--transpose", action="store_true", help="exchange rows and columns, as for EMNIST's files"
    )
    _add_output_dir(own)
    own.set_defaults(action="add")
