"""How fast this device trains: measured by a short trial, and by every training after it."""

from __future__ import annotations

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
    """Training speed by device, augmentation, network and batch size."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Images per second by batch size; the estimates for one network must agree.
        self._rates: dict[tuple[str, bool, str], dict[int, float]] = {}
        self._learned: StepProgress | None = None

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
        and None is returned where nothing is measured.
        """
        batch_size = _rounded(config.batch_size)
        rates = self._rates.setdefault(_key(config, str(compute)), {})
        if may_try:
            with self._lock:
                # While this call waited it may have been measured, or a training may have started.
                if batch_size not in rates and undisturbed():
                    rate = _trial(config, batch_size, compute)
                    if undisturbed():
                        rates[batch_size] = rate
        return _rate(rates, batch_size)

    def learn(self, view: TrainingView) -> None:
        """Take the speed of a training, which says more than a trial of a few steps.

        What was measured for other batch sizes changes in proportion.
        """
        if view.config is None or view.progress is None:
            return
        with self._lock:
            if view.progress is self._learned:  # learned before; trials since then count as well
                return
            self._learned = view.progress
            batch_size, rate = _rounded(view.config.batch_size), view.progress.images_per_second
            rates = self._rates.setdefault(_key(view.config, view.compute), {})
            change = rate / (_rate(rates, batch_size) or rate)
            for size in rates:
                rates[size] *= change
            rates[batch_size] = rate


def _rounded(batch_size: int) -> int:
    """Return the next power of two: within a factor of two the speed hardly changes."""
    return 1 << (batch_size - 1).bit_length()


def _key(config: TrainingConfig, compute: str) -> tuple[str, bool, str]:
    return compute, config.augmentation, config.network


def _rate(rates: dict[int, float], batch_size: int) -> float | None:
    """Return the images per second at a batch size, from those measured at any; None without any.

    Other programs slow a trial down, and nothing speeds it up. A larger batch is no slower per
    image, and a smaller one no slower per step, so a fast measurement overrules a slow one.
    """
    known = (rate * min(1.0, batch_size / size) for size, rate in list(rates.items()))
    return max(known, default=None)


def _trial(config: TrainingConfig, batch_size: int, compute: Compute) -> float:
    generator = torch.Generator().manual_seed(0)
    count = TRIAL_STEPS * batch_size
    noise = DigitSet(
        torch.randint(256, (count, SIDE, SIDE), dtype=torch.uint8, generator=generator),
        torch.randint(CLASSES, (count,), dtype=torch.uint8, generator=generator),
        "noise",
        "train",
    )
    trial = TrainingConfig(
        digits="noise",
        batch_size=batch_size,
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
