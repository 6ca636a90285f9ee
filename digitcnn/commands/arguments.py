"""The arguments of all commands, in a module that imports nothing heavy.

``digitcnn.cli`` shows help and checks arguments with it, and imports a command's own module only
to run that command: PyTorch takes seconds to import.
"""

from __future__ import annotations

import argparse
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
    _add_optional(
        parser,
        "--data-dir",
        "digit-set folder (default: DIGITCNN_DATA, else the cache folder)",
        Path,
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")
    parser.set_defaults(module=module or name)
    return parser


def _add_optional(
    parser: argparse.ArgumentParser, flag: str, about: str, kind: type = str, **options: Any
) -> None:
    """Add an option that is absent from the arguments unless given; ``about`` says what then."""
    parser.add_argument(flag, type=kind, default=argparse.SUPPRESS, help=about, **options)


def _add_output_dir(parser: argparse.ArgumentParser) -> None:
    _add_optional(
        parser,
        "--output-dir",
        "folder of runs and feedback (default: DIGITCNN_OUTPUT_DIR, else outputs)",
        Path,
    )


def _add_checkpoint_dir(parser: argparse.ArgumentParser) -> None:
    _add_optional(
        parser,
        "--checkpoint-dir",
        "checkpoint folder (default: DIGITCNN_CHECKPOINT_DIR, else checkpoints)",
        Path,
    )


def _add_checkpoint(
    parser: argparse.ArgumentParser, about: str = "checkpoint file or name"
) -> None:
    parser.add_argument("--checkpoint", type=Path, required=True, help=about)


def _add_test_sets(parser: argparse.ArgumentParser) -> None:
    _add_optional(
        parser,
        "--digits",
        "comma-separated test sets, mnist-c for all of MNIST-C "
        "(default: mnist,emnist-digits if available)",
    )


def _add_passes(parser: argparse.ArgumentParser) -> None:
    _add_optional(
        parser,
        "--passes",
        f"dropout passes, 1 to {MOST_PASSES} (default: the model's training epochs)",
        int,
    )


def _train(commands: Commands) -> None:
    recipe = TrainingConfig()
    parser = _add_command(
        commands,
        "train",
        help="train a network",
        description="Train a network. The defaults are the default recipe.",
    )
    option = parser.add_argument
    option("--epochs", type=int, default=recipe.epochs, help="passes over the training images")
    option("--network", choices=NETWORKS, default=recipe.network, help="architecture to train")
    option("--batch-size", type=int, default=recipe.batch_size, help="images per step")
    option(
        "--learning-rate",
        type=float,
        default=recipe.learning_rate,
        help="peak of the one-cycle schedule",
    )
    _add_optional(
        parser,
        "--digits",
        "comma-separated digit sets to train on (default: mnist, downloaded if missing; synthetic "
        "if that fails)",
        metavar="A,B",
    )
    option(
        "--seed",
        type=int,
        default=recipe.seed,
        help="random seed for weights, image order, dropout and augmentation",
    )
    option(
        "--seeds",
        type=int,
        metavar="K",
        default=1,
        help=f"train K runs, 1 to {MOST_SEEDS}, with seeds counting up from --seed, named "
        "NAME-seed0 and so on",
    )
    _add_optional(parser, "--name", "name of run and checkpoint (default: digit set and time)")
    _add_output_dir(parser)
    _add_checkpoint_dir(parser)
    option("--no-save", action="store_true", help="write neither checkpoint nor resume state")
    option("--no-viz", action="store_true", help="skip the figures")
    option("--no-stability", action="store_true", help="skip the dropout passes and their figure")
    _add_optional(
        parser,
        "--stability-passes",
        f"dropout passes per mask type, 1 to {MOST_PASSES} (default: the number of epochs)",
        int,
    )
    option(
        "--augmentation",
        choices=("on", "off"),
        default="on" if recipe.augmentation else "off",
        help="change each batch at random",
    )
    option(
        "--dropout",
        choices=("on", "off"),
        default="on" if recipe.dropout else "off",
        help="use dropout during training",
    )
    _add_optional(
        parser,
        "--train-images",
        "train on this many images (default: all except the held-out ones)",
        int,
    )
    _add_optional(
        parser,
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
    _add_optional(parser, "--digits", "test set (default: emnist-digits if available, else mnist)")
    _add_output_dir(parser)


def _stability(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "stability",
        help="measure how accuracy varies with dropout on",
        description="Classify a test set repeatedly with dropout on.",
    )
    _add_checkpoint(parser)
    _add_optional(
        parser,
        "--digits",
        "test set (default: mnist if available, else the model's own, else synthetic)",
    )
    _add_passes(parser)
    parser.add_argument(
        "--masks",
        choices=MASKS,
        default="independent",
        help="one mask per image, or one mask per pass",
    )
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
    _add_optional(
        parser,
        "--output-dir",
        "folder of the figures (default: NAME/figures in the folder of runs, after the "
        "checkpoint's name)",
        Path,
    )
    _add_passes(parser)
    parser.add_argument(
        "--example", type=int, default=0, help="index of the example image in figure 6, from 0"
    )
    parser.add_argument(
        "--file-type", choices=FILE_TYPES, default="png", help="format of the figures"
    )


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
    parser.add_argument(
        "--seed", type=int, default=0, help="first random seed; the others count up from it"
    )
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
    own.add_argument("--split", choices=SPLITS, default="test", help="what it is for")
    own.add_argument(
        "--frame",
        choices=FRAMINGS,
        default="none",
        help="none keeps 28x28 images as they are; mnist and emnist convert any size to that "
        "framing",
    )
    own.add_argument(
        "--transpose", action="store_true", help="exchange rows and columns, as for EMNIST's files"
    )
    _add_output_dir(own)
    own.set_defaults(action="add")
