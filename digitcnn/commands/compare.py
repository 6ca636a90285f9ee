"""``compare``: several networks on the same images; which is better, and whether it matters."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from digitcnn.analysis.comparison import (
    Comparison,
    check_number,
    compare,
    difference_text,
    p_text,
    seeds_of_one_recipe,
    unique_names,
)
from digitcnn.analysis.metrics import percent
from digitcnn.commands.base import (
    Answer,
    opened_checkpoint,
    opened_test_sets,
    predicted,
)
from digitcnn.errors import ConfigError
from digitcnn.network.checkpoint import Checkpoint


def run(args: argparse.Namespace) -> Answer:
    check_number(len(args.files))
    loaded = [opened_checkpoint(file, args.device) for file in args.files]
    names = unique_names([found.name for found in loaded], [found.digest for found in loaded])
    digit_sets = opened_test_sets(args)
    if hasattr(args, "digits") and len(digit_sets) > 1:
        raise ConfigError(f"--digits names {len(digit_sets)} sets; compare on one at a time.")
    digit_set = digit_sets[-1]
    predictions = [predicted(checkpoint, digit_set) for checkpoint in loaded]
    found = compare(names, predictions, [checkpoint.details.temperature for checkpoint in loaded])
    return _to_json(found, loaded, args.files), _text(found, loaded), 0


def _to_json(found: Comparison, loaded: list[Checkpoint], files: list[Path]) -> dict[str, Any]:
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
            "among_the_best": best,
        }
        for name, file, checkpoint, evaluation, best in zip(
            found.names, files, loaded, found.evaluations, found.among_the_best, strict=True
        )
    ]
    pairs = [
        {
            "a": found.names[pair.a],
            "b": found.names[pair.b],
            "both_right": pair.both_right,
            "only_a_right": pair.only_a_right,
            "only_b_right": pair.only_b_right,
            "both_wrong": pair.both_wrong,
            "p_value": pair.p_value,
            "p_holm": pair.p_holm,
            "difference": pair.difference / 100,
            "difference_low": pair.interval[0] / 100,
            "difference_high": pair.interval[1] / 100,
            "verdict": found.verdict(pair),
        }
        for pair in found.pairs
    ]
    return {"digits": found.evaluations[0].digits, "models": models, "pairs": pairs}


def _text(found: Comparison, loaded: list[Checkpoint]) -> str:
    width = max(len(name) for name in found.names)
    lines = [f"{found.title}, {found.n:,} images; * not significantly worse than the best"]
    lines += [
        f"{'*' if best else ' '} {name:{width}}  {evaluation.accuracy_text}, "
        f"ECE {percent(evaluation.ece)}, {checkpoint.digest[:8]}"
        for name, evaluation, best, checkpoint in zip(
            found.names, found.evaluations, found.among_the_best, loaded, strict=True
        )
    ]
    for pair in found.pairs:
        a, b = found.names[pair.a], found.names[pair.b]
        lines += [
            "",
            f"{a} against {b}: both right {pair.both_right:,}, only {a} {pair.only_a_right:,}, "
            f"only {b} {pair.only_b_right:,}, both wrong {pair.both_wrong:,}",
            f"  {difference_text(pair)}, {p_text(pair.p_value)}"
            + (f", {p_text(pair.p_holm)} after Holm" if len(found.pairs) > 1 else ""),
            f"  {found.verdict(pair)}",
        ]
    for recipe in seeds_of_one_recipe([checkpoint.details for checkpoint in loaded], found):
        seeds = ", ".join(map(str, recipe.seeds))
        lines += ["", f"One recipe, seeds {seeds}: {recipe.text} on {recipe.title}"]
    return "\n".join(lines)
