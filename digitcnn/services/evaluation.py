"""Classify digit sets to evaluate a model, measure its stability, compare models or draw figures.

A ``Predictor`` gives the predictions, from a cache or from one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from digitcnn.analysis import predictions
from digitcnn.analysis.comparison import Comparison, check_number, compare, unique_names
from digitcnn.analysis.events import (
    FigureDrawn,
    FigureStarted,
    FigureUnavailable,
    ImagesProcessed,
    Notify,
    ignore,
)
from digitcnn.analysis.findings import Findings, measure_stabilities
from digitcnn.analysis.predictions import Predictions
from digitcnn.analysis.stability import Stability
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CapabilityError, ConfigError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.classifier import require
from digitcnn.options import FIGURES, MASKS, STABILITY_FIGURE, FileType, Masks, check_passes
from digitcnn.shared_cache import Progress, SharedCache

# Computes a model's predictions for a digit set or reads them from a cache. Progress is called with
# images done and in all; the last argument says whether ``Predictions.features`` is needed.
Predictor = Callable[[Checkpoint, DigitSet, Progress, bool], Predictions]


def predict_uncached(
    checkpoint: Checkpoint, digit_set: DigitSet, progress: Progress, features: bool
) -> Predictions:
    """Compute predictions on the device that the checkpoint's network is on. A ``Predictor``."""
    return predictions.predict(
        checkpoint.classifier,
        digit_set,
        digest=checkpoint.key,
        progress=progress,
        keep_features=True if features else None,
    )


def classify(
    predict: Predictor,
    checkpoint: Checkpoint,
    digit_set: DigitSet,
    *,
    features: bool = False,
    name: str | None = None,
    notify: Notify = ignore,
) -> Predictions:
    """Return the predictions of a model for a digit set, with its progress as events.

    name: what the events call the model; None: the checkpoint's name.
    """
    task = f"{name or checkpoint.name} on {digit_set.title}"
    return predict(
        checkpoint,
        digit_set,
        lambda done, total: notify(ImagesProcessed(task, done, total)),
        features,
    )


Key = tuple[object, ...]

FEATURE_MAPS = "06_feature_maps"
# Some forty evaluations of nine figures each.
CACHE_BYTES = 64 << 20


def evaluate(
    checkpoint: Checkpoint,
    digit_sets: Sequence[DigitSet],
    *,
    predict: Predictor = predict_uncached,
    example: int = 0,
    features: bool = False,
    notify: Notify = ignore,
) -> Findings:
    """Classify the digit sets and compute every metric.

    digit_sets: the first is the reference that gaps are measured from. example: index of the image
    of the first set that figure 6 shows. features: whether to keep the last set's features, as
    dropout passes need them, where the model has any.
    """
    details = checkpoint.details
    features = features and "features" in checkpoint.classifier.capabilities
    return Findings(
        checkpoint.name,
        checkpoint.classifier,
        digit_sets,
        [
            classify(
                predict,
                checkpoint,
                digit_set,
                features=features and digit_set is digit_sets[-1],
                notify=notify,
            )
            for digit_set in digit_sets
        ],
        temperature=checkpoint.temperature,
        calibrated=checkpoint.calibrated,
        history=details.history,
        trained_on=details.digits,
        example=example,
    )


class FigureCache(SharedCache[Key, bytes]):
    """Figures as files, shared by all pages."""

    def __init__(self) -> None:
        super().__init__(CACHE_BYTES, len)


