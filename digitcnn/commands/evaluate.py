"""``evaluate``: score a network on test sets."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from digitcnn.analysis.metrics import evaluate
from digitcnn.analysis.predictions import predict
from digitcnn.commands.base import Answer, add_command, advance, opened_test_sets
from digitcnn.network import checkpoint as checkpoints
from digitcnn.network import device as devices


def add(commands: Any) -> None:
    parser = add_command(commands, "evaluate", _evaluate, help="score a network on test sets")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the network to score")
    parser.add_argument(
        "--digits",
        default=argparse.SUPPRESS,
        help="test sets, separated by commas (default: those of mnist,emnist-digits that are here)",
    )


def _evaluate(args: argparse.Namespace) -> Answer:
    loaded = checkpoints.load(args.checkpoint).fitted()
    network = loaded.network.to(devices.choose(args.device).device)
    evaluations = {}
    for digit_set in opened_test_sets(args):
        with tqdm(unit="image", file=sys.stderr, disable=None, leave=False) as bar:
            bar.set_description(digit_set.name)
            predictions = predict(
                network,
                digit_set,
                digest=loaded.digest,
                progress=partial(advance, bar),
                keep_features=False,
            )
        evaluations[digit_set.name] = evaluate(predictions, loaded.details.temperature or 1.0)
    lines = [f"{'digit set':24} {'images':>7} {'errors':>7}  accuracy (95 % interval), NLL, ECE"]
    lines += [
        f"{name:24} {result.n:7} {result.errors:7}  {100 * result.accuracy:.2f} % "
        f"({100 * result.accuracy_low:.2f} to {100 * result.accuracy_high:.2f}), "
        f"{result.nll:.4f}, {100 * result.ece:.2f} %"
        for name, result in evaluations.items()
    ]
    found = {name: result.to_json() for name, result in evaluations.items()}
    return found, "\n".join(lines), 0
