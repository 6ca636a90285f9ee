"""Training replay: the networks after the epochs of a training, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.network.architectures import ARCHITECTURES
from digitcnn.network.model import Network
from digitcnn.options import NETWORKS

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
