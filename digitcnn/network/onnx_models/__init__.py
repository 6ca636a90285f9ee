"""Strangers' ONNX models: checked, run by ONNX Runtime in a process of their own.

    wire        protobuf's wire format: recognises files, bounds what parsing takes
    checks      allow-list of operators, weights inside the file; rewrites the model
    layouts     the shapes in which a model may take images
    processes   worker processes with limits on memory and time, at most two
    worker      what runs in them; imports nothing of digitcnn
    model       a ``Classifier`` that asks a worker
    fitting     finds layout, scaling and output by reading digits

Needs the extra ``onnx`` (the packages onnx and onnxruntime), both imported only for such a file.
"""

from digitcnn.network.onnx_models.fitting import Opened, open_onnx
from digitcnn.network.onnx_models.model import OnnxClassifier, OnnxForm
from digitcnn.network.onnx_models.processes import WORKERS, Workers
from digitcnn.network.onnx_models.wire import is_onnx

__all__ = ["WORKERS", "OnnxClassifier", "OnnxForm", "Opened", "Workers", "is_onnx", "open_onnx"]
