"""Values and limits of options, in a module that imports nothing heavy.

The command line reads them to show its help at once; the modules that do the work read the same.
"""

from __future__ import annotations

from typing import Literal, get_args

from digitcnn.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda", "mps")

# The architectures of ``network.architectures``; the first is the default.
NETWORKS = ("digitcnn", "lenet", "mlp", "linear", "deep")

# Checkpoints in one comparison.
FEWEST_COMPARED, MOST_COMPARED = 2, 8

# Runs of one configuration, by ``train --seeds``.
MOST_SEEDS = 20

Masks = Literal["independent", "shared"]
MASKS: tuple[Masks, ...] = get_args(Masks)

# The nine figures of an evaluation, drawn by ``analysis.figures``.
FIGURES = (
    "01_training_history",
    "02_sample_data",
    "03_predictions",
    "04_cross_dataset_evaluation",
    "05_conv_filters",
    "06_feature_maps",
    "07_confusion_matrix",
    "08_confidence_analysis",
    "09_stability_test",
)

# Made of dropout passes, which take longer than all others together.
STABILITY_FIGURE = "09_stability_test"

# Formats of figure files.
FileType = Literal["png", "svg", "pdf"]
FILE_TYPES: tuple[FileType, ...] = get_args(FileType)

MOST_PASSES = 200
# The default recipe's epochs, for a checkpoint that does not name its own.
USUAL_PASSES = 12


def usual_passes(epochs: int | None) -> int:
    """Return the default number of dropout passes: a model's epochs, at most MOST_PASSES."""
    return min(max(1, USUAL_PASSES if epochs is None else epochs), MOST_PASSES)


def check_passes(n: object) -> None:
    """Raise ConfigError unless ``n`` is a whole number from 1 to MOST_PASSES."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_PASSES:
        raise ConfigError(
            f"{n!s:.40} passes were requested; choose a whole number from 1 to {MOST_PASSES}.",
            field="passes",
        )
