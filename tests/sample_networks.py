"""Networks of the catalogue with random weights, and OOD detectors for them."""

from __future__ import annotations

import torch

from digitcnn.network.architectures import ARCHITECTURES
from digitcnn.network.model import Network
from digitcnn.network.ood import TENSORS, OODDetector


def random_network(name: str, seed: int = 0) -> Network:
    """Random weights, and batch norms that change something."""
    generator = torch.Generator().manual_seed(seed)
    network = ARCHITECTURES[name](generator=generator)
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                assert norm.running_mean is not None
                assert norm.running_var is not None
                norm.running_mean.normal_(generator=generator)
                norm.running_var.uniform_(0.5, 2, generator=generator)
                norm.weight.normal_(generator=generator)
                norm.bias.normal_(generator=generator)
    return network.eval().requires_grad_(False)


def random_detector(seed: int = 1) -> OODDetector:
    generator = torch.Generator().manual_seed(seed)
    return OODDetector(
        {
            name: (0.1 * torch.randn(kind.shape, generator=generator)).to(
                getattr(torch, kind.dtype)
            )
            for name, kind in TENSORS.items()
        }
    )
