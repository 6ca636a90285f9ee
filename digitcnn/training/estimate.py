"""Estimate how long a training will take, from a short trial on this device."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import torch

from digitcnn.digits.digit_set import CLASSES, HELD_OUT_SHARE, SIDE, DigitSet
from digitcnn.network.device import Compute
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import StepProgress
from digitcnn.training.loop import STATISTICS_IMAGES, train

# An image that is only evaluated costs about a third of one that is trained on: the backward pass
# multiplies twice as much as the forward pass.
FORWARD_SHARE = 1 / 3
TRIAL_STEPS = 3


class Stopwatch:
    """Training speed by batch size and network, each measured once per process and device."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rates: dict[tuple[str, int, bool, str], float] = {}

    def seconds(
        self,
        config: TrainingConfig,
        training_file: int,
        compute: Compute,
        *,
        may_try: bool = True,
        undisturbed: Callable[[], bool] = lambda: True,
    ) -> float | None:
        """Return the seconds for ``config`` on a training file of ``training_file`` images.

        The first call for a batch size trains a few steps on noise, about a second of work, one
        call at a time.
        may_try: whether this call may do that; otherwise None where nothing is measured yet.
        undisturbed: whether nothing else is training; the result of a disturbed trial is dropped,
        and None is returned.
        """
        held_out = max(1, training_file // HELD_OUT_SHARE)
        images = config.train_images or max(1, training_file - held_out)
        evaluated = min(images, STATISTICS_IMAGES) + held_out
        rate = self._images_per_second(config, compute, may_try, undisturbed)
        if rate is None:
            return None
        return config.epochs * (images + FORWARD_SHARE * evaluated) / rate

    def _images_per_second(
        self,
        config: TrainingConfig,
        compute: Compute,
        may_try: bool,
        undisturbed: Callable[[], bool],
    ) -> float | None:
        # The speed hardly changes within a factor of two of the batch size.
        batch_size = 1 << (config.batch_size - 1).bit_length()
        key = (str(compute), batch_size, config.augmentation, config.network)
        if key in self._rates or not may_try:
            return self._rates.get(key)
        with self._lock:
            # While this call waited it may have been measured, or a training may have started.
            if key not in self._rates and undisturbed():
                rate = _trial(dataclasses.replace(config, batch_size=batch_size), compute)
                if undisturbed():
                    self._rates[key] = rate
            return self._rates.get(key)


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
