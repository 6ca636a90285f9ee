"""Export a network: for other programs, or for use without a running app.

onnx_model    an ONNX model, checked against PyTorch before it is written
offline_page  one HTML page with pad, network and predictions, and no server
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

from digitcnn.errors import ExportError
from digitcnn.files import atomic_write
from digitcnn.network.model import Network
from digitcnn.network.reader import shown


@torch.no_grad()
def folded_weights(network: Network) -> dict[str, Tensor]:
    """Return the tensors of the same function with batch norm folded into the convolutions.

    Float32, contiguous, on the CPU. Named as in the state dict: weight and bias of every
    convolution and linear layer.
    """
    folded = copy.deepcopy(network).cpu().inference_copy()
    return {
        name: tensor.detach().float().contiguous() for name, tensor in folded.named_parameters()
    }


def write_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, atomically; an existing file is replaced.

    Raises ExportError when it cannot be written.
    """
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise ExportError(
            f"{shown(path.name) or 'The file'} cannot be written to "
            f"{shown(str(path.parent), 80)} ({error.strerror or error}); choose another place."
        ) from error
