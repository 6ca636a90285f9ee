"""The training curves: what is drawn of a run that was resumed, and of none."""

from __future__ import annotations

from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochResult, StepProgress
from digitcnn.training.view import LossCurve, TrainingView
from digitcnn.ui.curves import curves, loss_points


def view_with(losses: int) -> TrainingView:
    """Three epochs of ten steps and half of the fourth; the last ``losses`` steps are known."""
    results = tuple(EpochResult(epoch, 1.0, 0.9, 0.2, 0.98, 40, 1e-3, 5.0) for epoch in (1, 2, 3))
    return TrainingView(
        config=TrainingConfig(epochs=4),
        progress=StepProgress(4, 4, 35, 40, (0.5,), 100.0, 1.0),
        losses=LossCurve().with_losses((0.5,) * losses),
        history=results,
    )


def test_loss_of_a_resumed_run_starts_with_the_means_of_earlier_epochs() -> None:
    steps = [step for step, _ in loss_points(view_with(15))]
    assert steps == [5, 15, *range(21, 36)]
    assert [step for step, _ in loss_points(view_with(35))] == list(range(1, 36))


def test_curves_show_both_charts_and_explain_augmentation() -> None:
    html = curves(view_with(35))
    for text in ("Training loss per step (nats)", "Held-out images", "augmented images"):
        assert text in html
    plain = curves(TrainingView(config=TrainingConfig(augmentation=False)))
    assert "Training loss will appear here" in plain
    assert "augmented images" not in plain
