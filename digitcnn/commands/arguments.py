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
Parser = argparse.ArgumentParser

# Options of several commands.
_SHARED: dict[str, dict[str, Any]] = {
    "--data-dir": {
        "type": Path,
        "help": "digit-set folder (default: DIGITCNN_DATA, else the cache folder)",
    },
    "--output-dir": {
        "type": Path,
        "help": "folder of runs and feedback (default: DIGITCNN_OUTPUT_DIR, else outputs)",
    },
    "--checkpoint-dir": {
        "type": Path,
        "help": "checkpoint folder (default: DIGITCNN_CHECKPOINT_DIR, else checkpoints)",
    },
    "--checkpoint": {"type": Path, "required": True, "help": "checkpoint file or name"},
    "--digits": {
        "help": "comma-separated test sets, mnist-c for all of MNIST-C (default: "
        "mnist,emnist-digits if available)"
    },
    "--passes": {
        "type": int,
        "help": f"dropout passes, 1 to {MOST_PASSES} (default: the model's training epochs)",
    },
}


def add_commands(commands: Commands) -> None:
    """Add a parser for each command, in the order in which ``--help`` lists them."""
    _train(commands)
    shared = ("--checkpoint", "--digits", "--output-dir")
    _command(commands, "evaluate", *shared, help="evaluate a checkpoint on test sets")
    _compare(commands)
    _stability(commands)
    _figures(commands)
    predict = _command(
        commands, "predict", "--checkpoint",
        help="classify image files and reject non-digits",
        description="Classify image files. A model trained to the end can reject non-digits "
        "(is_digit).",
    )  # fmt: skip
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="image of one digit")
    _experiment(commands)
    _export(commands)
    _data(commands)


def _command(commands: Commands, name: str, *shared: str, module: str = "", **texts: str) -> Parser:
    """Add a command, which ``digitcnn.commands.MODULE`` runs. shared: names in _SHARED."""
    parser: Parser = commands.add_parser(name, **texts)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    for flag in ("--data-dir", *shared):
        parser.add_argument(flag, **_SHARED[flag])
    _option(parser, "--device", "where to compute", "auto", choices=DEVICES)
    parser.set_defaults(module=module or name, output_dir=None)
    return parser


def _option(parser: Parser, flag: str, about: str, default: Any, **more: Any) -> None:
    """Add an option of the default's type. about: its help, to which the default is added."""
    about = f"{about} (default: {default})"
    parser.add_argument(flag, type=type(default), default=default, help=about, **more)


def _train(commands: Commands) -> None:
    recipe = TrainingConfig()
    parser = _command(
        commands, "train", "--output-dir", "--checkpoint-dir",
        help="train a network",
        description="Train a network. The defaults are the default recipe.",
    )  # fmt: skip
    add = parser.add_argument
    _option(parser, "--epochs", "passes over the training images", recipe.epochs)
    _option(parser, "--network", "architecture to train", recipe.network, choices=NETWORKS)
    _option(parser, "--batch-size", "images per step", recipe.batch_size)
    _option(parser, "--learning-rate", "peak of the one-cycle schedule", recipe.learning_rate)
    about = (
        "comma-separated digit sets to train on (default: mnist, downloaded if missing; synthetic "
        "if that fails)"
    )
    add("--digits", help=about, metavar="A,B")
    about = "random seed for weights, image order, dropout and augmentation"
    _option(parser, "--seed", about, recipe.seed)
    about = (
        f"train K runs, 1 to {MOST_SEEDS}, with seeds counting up from --seed, named NAME-seed0 "
        "and so on"
    )
    _option(parser, "--seeds", about, 1, metavar="K")
    add("--name", help="name of run and checkpoint (default: digit set and time)")
    add("--no-save", action="store_true", help="write neither checkpoint nor resume state")
    add("--no-viz", action="store_true", help="skip the figures")
    add("--no-stability", action="store_true", help="skip the dropout passes and their figure")
    about = f"dropout passes per mask type, 1 to {MOST_PASSES} (default: the number of epochs)"
    add("--stability-passes", type=int, help=about)
    on_off = ("on", "off")
    _option(parser, "--augmentation", "change each batch at random", "on", choices=on_off)
    _option(parser, "--dropout", "use dropout during training", "on", choices=on_off)
    about = "train on this many images (default: all except the held-out ones)"
    add("--train-images", type=int, help=about)
    about = "resume a run after its last finished epoch, with its own settings"
    add("--resume", help=about, metavar="RUN")


