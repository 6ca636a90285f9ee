"""The curves of a training: loss per step and accuracy per epoch."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from digitcnn.intervals import confidence_text
from digitcnn.training.events import EpochResult, Sample
from digitcnn.training.view import TrainingView
from digitcnn.ui.parts import image_address
from digitcnn.web.charts import Axis, Series, chart, count_axis, linear_axis, log_axis
from digitcnn.web.templates import render

# At this size both charts fit side by side into the tab's wider column without being scaled.
WIDTH, HEIGHT = 350, 230


def curves(view: TrainingView, previous: Sequence[EpochResult] = ()) -> Markup:
    """Draw both charts side by side, and sample digits below them.

    previous: the epochs of the run before, drawn in grey.
    """
    return render(
        "train/curves.html",
        loss=_loss_chart(view),
        accuracy=_accuracy_chart(view, previous),
        augmentation=_augmented(view),
        samples=_samples(view),
    )


def _samples(view: TrainingView) -> Markup:
    last = view.history[-1] if view.history and view.samples.digits else None
    return render(
        "train/samples.html",
        epoch=last.epoch if last else 0,
        held_out=f"{last.held_out:,}" if last else "",
        wrong=f"{round((1 - last.accuracy) * last.held_out):,}" if last else "",
        digits=_tiles(view.samples.digits),
        errors=_tiles(view.samples.errors),
    )


def _tiles(samples: Sequence[Sample]) -> list[dict[str, object]]:
    return [
        {
            "address": image_address(sample.image),
            "label": sample.label,
            "prediction": sample.prediction,
            "right": sample.right,
            "confidence": confidence_text(sample.confidence),
        }
        for sample in samples
    ]


def _augmented(view: TrainingView) -> bool:
    return view.config is None or view.config.augmentation


def loss_points(view: TrainingView) -> list[tuple[float, float]]:
    """Return step and loss (nats) of each point, including the means of epochs before a resume."""
    progress, curve = view.progress, view.losses
    if progress is None:
        return []
    known = len(curve.means) * curve.group + len(curve.rest)
    first = progress.step - known
    middles = [
        ((result.epoch - 0.5) * progress.steps / progress.epochs, result.loss)
        for result in view.history
    ]
    return [(step, loss) for step, loss in middles if step < first] + [
        (first + (index + 1) * curve.group, loss) for index, loss in enumerate(curve.means)
    ]


def _loss_chart(view: TrainingView) -> Markup:
    points = loss_points(view)
    steps = view.progress.steps if view.progress else 1
    ticks = [(steps * part / 4, f"{round(steps * part / 4):,}") for part in range(5) if points]
    return chart(
        "Training loss per step",
        Axis("Step", 0, steps, ticks),
        log_axis("Training loss", [loss for _, loss in points]),
        [Series(name="Training", points=points)],
        empty="Training loss will appear here",
        legend=True,
        width=WIDTH,
        height=HEIGHT,
    )


def _accuracy_chart(view: TrainingView, previous: Sequence[EpochResult]) -> Markup:
    held_out = [(result.epoch, 100 * result.accuracy) for result in view.history]
    before = [(result.epoch, 100 * result.accuracy) for result in previous if held_out]
    training = [(result.epoch, 100 * result.training_accuracy) for result in view.history]
    values = [accuracy for _, accuracy in held_out + training + before]
    epochs = max(view.config.epochs if view.config else 1, *(epoch for epoch, _ in before), 1)
    grey = [Series(name="Held-out, previous run", points=before, colour=0)] if before else []
    name = "Training (augmented)" if _augmented(view) else "Training"
    return chart(
        "Accuracy per epoch (%)",
        count_axis("Epoch", epochs),
        linear_axis("Accuracy (%)", [*(values or [90.0]), 100.0], bounds=(0, 100)),
        [
            *grey,
            Series(name="Held-out images", points=held_out, marker="circle"),
            Series(name=name, points=training, colour=2, marker="diamond"),
        ],
        empty="Accuracy will appear here",
        width=WIDTH,
        height=HEIGHT,
    )
