"""``evaluate``: score a network on test sets."""

from __future__ import annotations

import argparse

from digitcnn.analysis.metrics import evaluate
from digitcnn.commands.base import (
    Answer,
    opened_checkpoint,
    opened_test_sets,
    predicted,
)


def run(args: argparse.Namespace) -> Answer:
    loaded = opened_checkpoint(args.checkpoint, args.device)
    evaluations = {}
    for digit_set in opened_test_sets(args):
        predictions = predicted(loaded, digit_set)
        evaluations[digit_set.name] = evaluate(predictions, loaded.temperature)
    lines = [f"{'digit set':24} {'images':>7} {'errors':>7}  accuracy (95 % interval), NLL, ECE"]
    lines += [
        f"{name:24} {result.n:7} {result.errors:7}  {100 * result.accuracy:.2f} % "
        f"({100 * result.accuracy_low:.2f} to {100 * result.accuracy_high:.2f}), "
        f"{result.nll:.4f}, {100 * result.ece:.2f} %"
        for name, result in evaluations.items()
    ]
    found = {name: result.to_json() for name, result in evaluations.items()}
    return found, "\n".join(lines), 0
