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

# Options of several commands. Each is absent from the arguments unless it is given.
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
    for add in (
        _train, _evaluate, _compare, _stability, _figures, _predict, _experiment, _export, _data,
    ):  # fmt: skip
        add(commands)


class _Options:
    """The options of one command."""

    def __init__(
        self, commands: Commands, name: str, *shared: str, module: str = "", **texts: str
    ) -> None:
        """Add a command, which ``digitcnn.commands.MODULE`` runs. shared: names in _SHARED."""
        self.parser: argparse.ArgumentParser = commands.add_parser(
            name, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **texts
        )
        self.add = self.parser.add_argument
        self.switch("--json", "one JSON object on standard output")
        for flag in ("--data-dir", *shared):
            self.add(flag, **{"default": argparse.SUPPRESS, **_SHARED[flag]})
        self.option("--device", "where to compute", "auto", choices=DEVICES)
        self.parser.set_defaults(module=module or name)

    def switch(self, flag: str, about: str) -> None:
        """Add an option without a value."""
        self.add(flag, action="store_true", help=about)

    def option(
        self, flag: str, about: str, default: Any = argparse.SUPPRESS, kind: type = str, **more: Any
    ) -> None:
        """Add an option of the default's type.

        Without a default it is absent from the arguments unless given; ``about`` says what then,
        and ``kind`` is its type.
        """
        if default is not argparse.SUPPRESS:
            kind = type(default)
        self.add(flag, type=kind, default=default, help=about, **more)


def _train(commands: Commands) -> None:
    recipe = TrainingConfig()
    options = _Options(
        commands, "train", "--output-dir", "--checkpoint-dir",
        help="train a network",
        description="Train a network. The defaults are the default recipe.",
    )  # fmt: skip
    option, switch = options.option, options.switch
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
    switch("--no-save", "write neither checkpoint nor resume state")
    switch("--no-viz", "skip the figures")
    switch("--no-stability", "skip the dropout passes and their figure")
    about = f"dropout passes per mask type, 1 to {MOST_PASSES} (default: the number of epochs)"
    option("--stability-passes", about, kind=int)
    on_off = {True: "on", False: "off"}
    for flag, about, default in (
        ("--augmentation", "change each batch at random", recipe.augmentation),
        ("--dropout", "use dropout during training", recipe.dropout),
    ):
        option(flag, about, on_off[default], choices=tuple(on_off.values()))
    about = "train on this many images (default: all except the held-out ones)"
    option("--train-images", about, kind=int)
    about = "resume a run after its last finished epoch, with its own settings"
    option("--resume", about, metavar="RUN")


def _evaluate(commands: Commands) -> None:
    shared = ("--checkpoint", "--digits", "--output-dir")
    _Options(commands, "evaluate", *shared, help="evaluate a checkpoint on test sets")


def _compare(commands: Commands) -> None:
    options = _Options(
        commands, "compare", "--output-dir",
        help="compare models on the same images",
        description="Compare two to eight trained models on the same images. This compares "
        "models, not recipes. To compare recipes, train several seeds of each.",
    )  # fmt: skip
    options.add(
        "files", nargs="+", type=Path, metavar="FILE", help=f"2 to {MOST_COMPARED} checkpoints"
    )
    options.option("--digits", "test set (default: emnist-digits if available, else mnist)")


def _stability(commands: Commands) -> None:
    options = _Options(
        commands, "stability", "--checkpoint", "--passes", "--output-dir",
        help="measure how accuracy varies with dropout on",
        description="Classify a test set repeatedly with dropout on.",
    )  # fmt: skip
    about = "test set (default: mnist if available, else the model's own, else synthetic)"
    options.option("--digits", about)
    about = "one mask per image, or one mask per pass"
    options.option("--masks", about, "independent", choices=MASKS)


def _figures(commands: Commands) -> None:
    options = _Options(
        commands, "figures", "--checkpoint", "--digits", "--passes",
        help="draw the nine figures of an evaluation",
        description="Draw nine figures of a checkpoint and its predictions on test sets.",
    )  # fmt: skip
    options.option(
        "--output-dir",
        "folder of the figures (default: NAME/figures in the folder of runs, after the "
        "checkpoint's name)",
        kind=Path,
    )
    options.option("--example", "index of the example image in figure 6, from 0", 0)
    options.option("--file-type", "format of the figures", "png", choices=FILE_TYPES)


def _predict(commands: Commands) -> None:
    options = _Options(
        commands, "predict", "--checkpoint",
        help="classify image files and reject non-digits",
        description="Classify image files. A model trained to the end can reject non-digits "
        "(is_digit).",
    )  # fmt: skip
    options.add("images", nargs="+", metavar="IMAGE", help="image of one digit")


def _experiment(commands: Commands) -> None:
    options = _Options(
        commands, "experiment", "--output-dir", "--checkpoint-dir",
        help="run an experiment: a question, several trainings, and a verdict",
        description="Run an experiment: several small trainings that answer a question, and a "
        "verdict with its interval. One takes a minute or two on two cores. It uses mnist, or "
        "synthetic where mnist is not downloaded.",
    )  # fmt: skip
    options.add("name", metavar="NAME", help=f"list, or one of {', '.join(experiment_names())}")
    options.option("--seed", "first random seed; the others count up from it", 0)


def _export(commands: Commands) -> None:
    options = _Options(
        commands, "export", "--checkpoint",
        help="export a checkpoint as ONNX or HTML",
        description="Export a checkpoint as an ONNX model or a standalone HTML page. An existing "
        "file is overwritten.",
    )  # fmt: skip
    add = options.parser.add_mutually_exclusive_group(required=True).add_argument
    about = "an ONNX model, checked against PyTorch; needs pip install -e '.[onnx]'"
    add("--onnx", type=Path, metavar="FILE", help=about)
    about = "a page with pad and model for any browser"
    add("--page", type=Path, metavar="FILE", help=about)


def _data(commands: Commands) -> None:
    data = commands.add_parser("data", help="list, download and add digit sets")
    actions = data.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, **texts: str) -> _Options:
        options = _Options(actions, name, "--output-dir", module="data", **texts)
        options.parser.set_defaults(action=name)
        return options

    action("list", help="list digit sets and their availability")
    download = action("download", help="download a digit set")
    download.add("name", metavar="NAME", help="such as mnist, emnist-digits, usps or mnist-c")
    download.add("--split", choices=SPLITS, default=None, help="only this one")
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
    own.add("path", type=Path, metavar="PATH", help=about)
    own.add("--name", required=True, help="the set's name")
    own.option("--split", "what it is for", "test", choices=SPLITS)
    about = "none keeps 28x28 images as they are; mnist and emnist convert any size to that framing"
    own.option("--frame", about, "none", choices=FRAMINGS)
    own.switch("--transpose", "exchange rows and columns, as for EMNIST's files")
