"""Evaluate a model on test sets, and draw the nine figures of the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from digitcnn.analysis.events import FigureDrawn, FigureStarted, FigureUnavailable, Notify, ignore
from digitcnn.analysis.findings import Findings
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CapabilityError, ConfigError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.classifier import require
from digitcnn.options import FIGURES, STABILITY_FIGURE, FileType
from digitcnn.services.predictors import Predictor, classify
from digitcnn.shared_cache import Progress, SharedCache

Key = tuple[object, ...]

FEATURE_MAPS = "06_feature_maps"
# Some forty evaluations of nine figures each.
CACHE_BYTES = 64 << 20


def evaluate(
    checkpoint: Checkpoint,
    digit_sets: Sequence[DigitSet],
    *,
    predict: Predictor,
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
        temperature=details.temperature,
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
    predict: Predictor,
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
            notify(FigureStarted(name, number))
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
    require(checkpoint.classifier, "dropout", "its stability cannot be measured")
    last = findings.predictions[-1]
    if last.features is None:
        last = classify(predict, checkpoint, findings.digit_sets[-1], features=True, notify=notify)
    return findings.with_stability(passes, features=last, notify=notify)


def _key(name: str, findings: Findings, digest: str, passes: int) -> Key:
    sets = tuple((d.name, d.split, d.fingerprint) for d in findings.digit_sets)
    example = findings.example if name == FEATURE_MAPS else None
    count = passes if name == STABILITY_FIGURE else None
    return name, findings.model, digest, findings.temperature, sets, example, count


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