def draw_figures(
    findings: Findings,
    checkpoint: Checkpoint,
    passes: int,
    *,
    predict: Predictor = predict_uncached,
    cache: FigureCache,
    names: Sequence[str] = FIGURES,
    notify: Notify = ignore,
    file_type: FileType = "png",
) -> dict[str, bytes]:
    """Return the figures with those names as files, drawn where ``cache`` lacks them.

    Figures that the model does not support are left out. passes: number of dropout passes per mask
    type for figure 9, run only if it has to be drawn. notify: gets ``FigureStarted`` before a
    figure is drawn, then ``FigureDrawn`` or ``FigureUnavailable`` for each figure, and the progress
    of classifying and of the passes.
    """
    files = {}
    for number, name in enumerate(names, 1):

        def draw(_: Progress, name: str = name, number: int = number) -> bytes:
            notify(FigureStarted(number))
            shown = findings
            if name == STABILITY_FIGURE:
                shown = _with_stability(findings, checkpoint, passes, predict, notify)
            from digitcnn.analysis import figures  # here, because it imports matplotlib

            return figures.rendered(figures.draw(name, shown), file_type)

        try:
            key = (file_type, *_key(name, findings, checkpoint.key, passes))
            files[name] = cache.get(key, draw)
        except CapabilityError as error:
            notify(FigureUnavailable(name, str(error)))
        else:
            notify(FigureDrawn(name, files[name]))
    return files


def _with_stability(
    findings: Findings, checkpoint: Checkpoint, passes: int, predict: Predictor, notify: Notify
) -> Findings:
    check_measurable(checkpoint, passes)
    if findings.predictions[-1].features is None:
        last = classify(predict, checkpoint, findings.digit_sets[-1], features=True, notify=notify)
        findings = replace(findings, predictions=[*findings.predictions[:-1], last])
    return findings.with_stability(passes, notify=notify)


def _key(name: str, findings: Findings, digest: str, passes: int) -> Key:
    sets = tuple((d.name, d.split, d.fingerprint) for d in findings.digit_sets)
    example = findings.example if name == FEATURE_MAPS else None
    count = passes if name == STABILITY_FIGURE else None
    calibration = (findings.temperature, findings.calibrated)
    return name, findings.model, digest, calibration, sets, example, count


def write_figure(name: str, content: bytes, folder: Path, file_type: FileType = "png") -> Path:
    """Write a figure's file into ``folder``.

    Raises ConfigError where the folder cannot be written.
    """
    try:
        from digitcnn.analysis import figures

        return figures.write(name, content, folder, file_type)
    except OSError as error:
        raise ConfigError(
            f"The figures cannot be written to {folder} ({error.strerror or error}); free some "
            "space, or choose another folder."
        ) from error


def measure_stability(
    checkpoint: Checkpoint,
    digit_set: DigitSet,
    passes: int,
    *,
    predict: Predictor = predict_uncached,
    masks: Sequence[Masks] = MASKS,
    notify: Notify = ignore,
) -> list[Stability]:
    """Classify the set ``passes`` times per mask type with dropout on; one result per mask type.

    notify: gets the progress of computing the features, then every ``PassResult``.
    Raises ConfigError for a wrong number of passes and CapabilityError for a model without dropout,
    before anything is computed.
    """
    check_measurable(checkpoint, passes)
    predictions = classify(predict, checkpoint, digit_set, features=True, notify=notify)
    return measure_stabilities(
        checkpoint.classifier,
        predictions,
        passes,
        masks=masks,
        temperature=checkpoint.temperature,
        notify=notify,
    )


def check_measurable(checkpoint: Checkpoint, passes: object) -> None:
    """Raise ConfigError for a wrong number of passes, CapabilityError without dropout."""
    check_passes(passes)
    require(checkpoint.classifier, "dropout", "its stability cannot be measured")


def compare_models(
    checkpoints: Sequence[Checkpoint],
    digit_set: DigitSet,
    *,
    predict: Predictor = predict_uncached,
    names: Sequence[str] = (),
    notify: Notify = ignore,
) -> Comparison:
    """Classify the set with every model and compare them in pairs.

    names: of the models, for people; default: those of ``names_of``. Raises ConfigError unless two
    to eight models are given.
    """
    check_number(len(checkpoints))
    names = names or names_of(checkpoints)
    predictions = [
        classify(predict, checkpoint, digit_set, name=name, notify=notify)
        for name, checkpoint in zip(names, checkpoints, strict=True)
    ]
    return compare(names, predictions, [c.temperature for c in checkpoints])


def names_of(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Return the models' names for people, told apart by digest where several are the same."""
    return unique_names([c.name for c in checkpoints], [c.digest for c in checkpoints])
