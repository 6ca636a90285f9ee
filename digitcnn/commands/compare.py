"""``compare``: compare models on the same images, with significance tests."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from digitcnn.analysis.comparison import Comparison, check_number
from digitcnn.analysis.comparison_words import difference_text, p_text, verdict
from digitcnn.analysis.recipes import seeds_of_one_recipe
from digitcnn.commands.base import Result, opened_checkpoint, opened_test_sets
from digitcnn.commands.progress import progress_bar
from digitcnn.errors import ConfigError
from digitcnn.intervals import percent
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.services.evaluation import compare_models


def run(args: argparse.Namespace) -> Result:
    """Compare checkpoints on one test set."""
    check_number(len(args.files))
    checkpoints = [opened_checkpoint(file, args) for file in args.files]
    digit_sets = opened_test_sets(args)
    if args.digits is not None and len(digit_sets) > 1:
        raise ConfigError(f"--digits names {len(digit_sets)} sets; compare on one at a time.")
    with progress_bar() as notify:
        comparison = compare_models(checkpoints, digit_sets[-1], notify=notify)
    return (_to_json(comparison, checkpoints, args.files), _text(comparison, checkpoints), 0)


def _to_json(
    comparison: Comparison, checkpoints: list[Checkpoint], files: list[Path]
) -> dict[str, Any]:
    rows = zip(comparison.names, files, checkpoints, comparison.evaluations, strict=True)
    models = [
        {
            "name": name,
            "file": str(file),
            "digest": checkpoint.digest,
            "digits": checkpoint.details.digits,
            "epochs": checkpoint.details.epochs,
            "seed": checkpoint.details.seed,
            "n": evaluation.n,
            "accuracy": evaluation.accuracy,
            "accuracy_low": evaluation.accuracy_low,
            "accuracy_high": evaluation.accuracy_high,
            "ece": evaluation.ece,
            "among_the_best": comparison.among_the_best[place],
        }
        for place, (name, file, checkpoint, evaluation) in enumerate(rows)
    ]
    counts = ("both_right", "only_a_right", "only_b_right", "both_wrong", "p_value", "p_holm")
    pairs = [
        {
            "a": comparison.names[pair.a],
            "b": comparison.names[pair.b],
            **{name: getattr(pair, name) for name in counts},
            "difference": pair.difference / 100,
            "difference_low": pair.interval[0] / 100,
            "difference_high": pair.interval[1] / 100,
            "verdict": verdict(comparison, pair),
        }
        for pair in comparison.pairs
    ]
    return {"digits": comparison.evaluations[0].digits, "models": models, "pairs": pairs}


def _text(comparison: Comparison, checkpoints: list[Checkpoint]) -> str:
    width = max(len(name) for name in comparison.names)
    lines = [
        f"{comparison.title}, {comparison.n:,} images; * not significantly worse than the best"
    ]
    for place, (name, evaluation) in enumerate(
        zip(comparison.names, comparison.evaluations, strict=True)
    ):
        mark = "*" if comparison.among_the_best[place] else " "
        lines.append(
            f"{mark} {name:{width}}  {evaluation.accuracy_text}, ECE {percent(evaluation.ece)}, "
            f"{checkpoints[place].digest[:8]}"
        )
    for pair in comparison.pairs:
        a, b = comparison.names[pair.a], comparison.names[pair.b]
        lines += [
            "",
            f"{a} and {b}: both right {pair.both_right:,}, only {a} {pair.only_a_right:,}, "
            f"only {b} {pair.only_b_right:,}, both wrong {pair.both_wrong:,}",
            f"  {difference_text(pair)}, {p_text(pair.p_value)}"
            + (f", {p_text(pair.p_holm)} Holm-adjusted" if len(comparison.pairs) > 1 else ""),
            f"  {verdict(comparison, pair)}",
        ]
    for recipe in seeds_of_one_recipe(
        [checkpoint.details for checkpoint in checkpoints], comparison
    ):
        seeds = ", ".join(map(str, recipe.seeds))
        lines += ["", f"Same recipe, seeds {seeds}: {recipe.text} on {recipe.title}"]
    return "\n".join(lines)
