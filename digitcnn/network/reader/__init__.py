"""Read weight files without trusting them: nothing in a file is run or imported.

    files              the bytes of a file, and their format
    zip_archive        PyTorch's format since 1.6: a pickle and tensor records in a zip archive
    legacy             PyTorch's format before 1.6, and plain pickles
    safetensors_file   safetensors
    numpy_arrays       arrays within pickles, and archives of arrays
    pickle_reader      interprets a pickle; unknown classes and functions become placeholders
    tensors            a file's description of a tensor, and the tensor made from checked bytes
    unnamed            names weights that are kept in lists, pairs or layers
    scikit_learn       its perceptron, and its other estimators
    state_dicts        finds the sets of weights in a file's content

PyTorch's own reader is not used for untrusted files: it trusts the sizes in them, and it refuses
whole modules, which this one reads. ``rebuild`` finds out which network the weights belong to.
"""

from digitcnn.network.reader.files import MAX_BYTES, check_size, read_content, read_file
from digitcnn.network.reader.state_dicts import find_state_dicts
from digitcnn.network.reader.tensors import (
    InvalidCheckpoint,
    Module,
    StateDict,
    TensorSpec,
    listed,
    shown,
)

__all__ = [
    "MAX_BYTES",
    "InvalidCheckpoint",
    "Module",
    "StateDict",
    "TensorSpec",
    "check_size",
    "find_state_dicts",
    "listed",
    "read_content",
    "read_file",
    "shown",
]
