"""Results in, figures out: the nine of an evaluation, and those that the tabs need.

Each figure is a function of results that computes no metric of its own; one module per subject:
``training`` (1), ``samples`` (2, 3), ``evaluation`` (4, 7), ``network`` (5, 6), ``confidence``
(8), ``stability`` (9), ``gap`` (the waterfall), ``robustness``. How they look is in ``style``.
``Findings`` is all that the nine need, ``draw`` makes one of them, ``save_all`` all.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from digitcnn.analysis import metrics
from digitcnn.analysis.figures.confidence import confidence_analysis
from digitcnn.analysis.figures.evaluation import confusion_matrices, cross_dataset_evaluation
from digitcnn.analysis.figures.gap import gap_waterfall
from digitcnn.analysis.figures.network import conv_filters, feature_maps
from digitcnn.analysis.figures.robustness import robustness_curves
from digitcnn.analysis.figures.samples import predictions_sample, sample_data
from digitcnn.analysis.figures.stability import stability_test
from digitcnn.analysis.figures.training import training_history
from digitcnn.analysis.metrics import Evaluation
from digitcnn.analysis.predictions import Predictions
from digitcnn.analysis.stability import Stability, measure
from digitcnn.digits.digit_set import DigitSet
from digitcnn.files import atomic_write
from digitcnn.network.model import DigitCNN
from digitcnn.options import MASKS

__all__ = [
    "NAMES",
    "Findings",
    "confidence_analysis",
    "confusion_matrices",
    "conv_filters",
    "cross_dataset_evaluation",
    "draw",
    "feature_maps",
    "find",
    "gap_waterfall",
    "png",
    "predictions_sample",
    "robustness_curves",
    "sample_data",
    "save",
    "save_all",
    "stability_test",
    "training_history",
    "zipped",
]


@dataclass(frozen=True, eq=False)
class Findings:
    """All that the nine figures show of one network.

    model: how the network is called, for people. digit_sets, predictions, evaluations: one of
    each per set, in the same order; the first is where single images come from.
    temperature: None for a file without one. history: a record per epoch, empty where unknown.
    trained_on: name of the training's set, None where unknown. example: the image of the first set
    that is followed through the network.
    """

    model: str
    network: DigitCNN
    digit_sets: Sequence[DigitSet]
    predictions: Sequence[Predictions]
    evaluations: Sequence[Evaluation]
    stabilities: Sequence[Stability]
    temperature: float | None = None
    history: Sequence[Mapping[str, Any]] = ()
    trained_on: str | None = None
    example: int = 0


def find(
    model: str,
    network: DigitCNN,
    digit_sets: Sequence[DigitSet],
    predictions: Sequence[Predictions],
    *,
    passes: int,
    temperature: float | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    trained_on: str | None = None,
    example: int = 0,
    seed: int = 0,
) -> Findings:
    """The findings of predictions: every set evaluated, both kinds of passes over the last.

    predictions: one per set, in the same order; the last needs its features. passes, seed: of the
    stability test.
    """
    scale = temperature or 1.0
    return Findings(
        model=model,
        network=network,
        digit_sets=digit_sets,
        predictions=predictions,
        evaluations=[metrics.evaluate(found, scale) for found in predictions],
        stabilities=[
            measure(network, predictions[-1], passes, masks=masks, seed=seed, temperature=scale)
            for masks in MASKS
        ],
        temperature=temperature,
        history=history,
        trained_on=trained_on,
        example=example,
    )


_FIGURES: Mapping[str, Callable[[Findings], Figure]] = {
    "01_training_history": lambda f: training_history(
        f.history, f.evaluations, model=f.model, trained_on=f.trained_on
    ),
    "02_sample_data": lambda f: sample_data(f.digit_sets),
    "03_predictions": lambda f: predictions_sample(
        f.digit_sets[0], f.predictions[0], f.evaluations[0], model=f.model
    ),
    "04_cross_dataset_evaluation": lambda f: cross_dataset_evaluation(f.evaluations, model=f.model),
    "05_conv_filters": lambda f: conv_filters(f.network, model=f.model),
    "06_feature_maps": lambda f: feature_maps(
        f.network, f.digit_sets[0], f.example, model=f.model, temperature=f.temperature or 1.0
    ),
    "07_confusion_matrix": lambda f: confusion_matrices(f.evaluations, model=f.model),
    "08_confidence_analysis": lambda f: confidence_analysis(
        f.predictions, model=f.model, temperature=f.temperature
    ),
    "09_stability_test": lambda f: stability_test(f.stabilities, model=f.model),
}
NAMES = tuple(_FIGURES)


def draw(name: str, findings: Findings) -> Figure:
    """The figure of that name, one of NAMES."""
    return _FIGURES[name](findings)


def png(figure: Figure) -> bytes:
    """A figure as a PNG file: what ``savefig`` writes, which would draw it twice."""
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def save(name: str, findings: Findings, folder: Path) -> Path:
    """One of the nine as a PNG file in ``folder``, written whole or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    with atomic_write(path) as file:
        file.write(png(draw(name, findings)))
    return path


def save_all(
    findings: Findings, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """All nine as PNG files in ``folder``, as ``save``. Raises OSError.

    progress: called with figures done and figures in all after each.
    """
    paths = []
    for name in NAMES:
        paths.append(save(name, findings, folder))
        if progress is not None:
            progress(len(paths), len(NAMES))
    return paths


def zipped(paths: Sequence[Path], target: Path) -> Path:
    """The files at ``paths`` in one zip file at ``target``. Raises OSError."""
    with atomic_write(target) as file, zipfile.ZipFile(file, "w") as archive:
        for path in paths:
            archive.write(path, path.name)  # PNG is compressed already
    return target
