"""``evaluate``: score a model on test sets."""

from __future__ import annotations

import argparse

from digitcnn.analysis.metrics import decimal
from digitcnn.analysis.mnist_c import summary_of
from digitcnn.commands.base import Result, opened_checkpoint, opened_test_sets
from digitcnn.commands.progress import progress_bar
from digitcnn.digits.names import MNIST_C
from digitcnn.intervals import percent
from digitcnn.services.evaluation import evaluate


def run(args: argparse.Namespace) -> Result:
    """Evaluate a checkpoint on test sets."""
    checkpoint = opened_checkpoint(args.checkpoint, args)
    digit_sets = opened_test_sets(args)
    with progress_bar() as notify:
        findings = evaluate(checkpoint, digit_sets, notify=notify)
    lines = [f"{'digit set':24} {'images':>7} {'errors':>7}  accuracy (95% interval), NLL, ECE"]
    lines += [
        f"{result.digits:24} {result.n:7} {result.errors:7}  {result.accuracy_text}, "
        f"{decimal(result.nll)}, {percent(result.ece)}"
        for result in findings.evaluations
    ]
    values = {result.digits: result.to_json() for result in findings.evaluations}
    summary = summary_of(findings.evaluations)
    if summary is not None:
        lines.append(str(summary))
        values[MNIST_C] = summary.to_json()
    return values, "\n".join(lines), 0
