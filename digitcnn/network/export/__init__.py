"""Export a network: for other programs, or for use without a running app.

onnx_model    an ONNX model, checked against PyTorch before it is written
offline_page  one HTML page with pad, network and predictions, and no server
folded        the weights in both, with each batch norm folded into its convolution
"""

from __future__ import annotations

from pathlib import Path

from digitcnn.errors import ExportError
from digitcnn.files import atomic_write
from digitcnn.network.reader import shown


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