def _compare(commands: Commands) -> None:
    parser = _command(
        commands, "compare", "--output-dir",
        help="compare models on the same images",
        description="Compare two to eight trained models on the same images. This compares "
        "models, not recipes. To compare recipes, train several seeds of each.",
    )  # fmt: skip
    about = f"2 to {MOST_COMPARED} checkpoints"
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=about)
    about = "test set (default: emnist-digits if available, else mnist)"
    parser.add_argument("--digits", help=about)


def _stability(commands: Commands) -> None:
    parser = _command(
        commands, "stability", "--checkpoint", "--passes", "--output-dir",
        help="measure how accuracy varies with dropout on",
        description="Classify a test set repeatedly with dropout on.",
    )  # fmt: skip
    about = "test set (default: mnist if available, else the model's own, else synthetic)"
    parser.add_argument("--digits", help=about)
    about = "one mask per image, or one mask per pass"
    _option(parser, "--masks", about, "independent", choices=MASKS)


def _figures(commands: Commands) -> None:
    parser = _command(
        commands, "figures", "--checkpoint", "--digits", "--passes",
        help="draw the nine figures of an evaluation",
        description="Draw nine figures of a checkpoint and its predictions on test sets.",
    )  # fmt: skip
    about = (
        "folder of the figures (default: NAME/figures in the folder of runs, after the "
        "checkpoint's name)"
    )
    parser.add_argument("--output-dir", type=Path, help=about)
    _option(parser, "--example", "index of the example image in figure 6, from 0", 0)
    _option(parser, "--file-type", "format of the figures", "png", choices=FILE_TYPES)


def _experiment(commands: Commands) -> None:
    parser = _command(
        commands, "experiment", "--output-dir", "--checkpoint-dir",
        help="run an experiment: a question, several trainings, and a verdict",
        description="Run an experiment: several small trainings that answer a question, and a "
        "verdict with its interval. One takes a minute or two on two cores. It uses mnist, or "
        "synthetic where mnist is not downloaded.",
    )  # fmt: skip
    about = f"list, or one of {', '.join(experiment_names())}"
    parser.add_argument("name", metavar="NAME", help=about)
    _option(parser, "--seed", "first random seed; the others count up from it", 0)


def _export(commands: Commands) -> None:
    parser = _command(
        commands, "export", "--checkpoint",
        help="export a checkpoint as ONNX or HTML",
        description="Export a checkpoint as an ONNX model or a standalone HTML page. An existing "
        "file is overwritten.",
    )  # fmt: skip
    add = parser.add_mutually_exclusive_group(required=True).add_argument
    about = "an ONNX model, checked against PyTorch; needs pip install -e '.[onnx]'"
    add("--onnx", type=Path, metavar="FILE", help=about)
    about = "a page with pad and model for any browser"
    add("--page", type=Path, metavar="FILE", help=about)


def _data(commands: Commands) -> None:
    data = commands.add_parser("data", help="list, download and add digit sets")
    actions = data.add_subparsers(metavar="ACTION", required=True, dest="action")

    def action(name: str, **texts: str) -> Parser:
        return _command(actions, name, "--output-dir", module="data", **texts)

    action("list", help="list digit sets and their availability")
    download = action("download", help="download a digit set")
    download.add_argument(
        "name", metavar="NAME", help="such as mnist, emnist-digits, usps or mnist-c"
    )
    download.add_argument("--split", choices=SPLITS, help="only this one")
    own = action(
        "add",
        help="add a digit set of your own",
        description="Add a digit set of your own: an IDX pair, an .npz or .npy with images and "
        "labels, a CSV with a label column, or a folder of images per digit. Dark ink on light "
        "paper is inverted.",
    )
    about = (
        "IDX images file, .npz, .npy or .csv, a folder with one, or a folder with subfolders 0 to 9"
    )
    own.add_argument("path", type=Path, metavar="PATH", help=about)
    own.add_argument("--name", required=True, help="the set's name")
    _option(own, "--split", "what it is for", "test", choices=SPLITS)
    about = "none keeps 28x28 images as they are; mnist and emnist convert any size to that framing"
    _option(own, "--frame", about, "none", choices=FRAMINGS)
    about = "exchange rows and columns, as for EMNIST's files"
    own.add_argument("--transpose", action="store_true", help=about)
