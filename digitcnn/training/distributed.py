"""One network learned by several processes together: the part of each in every batch.

``torchrun`` starts the processes; sockets, gradients and their averaging are PyTorch's own
(``torch.distributed``, ``DistributedDataParallel``). Every process holds the whole digit set, which
is small, and takes its share of each batch, so that all together see the very batches that one
process alone would. All keep the same weights, and only the first writes or says anything.

Batch norm's statistics are, while the network learns, those of each process's share of a batch:
``SyncBatchNorm``, which would join them, exists for CUDA alone, and a share of 32 images has 25,000
values per channel in the first layer. The statistics of the averaged network, the one that is kept
and tested, are re-estimated over all processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from digitcnn.errors import ConfigError
from digitcnn.network.device import Compute

# The first process scores and draws at a run's end while the others wait for its next word.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Processes:
    """The processes that train one network, as one of them sees them.

    rank: of this one, from 0. count: how many they are; 1 needs no launcher and exchanges nothing.

    The methods besides ``part`` are calls that all processes make at the same point of their work.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def together(self, compute: Compute) -> Compute:
        """What all of them compute on, named as such. Raises ConfigError for mps, which
        PyTorch's exchange between processes does not know."""
        if self.count == 1:
            return compute
        if compute.device.type == "mps":
            raise ConfigError(
                "Several processes cannot share the mps device; take --device cpu, or train "
                "without torchrun."
            )
        return replace(compute, name=f"{self.count} processes, each on {compute.name}")

    def part(self, batch: Tensor) -> Tensor:
        """This process's share of the rows: every ``count``-th, from its rank on."""
        return batch if self.count == 1 else batch[self.rank :: self.count]

    def whole_batches(self, batch_size: int) -> int:
        """The largest batch up to ``batch_size`` that all take equal shares of.

        Raises ConfigError where there are fewer images than processes.
        """
        if batch_size < self.count:
            raise ConfigError(
                f"{self.count} processes cannot share {batch_size} images; start fewer of them."
            )
        return batch_size - batch_size % self.count

    def learner(self, network: nn.Module) -> nn.Module:
        """What gives the network's outputs and has its gradients averaged over the processes."""
        return network if self.count == 1 else DistributedDataParallel(network)

    def same(self, value: Tensor) -> Tensor:
        """The first one's ``value``, in place."""
        if self.count > 1:
            distributed.broadcast(value, 0)
        return value

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, in place; a floating dtype."""
        return value if self.count == 1 else self.sum(value).div_(self.count)

    def any(self, here: bool) -> bool:
        """Whether it is so in any of the processes."""
        if self.count == 1:
            return here
        # On the CPU whatever the network is on, so that no accelerator is waited for.
        return bool(self.sum(torch.tensor(int(here))))

    def notify(self, what: Any) -> None:
        """Give the others plain values and tensors, for their ``receive``; only the first does."""
        if self.count > 1:
            distributed.broadcast_object_list([what], 0)

    def receive(self) -> Any:
        """What the first one tells; waits for it. None where that process has ended."""
        heard = [None]
        try:
            distributed.broadcast_object_list(heard, 0)
        except RuntimeError:
            return None  # it said itself why it ended, and the launcher ends the others
        return heard[0]


ALONE = Processes()


@contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
    """The processes that torchrun started together, found by its variables; ALONE without them.

    Each takes the CUDA card of its number on its machine. Raises ConfigError where a machine has
    fewer cards than processes.
    """
    if "TORCHELASTIC_RUN_ID" not in environment:
        yield ALONE
        return
    cuda = torch.cuda.is_available()
    if cuda:
        local, cards = int(environment["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= cards:
            raise ConfigError(
                f"Process {local + 1} of this machine finds {cards} CUDA cards; give torchrun "
                f"--nproc-per-node {cards}, or hide the cards with CUDA_VISIBLE_DEVICES=."
            )
        torch.cuda.set_device(local)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo", init_method="env://", timeout=PATIENCE
    )
    yield Processes(distributed.get_rank(), distributed.get_world_size())
    # Not after an error: the others may be waiting for this one until the launcher ends them.
    distributed.destroy_process_group()
