"""The training loop: ``train`` yields events; it prints nothing and writes nothing."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from digitcnn.digits.augment import Augmentation
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.errors import TrainingError
from digitcnn.network.architectures import ARCHITECTURES
from digitcnn.network.device import Compute
from digitcnn.process import retain_freed_memory
from digitcnn.training.config import TrainingConfig
from digitcnn.training.distributed import ALONE, Processes
from digitcnn.training.events import EpochEnd, EpochResult, Sample, Samples, Snapshot, StepProgress
from digitcnn.training.step import (
    AUGMENTATIONS,
    STATISTICS_IMAGES,
    WEIGHT_DECAY,
    ProgressMeter,
    TrainingStep,
    autocast,
    averaged_share,
    learning_rate_at,
)

# Images at a time at an epoch's end, which then takes no more memory than a step.
EVALUATION_BATCH = 250
# The most confident errors that are shown after an epoch.
MOST_ERRORS = 10


def train(
    config: TrainingConfig,
    training: DigitSet,
    held_out: DigitSet,
    compute: Compute,
    *,
    resume: Snapshot | None = None,
    stopped: Callable[[], bool] = lambda: False,
    processes: Processes = ALONE,
) -> Iterator[StepProgress | EpochEnd]:
    """Train one network, or resume after ``resume``; ends early, between batches, once ``stopped``.

    Order, augmentation and dropout of an epoch depend on the seed and the epoch's number alone, so
    a resumed training sees what an uninterrupted one would have seen.
    processes: those that train together; all of them make this call with the same arguments and
    iterate it, and ``stopped`` gives all of them the same answer.
    Raises TrainingError when the loss is no longer finite.
    """
    with retain_freed_memory():
        trainer = _Trainer(config, training, held_out, compute, resume, processes)
        for epoch in range(len(trainer.history) + 1, config.epochs + 1):
            yield from trainer.run_epoch(epoch, stopped)
            if stopped():
                return
            end = trainer.end_epoch(epoch, stopped)
            if end is None:
                return
            yield end


class _Trainer:
    """The state of one training on its device."""

    def __init__(
        self,
        config: TrainingConfig,
        training: DigitSet,
        held_out: DigitSet,
        compute: Compute,
        resume: Snapshot | None,
        processes: Processes,
    ) -> None:
        device = compute.device
        self.config, self.compute, self.processes = config, compute, processes
        self.images, self.labels = training.images.to(device), training.labels.to(device).long()
        self.held_out_images = held_out.images.to(device)
        self.held_out_labels = held_out.labels.to(device).long()
        self.batch_size = processes.whole_batches(min(config.batch_size, len(training)))
        # Images that do not fill a batch are left out, different ones in each epoch.
        self.steps_per_epoch = len(training) // self.batch_size
        self.steps = self.steps_per_epoch * config.epochs
        # Weights come from the CPU's generator on every device.
        architecture = ARCHITECTURES[config.network]
        self.network = architecture(generator=torch.Generator().manual_seed(config.seed))
        if not config.dropout:
            self.network.dropout = None
        self.network.to(device).to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.generator = torch.Generator(device)
        self.network.draw_dropout_from(self.generator)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=WEIGHT_DECAY, fused=device.type != "mps"
        )
        self.history: tuple[EpochResult, ...] = ()
        if resume is not None:
            self.network.load_state_dict(resume.weights)
            self.averaged.load_state_dict(resume.averaged)
            self.optimizer.load_state_dict(resume.moments)
            self.history = resume.history
        self.step = TrainingStep(
            network=self.network,
            learner=processes.averaging_gradients(self.network),
            optimizer=self.optimizer,
            compute=compute,
            steps=self.steps,
            peak=config.learning_rate,
            augmentation=(
                AUGMENTATIONS.get(config.network, Augmentation()) if config.augmentation else None
            ),
            generator=self.generator,
        )
        self.meter = ProgressMeter(
            config.epochs,
            self.steps_per_epoch,
            self.batch_size,
            first=len(self.history) * self.steps_per_epoch,
            evaluated=min(len(training), STATISTICS_IMAGES) + len(held_out),
        )

    def run_epoch(self, epoch: int, stopped: Callable[[], bool]) -> Iterator[StepProgress]:
        self.network.train()
        self.epoch_started = time.monotonic()
        self.meter.start_epoch()
        self.generator.manual_seed(_epoch_seed(self.config.seed, epoch))
        order = self.processes.same(
            torch.randperm(len(self.images), device=self.images.device, generator=self.generator)
        )
        if self.processes.rank:
            self.generator.manual_seed(_epoch_seed(self.config.seed, epoch, self.processes.rank))
        self.epoch_losses: list[float] = []
        self.correct = torch.zeros((), dtype=torch.long, device=self.images.device)
        for index in range(self.steps_per_epoch):
            if stopped():
                return
            batch = order[index * self.batch_size : (index + 1) * self.batch_size]
            loss = self._update(
                (epoch - 1) * self.steps_per_epoch + index, self.processes.part(batch)
            )
            progress = self.meter.add(loss)
            if progress is not None:
                self._check_finite(progress)
                self.epoch_losses += progress.losses
                yield progress

    def _update(self, step: int, batch: Tensor) -> Tensor:
        """Make one step from the images numbered ``batch``; returns the loss of all processes."""
        labels = self.labels[batch]
        logits = self.step.update(step, self.images[batch], labels)
        with torch.no_grad():
            share = averaged_share(step, self.steps_per_epoch)
            if share:
                torch._foreach_lerp_(
                    list(self.averaged.parameters()), list(self.network.parameters()), share
                )
            self.correct += (logits.argmax(1) == labels).sum()
            return self.processes.mean(functional.cross_entropy(logits, labels))

    def _check_finite(self, progress: StepProgress) -> None:
        # All processes share the loss; the first one ends the training for all.
        if self.processes.first and not all(map(math.isfinite, progress.losses)):
            raise TrainingError(
                f"Training diverged (loss {progress.losses[-1]} in epoch {progress.epoch}, step "
                f"{progress.step}); use a learning rate below {self.config.learning_rate:g}."
            )

    def end_epoch(self, epoch: int, stopped: Callable[[], bool]) -> EpochEnd | None:
        """Evaluate the averaged weights; None when stopped before that was done."""
        last_step = epoch * self.steps_per_epoch - 1
        if not self._estimate_statistics(last_step, stopped):
            return None
        logits = self._held_out_logits(stopped)
        if logits is None:
            return None
        trained = self.steps_per_epoch * self.batch_size
        result = EpochResult(
            epoch=epoch,
            loss=sum(self.epoch_losses) / len(self.epoch_losses),
            training_accuracy=int(self.processes.sum(self.correct)) / trained,
            held_out_loss=float(functional.cross_entropy(logits, self.held_out_labels)),
            accuracy=float((logits.argmax(1) == self.held_out_labels).float().mean()),
            held_out=len(self.held_out_labels),
            learning_rate=learning_rate_at(last_step, self.steps, self.config.learning_rate),
            seconds=time.monotonic() - self.epoch_started,
        )
        self.history += (result,)
        return EpochEnd(
            Snapshot(
                epoch=epoch,
                weights=_to_cpu(self.network.state_dict()),
                averaged=_to_cpu(self.averaged.state_dict()),
                moments=_to_cpu(self.optimizer.state_dict()),
                history=self.history,
            ),
            self.config.network,
            samples_of(self.held_out_images, self.held_out_labels, logits),
        )

    @torch.no_grad()
    def _estimate_statistics(self, step: int, stopped: Callable[[], bool]) -> bool:
        """Estimate the averaged weights' batch-norm statistics at ``step``; False when stopped.

        Averaged weights need statistics of their own (Izmailov et al. 2018, section 3.2), and of
        augmented images: with plain ones there were a third more errors on the held-out images,
        because the weights were fitted to the statistics of augmented ones.
        """
        norms = [m for m in self.averaged.modules() if isinstance(m, nn.BatchNorm2d)]
        if not norms:
            return True
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative mean over the batches
        self.averaged.train()
        for chunk in self.images[:STATISTICS_IMAGES].split(EVALUATION_BATCH):
            if stopped():
                return False
            chunk = self.processes.part(chunk)
            if len(chunk) == 0:
                continue
            chunk = self.step.augmented(step, chunk)
            with autocast(self.compute):
                self.averaged.maps(self.averaged.prepare(chunk))
        self.averaged.eval()
        for name, statistic in self.averaged.named_buffers():
            if name.endswith(("mean", "var")):
                self.processes.mean(statistic)
        return True

    @torch.no_grad()
    def _held_out_logits(self, stopped: Callable[[], bool]) -> Tensor | None:
        """Return the averaged network's logits, float32 [N, 10]; None when stopped."""
        count = len(self.held_out_labels)
        logits = torch.zeros(count, CLASSES, device=self.held_out_labels.device)
        network = self.averaged.inference_copy()
        for rows in torch.arange(count, device=logits.device).split(EVALUATION_BATCH):
            if stopped():
                return None
            own = self.processes.part(rows)
            images = network.prepare(self.held_out_images[own])
            with autocast(self.compute):
                logits[own] = network(images).float()
        return self.processes.sum(logits)


def samples_of(images: Tensor, labels: Tensor, logits: Tensor) -> Samples:
    """Choose samples of held-out images.

    images: uint8 [N, 28, 28]. labels: int64 [N]. logits: float32 [N, 10].
    """
    confidences, predictions = logits.softmax(1).max(1)

    def read(indices: list[int]) -> Iterator[Sample]:
        for index in indices:
            label, prediction = int(labels[index]), int(predictions[index])
            image = images[index].cpu().clone()
            yield Sample(image, label, prediction, float(confidences[index]))

    places = [(labels == digit).nonzero()[:1].flatten() for digit in range(CLASSES)]
    wrong = (predictions != labels).nonzero().squeeze(1)
    most = confidences[wrong].argsort(descending=True, stable=True)[:MOST_ERRORS]
    return Samples(
        tuple(read([int(place) for place in places if len(place)])),
        tuple(read(wrong[most].tolist())),
    )


def _epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Return another seed for every seed, epoch (at most 200) and process."""
    return (seed + 1_000_003 * rank) * 1000 + epoch


def _to_cpu(value: Any) -> Any:
    """Copy nested dictionaries and lists, with every tensor cloned to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _to_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_cpu(item) for item in value]
    return value
