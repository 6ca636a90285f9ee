"""Why a network answers what it answers: what its layers see, and which ink speaks for what."""

from __future__ import annotations

import torch
from torch import Tensor

from digitcnn.network.model import DigitCNN


@torch.inference_mode()
def feature_maps(network: DigitCNN, image: Tensor) -> tuple[Tensor, Tensor]:
    """What each convolution block hands on, after its pooling: float32 [32, 14, 14], [64, 7, 7].

    image: [28, 28] from 0 to 255. Not negative; 0 where a filter did not find its shape.
    """
    first = network.block1(network.prepare(image[None]))
    return first[0], network.block2(first)[0]
