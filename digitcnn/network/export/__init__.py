"""A network taken out of digitcnn: for other programs, or for when the link is gone.

    onnx_model    an ONNX model, checked against PyTorch before it gets its name
    offline_page  one HTML page with pad, network and answers, and no server
    folded        the weights that both write: each batch norm is part of its convolution

Both leave choosing and reading a checkpoint to ``checkpoint`` and write files by ``write_file``.
"""

from __future__ import annotations

from pathlib import Path

from digitcnn.errors import ExportError
from digitcnn.files import atomic_write
from digitcnn.network.reader import shown


def write_file(path: Path, content: bytes) -> None:
    """``content`` at ``path``, whole or not at all; a file that has the name is replaced.

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
