"""``figures``: the nine figures of an evaluation as PNG files, the same as the Evaluate tab's."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from tqdm import tqdm

from digitcnn.analysis import figures
from digitcnn.analysis.gap import own_kind_first
from digitcnn.commands.base import (
    Answer,
    advance,
    folder_option,
    opened_checkpoint,
    opened_test_sets,
    predicted,
)
from digitcnn.errors import ConfigError
from digitcnn.folders import output_folder
from digitcnn.options import check_passes, usual_passes


def run(args: argparse.Namespace) -> Answer:
    loaded = opened_checkpoint(args.checkpoint, args.device)
    details = loaded.details
    passes = getattr(args, "passes", usual_passes(details.epochs))
    check_passes(passes)
    opened = {digit_set.name: digit_set for digit_set in opened_test_sets(args)}
    digit_sets = [opened[name] for name in own_kind_first(list(opened), details.digits)]
    if not 0 <= args.example < len(digit_sets[0]):
        raise ConfigError(
            f"The example is image {args.example}, but {digit_sets[0].name} has images 0 to "
            f"{len(digit_sets[0]) - 1}; choose one of them."
        )
    folder = folder_option(args, "output_dir") or (output_folder(None) / loaded.name / "figures")
    predictions = [
        predicted(loaded, digit_set, features=digit_set is digit_sets[-1])
        for digit_set in digit_sets
    ]
    findings = figures.find(
        loaded.name,
        loaded.network,
        digit_sets,
        predictions,
        passes=passes,
        temperature=details.temperature,
        history=details.history,
        trained_on=details.digits,
        example=args.example,
    )
    try:
        with tqdm(unit="figure", file=sys.stderr, disable=None, leave=False) as bar:
            paths = figures.save_all(findings, folder, progress=partial(advance, bar))
    except OSError as error:
        raise ConfigError(
            f"The figures cannot be written to {folder} ({error.strerror or error}); choose "
            "another folder with --output-dir."
        ) from error
    shown = [str(path) for path in paths]
    return {"figures": shown}, "\n".join(shown), 0
