"""An ONNX model as a ``Classifier``: it runs in a worker process, on the CPU."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import torch
from torch import Tensor

from digitcnn.errors import CheckpointError
from digitcnn.network.classifier import Capability
from digitcnn.network.onnx_models.layouts import Layout
from digitcnn.network.onnx_models.processes import Program, Workers
from digitcnn.network.rebuild.network import prepare
from digitcnn.network.rebuild.recipe import InputForm

# About how many multiplications a request takes, half a second of a core, and at most how many
# images.
_REQUEST_WORK, _REQUEST_IMAGES = 5e9, 500
# The logarithm of a probability of 0 would not be finite.
_LEAST_PROBABILITY = 1e-30
# A row of probabilities adds up to one, in half precision too.
_TOLERANCE = 5e-3


@dataclasses.dataclass(frozen=True)
class OnnxForm:
    """How an ONNX model takes images and gives ten scores.

    batch: images at once; 0 for an input without a batch axis. output: its name.
    probabilities: whether it gives these, instead of logits.
    """

    layout: Layout
    batch: int
    input: InputForm
    output: str
    probabilities: bool

    @property
    def digest(self) -> str:
        """A SHA-256 of all of it, in hex."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self)).encode()).hexdigest()


class OnnxClassifier:
    """A ``Classifier`` that asks a worker process, which starts when it is first asked."""

    capabilities: frozenset[Capability] = frozenset()
    device = torch.device("cpu")

    def __init__(self, program: Program, form: OnnxForm, cost: int, workers: Workers) -> None:
        """Describe the model. cost: of an image, as ``Workers.cost`` gives it."""
        self.form, self.cost = form, cost
        self.program, self._workers = program, workers
        self._at_once = max(1, min(_REQUEST_IMAGES, int(_REQUEST_WORK / cost)))

    def logits(self, images: Tensor) -> Tensor:
        """Logits, float32 [N, 10], for images [N, 28, 28] from 0 to 255, any dtype.

        Probabilities are turned into their logarithms. Raises CheckpointError where the model
        fails, takes too much, or gives other than finite numbers.
        """
        try:
            scores = self.scores(images)
        except CheckpointError as error:
            raise CheckpointError(f"The ONNX model {error}.") from error
        if not bool(torch.isfinite(scores).all()):
            raise CheckpointError(
                "The ONNX model gives NaN or infinite numbers for some images; choose another."
            )
        return as_logits(scores) if self.form.probabilities else scores

    def scores(self, images: Tensor) -> Tensor:
        """What the model gives, float32 [N, 10]. Raises InvalidCheckpoint."""
        parts = [torch.empty(0, 10)]
        for some in images.cpu().split(self._at_once) if len(images) else ():
            inputs = self.form.layout.arrange(prepare(some, self.form.input))
            output = self._workers.run(self.program, inputs, self.form.batch, self.form.output)
            parts.append(torch.from_numpy(output.copy()))
        return torch.cat(parts)

    def with_form(self, **changes: Any) -> OnnxClassifier:
        """The same model with another form, in the same worker."""
        form = dataclasses.replace(self.form, **changes)
        return OnnxClassifier(self.program, form, self.cost, self._workers)

    def to(self, device: torch.device, /) -> OnnxClassifier:
        """Itself: it stays on the CPU."""
        return self

    def inference_copy(self) -> OnnxClassifier:
        """Itself."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxClassifier:
        return self


def are_probabilities(scores: Tensor) -> bool:
    """Whether each row [10] of scores is a probability distribution."""
    finite = bool(torch.isfinite(scores).all())
    within = finite and bool(((scores >= -1e-6) & (scores <= 1 + _TOLERANCE)).all())
    return within and bool((scores.sum(dim=1) - 1).abs().max() < _TOLERANCE)


def as_logits(probabilities: Tensor) -> Tensor:
    """The logarithms of probabilities."""
    return probabilities.clamp(min=_LEAST_PROBABILITY).log()
