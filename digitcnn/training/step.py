"""One optimisation step and its progress, for training and for fine-tuning."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional

from digitcnn.digits.augment import Augmentation, augment
from digitcnn.network.device import Compute
from digitcnn.network.model import Network
from digitcnn.training.events import StepProgress

# Seconds between reports of progress; on an accelerator these are the only waits for the device.
REPORT_SECONDS = 0.5

WEIGHT_DECAY = 0.01
# Images for the batch-norm statistics of the averaged network.
STATISTICS_IMAGES = 5000
# An image that is only evaluated costs about a third of one that is trained on: the backward pass
# multiplies twice as much as the forward pass.
FORWARD_SHARE = 1 / 3
# The augmentation of a network that has one of its own: ``deep`` is for clean digits.
AUGMENTATIONS = {"deep": Augmentation(distorted=0.15, distorted_last=0)}
# Targets of 0.91 for the digit and 0.01 for each other (Szegedy et al. 2016, section 7). The loss
# that is reported is the plain cross-entropy.
LABEL_SMOOTHING = 0.1


def learning_rate_at(step: int, steps: int, peak: float) -> float:
    """Return the one-cycle schedule's rate (Smith and Topin 2018).

    step: 0 to ``steps`` - 1. The first quarter rises linearly from a 25th of ``peak`` to it; a
    cosine falls to zero after that.
    """
    rise = max(1, steps // 4)
    if step < rise:
        return peak * (0.04 + 0.96 * step / rise)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def averaged_share(step: int, steps_per_epoch: int) -> float:
    """Return how much of the weights after step number ``step``, from 0, goes into their average.

    It is 0 for most steps: fifty of an epoch give the same average as all of them, and each update
    passes over all weights. The average looks back about one epoch: long enough to smooth, short
    enough to end where the schedule ends.
    """
    interval = max(1, steps_per_epoch // 50)
    updates, others = divmod(step + 1, interval)
    if others:
        return 0
    decay = (1 - 1 / max(10, steps_per_epoch)) ** interval
    # Early on the average follows closely, so that the random start is forgotten.
    return max(1 - decay, 9 / (9 + updates))


def distorted_at(augmentation: Augmentation, step: int, steps: int) -> float:
    """Return the share of distorted images of step number ``step``, from 0.

    It falls over the last quarter, so that the last, small steps fit mostly undistorted images.
    """
    remaining = min(1.0, 4 * (steps - step) / steps)
    last = augmentation.distorted_last
    return last + (augmentation.distorted - last) * remaining


def autocast(compute: Compute) -> torch.autocast:
    """Return a context in which the device's reduced precision is used, if it has one."""
    return torch.autocast(
        compute.device.type, compute.autocast, enabled=compute.autocast is not None
    )


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """Updates a network from one batch after another.

    network: prepares the images. learner: gives the logits; the network, or PyTorch's wrapper that
    averages gradients over processes. steps: of the whole schedule; peak: its highest rate.
    augmentation: None leaves the images as they are. generator: draws the augmentation.
    """

    network: Network
    learner: nn.Module
    optimizer: torch.optim.Optimizer
    compute: Compute
    steps: int
    peak: float
    augmentation: Augmentation | None
    generator: torch.Generator

    def update(self, step: int, images: Tensor, labels: Tensor) -> Tensor:
        """Make step number ``step``, from 0; returns the logits before it, float32 [B, 10].

        images: uint8 [B, 28, 28], in random order. labels: int64 [B].
        """
        images = self.augmented(step, images)
        rate = learning_rate_at(step, self.steps, self.peak)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with autocast(self.compute):
            output: Tensor = self.learner(self.network.prepare(images))
        logits = output.float()
        objective = functional.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)
        self.optimizer.zero_grad()
        objective.backward()
        self.optimizer.step()
        return logits.detach()

    def augmented(self, step: int, images: Tensor) -> Tensor:
        """Augment images as step number ``step`` does; float32 where they are augmented."""
        if self.augmentation is None:
            return images
        share = distorted_at(self.augmentation, step, self.steps)
        return augment(images, replace(self.augmentation, distorted=share), self.generator)


class ProgressMeter:
    """Collects the losses of the steps, and times them.

    first: number of the first step of this process, from 0. batch_size: images per step.
    evaluated: images that are evaluated at the end of an epoch.
    """

    def __init__(
        self, epochs: int, steps_per_epoch: int, batch_size: int, first: int = 0, evaluated: int = 0
    ) -> None:
        self._epochs, self._steps_per_epoch = epochs, steps_per_epoch
        self._batch_size, self._evaluated = batch_size, evaluated
        self._first = self._step = first
        # Seconds of the timed steps and their number, and the seconds between epochs.
        self._stepping, self._timed = 0.0, 0
        self._between: list[float] = []
        self._losses: list[Tensor] = []
        self._reported = time.monotonic()

    def start_epoch(self) -> None:
        """Note that an epoch starts: the time since the last step was not spent on steps."""
        if self._step > self._first:
            now = time.monotonic()
            self._between.append(now - self._reported)
            self._reported = now

    def add(self, loss: Tensor) -> StepProgress | None:
        """Add the loss of the next step; returns the progress where a report is due."""
        self._losses.append(loss)
        self._step += 1
        epoch_ends = self._step % self._steps_per_epoch == 0
        if self._step == self._first + 1 and not epoch_ends:
            # The first step includes one-time costs, which would make the rest seem endless.
            self._reported = time.monotonic()
            return None
        self._timed += 1
        if not epoch_ends and time.monotonic() - self._reported < REPORT_SECONDS:
            return None
        losses = tuple(torch.stack(self._losses).tolist())
        self._losses = []
        now = time.monotonic()  # the device has done the steps
        self._stepping += now - self._reported
        self._reported = now
        per_step = self._stepping / self._timed
        # Until one was timed, the end of an epoch is estimated from its images.
        per_end = FORWARD_SHARE * self._evaluated * per_step / self._batch_size
        if self._between:
            per_end = fmean(self._between)
        steps = self._epochs * self._steps_per_epoch
        epoch = (self._step - 1) // self._steps_per_epoch + 1
        return StepProgress(
            epoch=epoch,
            epochs=self._epochs,
            step=self._step,
            steps=steps,
            losses=losses,
            images_per_second=self._batch_size / per_step,
            seconds_left=(steps - self._step) * per_step + (self._epochs + 1 - epoch) * per_end,
        )
