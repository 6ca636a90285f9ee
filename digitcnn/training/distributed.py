"""Training of one network by several processes that ``torchrun`` started.

Sockets and the averaging of gradients are PyTorch's own (``torch.distributed``,
``DistributedDataParallel``). Every process holds the whole digit set, which is small, and takes its
share of each batch, so that together they see the same batches as a single process. All have the
same weights; only the first writes files and prints.

During training, the batch-norm statistics are those of each process's share of a batch:
``SyncBatchNorm`` exists for CUDA alone, and a share of 32 images has 25,000 values per channel in
the first layer. The statistics of the averaged network, which is saved and tested, are estimated
over all processes.
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
from digitcnn.process import started_by_torchrun

# The other processes wait this long while the first evaluates and draws at a run's end.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Processes:
    """The processes that train one network, as one of them sees them.

    rank: of this process, from 0. count: of processes; 1 needs no launcher and exchanges nothing.

    All processes call the methods other than ``part`` at the same point of their work.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def together(self, compute: Compute) -> Compute:
        """Return ``compute`` with the number of processes in its name.

        Raises ConfigError for mps, which torch.distributed does not support.
        """
        if self.count == 1:
            return compute
        if compute.device.type == "mps":
            raise ConfigError(
                "Several processes cannot share the mps device; use --device cpu, or train "
                "without torchrun."
            )
        return replace(compute, name=f"{self.count} processes, each on {compute.name}")

    def part(self, batch: Tensor) -> Tensor:
        """Return this process's share of the rows: every ``count``-th, from its rank on."""
        return batch if self.count == 1 else batch[self.rank :: self.count]

    def whole_batches(self, batch_size: int) -> int:
        """Return the largest batch up to ``batch_size`` that divides into equal shares.

        Raises ConfigError where there are fewer images than processes.
        """
        if batch_size < self.count:
            raise ConfigError(
                f"{self.count} processes cannot share {batch_size} images; start fewer processes."
            )
        return batch_size - batch_size % self.count

    def averaging_gradients(self, network: nn.Module) -> nn.Module:
        """Return ``network``, wrapped so that its gradients are averaged over the processes."""
        return network if self.count == 1 else DistributedDataParallel(network)

    def same(self, value: Tensor) -> Tensor:
        """Copy the first process's ``value`` to all, in place."""
        if self.count > 1:
            distributed.broadcast(value, 0)
        return value

    def sum(self, value: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """Average over all processes, in place; a floating dtype."""
        return value if self.count == 1 else self.sum(value).div_(self.count)

    def any(self, here: bool) -> bool:
        """Return whether ``here`` is true in any process."""
        if self.count == 1:
            return here
        # On the CPU, so that no accelerator is waited for.
        return bool(self.sum(torch.tensor(int(here))))

    def notify(self, what: Any) -> None:
        """Send plain values and tensors to the others' ``receive``; for the first process."""
        if self.count > 1:
            distributed.broadcast_object_list([what], 0)

    def receive(self) -> Any:
        """Wait for the first process's next message; None when that process has ended."""
        received = [None]
        try:
            distributed.broadcast_object_list(received, 0)
        except RuntimeError:
            return None  # it printed why it ended, and the launcher ends the others
        return received[0]


ALONE = Processes()


@contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[Processes]:
    """Join the processes that torchrun started, found by its variables; ALONE without them.

    Each uses the GPU of its number on its machine. Raises ConfigError where a machine has fewer
    GPUs than processes.
    """
    if not started_by_torchrun(environment):
        yield ALONE
        return
    cuda = torch.cuda.is_available()
    if cuda:
        local, gpus = int(environment["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise ConfigError(
                f"Process {local + 1} on this machine found only {gpus} GPUs; use torchrun "
                f"--nproc-per-node {gpus}, or set CUDA_VISIBLE_DEVICES= to use the CPU."
            )
        torch.cuda.set_device(local)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo", init_method="env://", timeout=PATIENCE
    )
    yield Processes(distributed.get_rank(), distributed.get_world_size())
    # Not after an error: the others may wait for this process until the launcher ends them.
    distributed.destroy_process_group()
