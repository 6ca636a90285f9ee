"""How a network's opinion forms: a training's networks after its epochs, kept in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.network.model import DigitCNN

# A network takes 4.1 MB, so these take 82 MB at most.
MAX_FRAMES = 20


@dataclass(frozen=True, eq=False)
class ReplayFrame:
    """The network after ``epoch`` as a checkpoint would hold it: averaged weights, in evaluation
    mode, on the CPU, never changed."""

    epoch: int
    network: DigitCNN


@dataclass(frozen=True, eq=False)
class TrainingReplay:
    """The networks after the epochs of one training, thinned evenly to at most MAX_FRAMES.

    The first epoch that was seen and the latest are always there; of those in between all, or the
    multiples of 2, 4, 8, ... where there are too many.
    """

    frames: tuple[ReplayFrame, ...] = ()

    def with_epoch(self, epoch: int, averaged: Mapping[str, Tensor]) -> TrainingReplay:
        """The replay and the network after one more epoch.

        averaged: its weights on the CPU; they are held as they are, not copied, and must not be
        changed any more.
        """
        frames = (*self.frames, ReplayFrame(epoch, _network(averaged)))
        first, step = frames[0].epoch, 1
        while (epoch - first) // step + 2 > MAX_FRAMES:
            step *= 2
        return TrainingReplay(
            tuple(f for f in frames if f.epoch in (first, epoch) or f.epoch % step == 0)
        )


def _network(weights: Mapping[str, Tensor]) -> DigitCNN:
    # On the meta device no initial weights are drawn: that would change the process-wide random
    # numbers of whoever else uses them.
    with torch.device("meta"):
        network = DigitCNN()
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval().requires_grad_(False)
