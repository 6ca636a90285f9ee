"""How the network learns: ``train`` yields what happened; it prints nothing and knows no page."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from digitcnn.digits.augment import Augmentation, augment
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.errors import TrainingError
from digitcnn.network.device import Compute
from digitcnn.network.model import DigitCNN
from digitcnn.process import freed_memory_kept
from digitcnn.training.config import TrainingConfig, learning_rate_at
from digitcnn.training.distributed import ALONE, Processes
from digitcnn.training.events import EpochEnd, EpochResult, Snapshot, StepProgress

# Progress leaves the loop this often; on an accelerator it is also the only wait for the device.
REPORT_SECONDS = 0.5

WEIGHT_DECAY = 0.01
# Targets of 0.91 for the digit and 0.01 for each other (Szegedy et al. 2016, section 7). What is
# reported as loss is the plain cross-entropy.
LABEL_SMOOTHING = 0.1
# Images that the averaged network's batch-norm statistics are re-estimated on, and their batch.
STATISTICS_IMAGES, STATISTICS_BATCH = 5000, 500


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
    """Train one network, or go on after ``resume``; ends early, between batches, once ``stopped``.

    Order, augmentation and dropout of an epoch are drawn from the seed and the epoch's number
    alone, so a resumed training sees what an uninterrupted one would have seen.
    processes: those that train together; all of them make this call and iterate it, with the same
    arguments, and ``stopped`` gives all of them the same answer.
    Raises TrainingError when the loss is no longer a number.
    """
    with freed_memory_kept():
        learner = _Learner(config, training, held_out, compute, resume, processes)
        for epoch in range(learner.epochs_done + 1, config.epochs + 1):
            yield from learner.run_epoch(epoch, stopped)
            if stopped():
                return
            end = learner.end_epoch(epoch, stopped)
            if end is None:
                return
            yield end


class _Learner:
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
        # The images that do not fill a batch are left out; each epoch's order leaves out others.
        self.steps_per_epoch = len(training) // self.batch_size
        self.steps = self.steps_per_epoch * config.epochs
        self.augmentation = Augmentation() if config.augmentation else None
        # Weights come from the CPU's generator on every device.
        self.network = DigitCNN(generator=torch.Generator().manual_seed(config.seed))
        self.network.to(device).to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.network.dropout.generator = self.generator = torch.Generator(device)
        # The average looks back about one epoch: long enough to smooth, short enough to end
        # where the schedule ends.
        self.decay = 1 - 1 / max(10, self.steps_per_epoch)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=WEIGHT_DECAY, fused=device.type != "mps"
        )
        self.history: tuple[EpochResult, ...] = ()
        if resume is not None:
            self.network.load_state_dict(resume.weights)
            self.averaged.load_state_dict(resume.averaged)
            self.optimizer.load_state_dict(resume.moments)
            self.history = resume.history
        # The network itself, or PyTorch's wrapper that averages the gradients of all processes.
        self.learning = processes.learner(self.network)
        self.epochs_done = len(self.history)
        self.started = time.monotonic()
        self.steps_here = 0

    def run_epoch(self, epoch: int, stopped: Callable[[], bool]) -> Iterator[StepProgress]:
        self.network.train()
        self.epoch_started = reported = time.monotonic()
        self.generator.manual_seed(_epoch_seed(self.config.seed, epoch))
        order = self.processes.same(
            torch.randperm(len(self.images), device=self.images.device, generator=self.generator)
        )
        if self.processes.rank:
            self.generator.manual_seed(_epoch_seed(self.config.seed, epoch, self.processes.rank))
        losses: list[Tensor] = []
        self.epoch_losses: list[float] = []
        self.correct = torch.zeros((), dtype=torch.long, device=self.images.device)
        for index in range(self.steps_per_epoch):
            if stopped():
                return
            step = (epoch - 1) * self.steps_per_epoch + index
            batch = order[index * self.batch_size : (index + 1) * self.batch_size]
            losses.append(self._step(self.processes.part(batch), step))
            last = index + 1 == self.steps_per_epoch
            if last or time.monotonic() - reported >= REPORT_SECONDS:
                yield self._report(epoch, step + 1, losses)
                losses, reported = [], time.monotonic()

    def _step(self, batch: Tensor, step: int) -> Tensor:
        images, labels = self.images[batch], self.labels[batch]
        if self.augmentation is not None:
            images = augment(images, self.augmentation, self.generator)
        self.learning_rate = learning_rate_at(step, self.steps, self.config.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        with self._autocast():
            logits = self.learning(self.network.prepare(images))
        logits = logits.float()
        objective = functional.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)
        self.optimizer.zero_grad()
        objective.backward()
        self.optimizer.step()
        with torch.no_grad():
            self._average(step)
            self.correct += (logits.argmax(1) == labels).sum()
            return self.processes.mean(functional.cross_entropy(logits, labels))

    def _average(self, step: int) -> None:
        # Early on the average follows closely, so that the random start is forgotten.
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.averaged.parameters()), list(self.network.parameters()), 1 - decay
        )

    def _report(self, epoch: int, step: int, losses: list[Tensor]) -> StepProgress:
        values = torch.stack(losses).tolist()
        # The loss is that of all processes; the first ends the training for all.
        if self.processes.first and not all(abs(value) < float("inf") for value in values):
            raise TrainingError(
                f"The loss became {values[-1]} in epoch {epoch}, step {step}: the training "
                f"diverged; take a learning rate below {self.config.learning_rate:g}."
            )
        self.epoch_losses += values
        self.steps_here += len(values)
        per_step = (time.monotonic() - self.started) / self.steps_here
        return StepProgress(
            epoch=epoch,
            epochs=self.config.epochs,
            step=step,
            steps=self.steps,
            losses=tuple(values),
            images_per_second=self.batch_size / per_step,
            seconds_left=(self.steps - step) * per_step,
        )

    def end_epoch(self, epoch: int, stopped: Callable[[], bool]) -> EpochEnd | None:
        """Score the averaged weights; None when stopped before that was done."""
        if not self._estimate_statistics(stopped):
            return None
        logits = self._held_out_logits(stopped)
        if logits is None:
            return None
        seen = self.steps_per_epoch * self.batch_size
        result = EpochResult(
            epoch=epoch,
            loss=sum(self.epoch_losses) / len(self.epoch_losses),
            training_accuracy=int(self.processes.sum(self.correct)) / seen,
            held_out_loss=float(functional.cross_entropy(logits, self.held_out_labels)),
            accuracy=float((logits.argmax(1) == self.held_out_labels).float().mean()),
            held_out=len(self.held_out_labels),
            learning_rate=self.learning_rate,
            seconds=time.monotonic() - self.epoch_started,
        )
        self.history += (result,)
        snapshot = Snapshot(
            epoch=epoch,
            weights=_to_cpu(self.network.state_dict()),
            averaged=_to_cpu(self.averaged.state_dict()),
            moments=_to_cpu(self.optimizer.state_dict()),
            history=self.history,
        )
        return EpochEnd(result, snapshot)

    @torch.no_grad()
    def _estimate_statistics(self, stopped: Callable[[], bool]) -> bool:
        """Batch-norm statistics of the averaged weights, from training images as they were seen.

        Averaged weights need statistics of their own (Izmailov et al. 2018, section 3.2), and of
        images changed as in training: on the held-out images, unchanged ones cost a third more
        errors, because the weights were fitted to the changed ones' statistics.
        """
        norms = [m for m in self.averaged.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative mean over the batches
        self.averaged.train()
        for chunk in self.images[:STATISTICS_IMAGES].split(STATISTICS_BATCH):
            if stopped():
                return False
            chunk = self.processes.part(chunk)
            if len(chunk) == 0:
                continue
            if self.augmentation is not None:
                chunk = augment(chunk, self.augmentation, self.generator)
            with self._autocast():
                self.averaged.block2(self.averaged.block1(self.averaged.prepare(chunk)))
        self.averaged.eval()
        for name, statistic in self.averaged.named_buffers():
            if name.endswith(("mean", "var")):
                self.processes.mean(statistic)
        return True

    @torch.no_grad()
    def _held_out_logits(self, stopped: Callable[[], bool]) -> Tensor | None:
        count = len(self.held_out_labels)
        logits = torch.zeros(count, CLASSES, device=self.held_out_labels.device)
        for rows in torch.arange(count, device=logits.device).split(STATISTICS_BATCH):
            if stopped():
                return None
            mine = self.processes.part(rows)
            images = self.averaged.prepare(self.held_out_images[mine])
            with self._autocast():
                logits[mine] = self.averaged(images).float()
        return self.processes.sum(logits)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.compute.device.type,
            self.compute.autocast,
            enabled=self.compute.autocast is not None,
        )


def _epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Another stream for every seed and epoch (at most 200 epochs), and process of a training.

    rank: of the process; what the others draw is what far away seeds would.
    """
    return (seed + 1_000_003 * rank) * 1000 + epoch


def _to_cpu(value: Any) -> Any:
    """A copy of nested dictionaries and lists with every tensor cloned to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _to_cpu(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_cpu(item) for item in value]
    return value
