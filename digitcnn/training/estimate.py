"""How fast this device trains: measured by a short trial, and by every training after it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import torch

from digitcnn.digits.digit_set import CLASSES, SIDE, DigitSet
from digitcnn.network.device import Compute
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import StepProgress
from digitcnn.training.loop import train
from digitcnn.training.view import TrainingView

TRIAL_STEPS = 3


class Stopwatch:
    """Training speed by device, batch size, augmentation and network."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rates: dict[tuple[str, int, bool, str], float] = {}

    def images_per_second(
        self,
        config: TrainingConfig,
        compute: Compute,
        *,
        may_try: bool = True,
        undisturbed: Callable[[], bool] = lambda: True,
    ) -> float | None:
        """Return the speed of training with ``config``.

        The first call for a batch size trains a few steps on noise, about a second of work, one
        call at a time.
        may_try: whether this call may do that; otherwise None where nothing is measured yet.
        undisturbed: whether nothing else is training; the result of a disturbed trial is dropped,
        and None is returned.
        """
        batch_size = _rounded(config.batch_size)
        key = _key(config, str(compute))
        if key in self._rates or not may_try:
            return self._rates.get(key)
        with self._lock:
            # While this call waited it may have been measured, or a training may have started.
            if key not in self._rates and undisturbed():
                rate = _trial(dataclasses.replace(config, batch_size=batch_size), compute)
                if undisturbed():
                    self._rates[key] = rate
            return self._rates.get(key)

    def learn(self, view: TrainingView) -> None:
        """Take the speed of a training, which says more than a trial of a few steps."""
        if view.config is not None and view.progress is not None:
            self._rates[_key(view.config, view.compute)] = view.progress.images_per_second


def _rounded(batch_size: int) -> int:
    """Return the next power of two: within a factor of two the speed hardly changes."""
    return 1 << (batch_size - 1).bit_length()


def _key(config: TrainingConfig, compute: str) -> tuple[str, int, bool, str]:
    return compute, _rounded(config.batch_size), config.augmentation, config.network


def _trial(config: TrainingConfig, compute: Compute) -> float:
    generator = torch.Generator().manual_seed(0)
    count = TRIAL_STEPS * config.batch_size
    noise = DigitSet(
        torch.randint(256, (count, SIDE, SIDE), dtype=torch.uint8, generator=generator),
        torch.randint(CLASSES, (count,), dtype=torch.uint8, generator=generator),
        "noise",
        "train",
    )
    trial = TrainingConfig(
        digits="noise",
        epochs=2,
        batch_size=config.batch_size,
        augmentation=config.augmentation,
        network=config.network,
    )
    # The first round includes one-time costs: buffers, kernels, the allocator's memory.
    rates = []
    for _ in range(2):
        for progress in train(trial, noise, noise.take(slice(0, 1)), compute):
            if isinstance(progress, StepProgress) and progress.step == TRIAL_STEPS:
                rates.append(progress.images_per_second)
                break
    return rates[-1]
