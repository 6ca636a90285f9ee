"""Experiments in small, for tests: the same arms and questions on a few images for a moment."""

from __future__ import annotations

import dataclasses

from digitcnn.experiments.experiment import Experiment


def in_small(experiment: Experiment) -> Experiment:
    """Return the experiment with two seeds, one epoch and at most 110 images per training."""

    def small(settings: object) -> dict[str, object]:
        values = {**dict(settings), "epochs": 1, "batch_size": 22, "network": "lenet"}  # type: ignore[call-overload]
        if "train_images" in values:
            values["train_images"] = min(44, values["train_images"])
        return values

    return dataclasses.replace(
        experiment,
        images=120,
        seeds=2,
        arms=[dataclasses.replace(arm, settings=small(arm.settings)) for arm in experiment.arms],
    )
