"""The state of a training, accumulated from its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import torch
from torch import Tensor

from digitcnn.network.architectures import ARCHITECTURES
from digitcnn.network.model import Network
from digitcnn.options import NETWORKS
from digitcnn.training.background import BackgroundView
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import (
    EpochEnd,
    EpochResult,
    Phase,
    RunEnd,
    RunStart,
    Samples,
    StepProgress,
    TrainingEvent,
)
from digitcnn.training.run_record import RUNNING
from digitcnn.training.run_work import RunWork

# A chart has no more pixels than this.
MAX_LOSSES = 600
# Before the first progress of a training is known.
LOADING_SHARE = 0.01


@dataclass(frozen=True)
class LossCurve:
    """Training loss over steps, thinned to at most ``MAX_LOSSES`` points.

    means: mean loss (nats) of each full group of ``group`` consecutive steps.
    rest: the losses of the steps after the last full group.
    """

    group: int = 1
    means: tuple[float, ...] = ()
    rest: tuple[float, ...] = ()

    def with_losses(self, losses: tuple[float, ...]) -> LossCurve:
        """Return the curve with ``losses`` added, averaged in larger groups where it grows long."""
        group, means, rest = self.group, list(self.means), list(self.rest)
        for loss in losses:
            rest.append(loss)
            if len(rest) == group:
                means.append(sum(rest) / group)
                rest = []
            if len(means) > MAX_LOSSES:
                # An odd last mean goes back to the rest as ``group`` equal losses.
                rest = [means.pop()] * group if len(means) % 2 else []
                means = [(a + b) / 2 for a, b in zip(means[::2], means[1::2], strict=True)]
                group *= 2
        return LossCurve(group, tuple(means), tuple(rest))


# A network takes 4.1 MB, so these take 82 MB at most.
MAX_FRAMES = 20


@dataclass(frozen=True, eq=False)
class ReplayFrame:
    """The network after ``epoch``, as a checkpoint would store it.

    Averaged weights, in evaluation mode, on the CPU; never changed.
    """

    epoch: int
    network: Network


@dataclass(frozen=True, eq=False)
class TrainingReplay:
    """The networks after the epochs of one training, thinned evenly to at most MAX_FRAMES.

    The first and the latest epoch are always there; of those in between all, or the multiples of
    2, 4, 8, ... where there are too many.
    """

    frames: tuple[ReplayFrame, ...] = ()

    def with_epoch(
        self, epoch: int, averaged: Mapping[str, Tensor], network: str = NETWORKS[0]
    ) -> TrainingReplay:
        """Return the replay with one more epoch.

        averaged: its weights on the CPU; they are not copied and must not change any more.
        network: the architecture.
        """
        frames = (*self.frames, ReplayFrame(epoch, _network(network, averaged)))
        first, step = frames[0].epoch, 1
        while (epoch - first) // step + 2 > MAX_FRAMES:
            step *= 2
        return TrainingReplay(
            tuple(f for f in frames if f.epoch in (first, epoch) or f.epoch % step == 0)
        )


def _network(name: str, weights: Mapping[str, Tensor]) -> Network:
    # On the meta device no initial weights are drawn, which would advance the process-wide random
    # generator.
    with torch.device("meta"):
        network = ARCHITECTURES[name]()
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class TrainingView(BackgroundView):
    """The state of a training at one moment.

    number, of: the run's number among those started together, and how many these are.
    samples: held-out images with their predictions after the last epoch that this process trained.
    replay: the networks after the epochs that this process trained, where a job stores them.
    phase_done: the share of the phase that was done when its text last changed.
    work: what the run consists of, for estimates. least_share: the share that was shown last.
    ended: how the run ended; None before that.
    """

    run: str = ""
    number: int = 1
    of: int = 1
    config: TrainingConfig | None = None
    progress: StepProgress | None = None
    losses: LossCurve = LossCurve()
    history: tuple[EpochResult, ...] = ()
    samples: Samples = field(default_factory=Samples)
    replay: TrainingReplay = field(default_factory=TrainingReplay)
    work: RunWork = field(default_factory=RunWork)
    phase_done: float = 0.0
    least_share: float = 0.0
    ended: RunEnd | None = None

    def remaining(self, now: datetime) -> tuple[float, float | None]:
        """Return the share that is done, 0 to 1, and the seconds left; None where nothing is known.

        Both are of the whole run, its epochs and the phases after them. The share is at least
        ``least_share``; the seconds count down to no less than one.
        """
        progress = self.progress
        if progress is None or self.started is None:
            return max(LOADING_SHARE, self.least_share), None
        elapsed = (now - self.started).total_seconds()
        after = self.work.seconds_after(progress.images_per_second)
        if self.phase == "training":
            left = progress.seconds_left + sum(after.values())
        else:
            place = next((i for i, start in enumerate(after) if self.phase.startswith(start)), 0)
            current, *later = list(after.values())[place:]
            in_phase = (now - (self.phase_started or now)).total_seconds()
            left = max(0.0, current - in_phase)
            if self.phase_done:  # a phase that takes longer than usual stays as slow
                left = max(left, in_phase * (1 / self.phase_done - 1))
            left += sum(later)
        left = max(1.0, left)
        return max(elapsed / (elapsed + left), self.least_share), left

    def after(self, event: TrainingEvent) -> TrainingView:
        """Return the view after one more event."""
        match event:
            case RunStart():
                return TrainingView(run=event.run, number=event.number, of=event.of, state=RUNNING)
            case StepProgress(losses=losses):
                return replace(
                    self, progress=event, losses=self.losses.with_losses(losses), phase="training"
                )
            case EpochEnd(snapshot=snapshot, samples=samples):
                return replace(self, history=snapshot.history, samples=samples)
            case Phase():
                return replace(self, phase=event.text, phase_done=event.done)
            case RunEnd():
                return replace(
                    self, state=event.state, message=event.message, ended=event, stopping=False
                )
