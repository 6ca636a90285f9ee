"""``figures``: draw the nine figures of an evaluation as files, as the Evaluate tab does."""

from __future__ import annotations

import argparse

from digitcnn.analysis.gap import own_kind_first
from digitcnn.commands.base import Result, checked_passes, opened_checkpoint, opened_test_sets
from digitcnn.commands.progress import progress_bar
from digitcnn.errors import ConfigError
from digitcnn.folders import output_folder
from digitcnn.options import FIGURES
from digitcnn.services.evaluation import (
    FigureCache,
    draw_figures,
    evaluate,
    write_figure,
)


def run(args: argparse.Namespace) -> Result:
    """Draw a checkpoint's figures into a folder."""
    checkpoint = opened_checkpoint(args.checkpoint, args)
    passes = checked_passes(args, checkpoint)
    opened = {digit_set.name: digit_set for digit_set in opened_test_sets(args)}
    digit_sets = [opened[name] for name in own_kind_first(list(opened), checkpoint.details.digits)]
    if not 0 <= args.example < len(digit_sets[0]):
        raise ConfigError(
            f"The example is image {args.example}, but {digit_sets[0].name} has images 0 to "
            f"{len(digit_sets[0]) - 1}; choose one of them."
        )
    folder = args.output_dir or output_folder(None) / checkpoint.name / "figures"
    with progress_bar() as notify:
        findings = evaluate(
            checkpoint,
            digit_sets,
            example=args.example,
            features=True,
            notify=notify,
        )
        files = draw_figures(
            findings,
            checkpoint,
            passes,
            cache=FigureCache(),
            notify=notify,
            file_type=args.file_type,
        )
    paths = [
        str(write_figure(name, files[name], folder, args.file_type))
        for name in FIGURES
        if name in files
    ]
    return {"figures": paths}, "\n".join(paths), 0
