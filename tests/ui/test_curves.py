"""The training curves: what is drawn of a run that was resumed, and of none."""

from __future__ import annotations

import dataclasses

import torch

from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochResult, StepProgress
from digitcnn.training.loop import samples_of
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
    for text in ("Training loss per step", ">nats</button>", "Held-out images", "which are harder"):
        assert text in html
    plain = curves(TrainingView(config=TrainingConfig(augmentation=False)))
    assert "Training loss will appear here" in plain
    assert "which are harder" not in plain


def test_samples_are_a_digit_of_each_kind_and_the_most_confident_errors() -> None:
    labels = torch.tensor([3, 3, 0, 7])
    logits = torch.zeros(4, 10)
    for index, (prediction, score) in enumerate([(3, 9.0), (5, 2.0), (0, 9.0), (1, 4.0)]):
        logits[index, prediction] = score
    images = torch.arange(4, dtype=torch.uint8)[:, None, None].expand(4, 28, 28)
    samples = samples_of(images, labels, logits)
    assert [int(sample.image[0, 0]) for sample in samples.digits] == [2, 0, 3]
    assert [(sample.label, sample.prediction) for sample in samples.errors] == [(7, 1), (3, 5)]
    assert samples.errors[0].confidence == torch.softmax(logits[3], 0).max()

    html = curves(dataclasses.replace(view_with(35), samples=samples))
    assert "digits after epoch 3, as the network sees and reads them" in html
    assert "A 7, predicted as 1 with " in html
    right = dataclasses.replace(samples, errors=())
    assert "No errors on" in curves(dataclasses.replace(view_with(35), samples=right))
    assert "appear here after the first epoch" in curves(view_with(35))
