"""Read weight files without trusting them: nothing in a file is run, imported or believed.

    files              the bytes of a file, and what kind of file they are
    zip_archive        PyTorch's format since 1.6: a pickle and tensor records in a zip archive
    legacy             PyTorch's format before 1.6, and plain pickles
    safetensors_file   safetensors
    pickle_reader      interprets a pickle; unknown classes and functions become placeholders
    tensors            what a file says of a tensor, and the tensor made from checked bytes
    state_dicts        finds the sets of weights in a file's content

PyTorch's own reader never sees a stranger's file: its zip reader trusts the sizes in it, and it
refuses whole modules, which this one reads. What the weights are of is left to ``rebuild``.
"""

from digitcnn.network.reader.files import MAX_BYTES, check_size, open_weights, read_file
from digitcnn.network.reader.state_dicts import Module, StateDict, find_state_dicts
from digitcnn.network.reader.tensors import (
    InvalidCheckpoint,
    TensorSpec,
    WeightFile,
    listed,
    shown,
)

__all__ = [
    "MAX_BYTES",
    "InvalidCheckpoint",
    "Module",
    "StateDict",
    "TensorSpec",
    "WeightFile",
    "check_size",
    "find_state_dicts",
    "listed",
    "open_weights",
    "read_file",
    "shown",
]
