"""Checkpoints: trained weights in a file, written once, read through the checkpoint reader.

    save     network + details -> a new ``.pt`` file
    load     any weight file or its bytes -> Checkpoint, or CheckpointError with one sentence

``own_format`` defines the contents of a file of ours. Weights of other networks are rebuilt
(``rebuild``), ONNX models run as they are (``onnx_models``). ``reader`` reads untrusted files.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from digitcnn.digits import synthetic
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CapabilityError, CheckpointError
from digitcnn.files import atomic_write
from digitcnn.network import reader
from digitcnn.network.classifier import Classifier
from digitcnn.network.details import Details
from digitcnn.network.model import MNIST_MEAN, MNIST_STD, DigitCNN, Network
from digitcnn.network.onnx_models import WORKERS, OnnxForm, is_onnx, open_onnx
from digitcnn.network.ood import OODDetector
from digitcnn.network.own_format import AnyNetwork, StoredModel, filled, read_own
from digitcnn.network.reader import InvalidCheckpoint, StateDict, shown
from digitcnn.network.reader.tensors import FLOATS, read_tensors, wrong_type
from digitcnn.network.rebuild import RebuiltNetwork, Recipe, SearchedInVain, rebuild
from digitcnn.network.rebuild.own import IMAGES_TO_CHOOSE_ON, INPUT_SCALINGS, choose_scaling, match
from digitcnn.options import NETWORKS

MAX_NAME = 120
# Generated digits that guesses about other networks are scored on; drawing them takes a while.
GENERATED = 4000


def digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256, in hex, of all tensors sorted by name: name, dtype, shape and bytes."""
    whole = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        shape = "x".join(map(str, tensor.shape))
        whole.update(f"{name} {tensor.dtype} {shape}\n".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


@dataclass(frozen=True, eq=False)
class Classification:
    """A checkpoint's predictions for N images.

    probabilities: float32 [N, 10], calibrated. is_digit: bool [N], whether each is accepted as a
    digit; digit_score: float32 [N] on the CPU, the OOD detector's score, higher for digits. Both
    are None where the checkpoint has no OOD detector.
    """

    probabilities: Tensor
    is_digit: Tensor | None
    digit_score: Tensor | None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model read from a file, and what the file claims about it.

    name: for people; the file's name without ``.pt``. Untrusted: shown as text only.
    digest: of the weights, and of what they are used in where it is not the default network with
    MNIST's input scaling. Of an ONNX model: of its file.
    ood: the OOD detector; None where the file has none.
    size: of the file, in bytes. path: None where the bytes came without a file.
    scaling: which of INPUT_SCALINGS was detected; None where the file says it.
    description: of a stranger's network; empty for ours. recipe: what was inferred of it; None for
    ours.
    part: which set of weights it is, where the file has several.
    architecture: of a network of ours, in ``ARCHITECTURES``.
    held: the network; None in a folder's list, where it would take 4 MB for each file.
    """

    details: Details
    name: str
    digest: str
    size: int
    ood: OODDetector | None = None
    path: Path | None = None
    scaling: str | None = None
    description: str = ""
    recipe: Recipe | OnnxForm | None = None
    part: str = ""
    held: Classifier | None = None
    architecture: str = NETWORKS[0]

    @property
    def key(self) -> str:
        """Identifies its predictions among all models': for caches."""
        if isinstance(self.recipe, OnnxForm):
            return f"{self.digest}-{self.recipe.digest[:16]}"
        return self.digest

    @property
    def classifier(self) -> Classifier:
        """On the CPU, in evaluation mode; never changed.

        Read again from the file when it is not held. Raises CheckpointError when that file is
        missing or contains another model by now.
        """
        if self.held is not None:
            return self.held
        assert self.path is not None
        again = load(self.path, recipe=self.recipe)
        if self.scaling is not None:
            again = again.scaled(*INPUT_SCALINGS[self.scaling], self.scaling)
        if again.digest != self.digest:
            raise CheckpointError(
                f"{shown(self.path.name)} now contains another model; choose it again."
            )
        return again.classifier

    @property
    def network(self) -> Network:
        """The classifier, for what needs features, feature maps or dropout of a network of ours.

        Raises CapabilityError for strangers' networks, and what ``classifier`` raises.
        """
        classifier = self.classifier
        if isinstance(classifier, Network):
            return classifier
        raise CapabilityError(
            f"The model {shown(self.name)} is not digitcnn's network, so its features, feature "
            "maps and dropout are not available; choose a digitcnn checkpoint for them."
        )

    @property
    def temperature(self) -> float:
        """The divisor of logits before the softmax; 1 where the file has none."""
        return self.details.temperature or 1.0

    @property
    def calibrated(self) -> bool:
        """Whether the file has a temperature."""
        return self.details.temperature is not None

    @property
    def verdict(self) -> str:
        """A description of the model in one sentence; claims of the file are marked as such."""
        which = f" (its weights {shown(self.part, 40)})" if self.part else ""
        if self.description:
            return f"{self.description}{which}"
        if self.details.digits is not None:
            return f"{self.architecture} network, {self.details.claim()}"
        scaling = f", detected input scaling {self.scaling}" if self.scaling else ""
        return f"digitcnn weights only, {self.details.claim()}{scaling}{which}"

    def fitted(self) -> Checkpoint:
        """Weights only, with the input scaling that they were most likely trained with.

        It is detected on generated digits. A checkpoint that says its scaling is returned as is.
        """
        known = self.details.digits is not None or self.scaling is not None
        if known or self.recipe is not None:
            return self
        digits = generated_digits(IMAGES_TO_CHOOSE_ON)
        return self.scaled(*choose_scaling(self.network.state_dict(), digits))

    def scaled(self, mean: float, std: float, scaling: str) -> Checkpoint:
        """Return the same weights with another input scaling, as ``choose_scaling`` gives it."""
        network = type(self.network)(mean, std)
        network.load_state_dict(self.network.state_dict())
        return dataclasses.replace(
            self,
            held=network.eval().requires_grad_(False),
            digest=digest_of(network),
            scaling=scaling,
        )

    def probabilities(self, images: Tensor) -> Tensor:
        """Return calibrated probabilities, float32 [N, 10], for images [N, 28, 28], 0 to 255."""
        return self.classify(images).probabilities

    @torch.inference_mode()
    def classify(self, images: Tensor) -> Classification:
        """Return probabilities and whether each image is a digit.

        images: [N, 28, 28] from 0 to 255, on the classifier's device.
        """
        is_digit = digit_score = None
        if self.ood is not None:
            digit_score = self.ood.scores(images)
            is_digit = digit_score >= self.ood.threshold
        logits = self.classifier.logits(images)
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        return Classification(probabilities, is_digit, digit_score)


def digest_of(network: AnyNetwork) -> str:
    """Return the digest of a network's weights and of everything else that decides its logits.

    That counts as a tensor: an input scaling other than MNIST's, or a rebuilt network's recipe.
    """
    if isinstance(network, RebuiltNetwork):
        recipe = json.dumps(network.recipe.to_plain(), sort_keys=True).encode()
        return digest({**network.tensors, "recipe": torch.tensor(list(recipe), dtype=torch.uint8)})
    state = network.state_dict()
    scaling = (network.input_mean, network.input_std)
    if scaling != (MNIST_MEAN, MNIST_STD):
        state["input"] = torch.tensor(scaling, dtype=torch.float64)
    return digest(state)


# --- save ---------------------------------------------------------------------------------------


def save(
    path: Path,
    network: AnyNetwork,
    details: Details,
    ood: OODDetector | None = None,
    description: str = "",
) -> str:
    """Write a new checkpoint and return its digest. An existing file is never touched.

    For digitcnn's network without the digit set that it was trained on, a bare state dict is
    written. ood: the network's OOD detector; not part of the digest. description: of a rebuilt
    network.

    Raises CheckpointError when the name is taken or the file cannot be written; nothing is left.
    """
    buffer = io.BytesIO()
    torch.save(StoredModel(network, details, ood, description).content(), buffer)
    try:
        with atomic_write(path, new=True) as file:
            file.write(buffer.getbuffer())
    except FileExistsError as error:
        raise CheckpointError(
            f"{shown(path.name)} already exists in {shown(str(path.parent), 100)}; choose another "
            "name."
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {shown(path.name)} cannot be written to {shown(str(path.parent), 80)} "
            f"({error.strerror or error}); free space or choose another folder."
        ) from error
    return digest_of(network)


# --- load ---------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=2)
def generated_digits(images: int = GENERATED) -> DigitSet:
    """Return images to score guesses about other networks on, where MNIST is not available."""
    return synthetic.draw("synthetic", "train", images=images)


def load(
    source: Path | bytes,
    name: str | None = None,
    *,
    digits: Callable[[], DigitSet] = generated_digits,
    recipe: Recipe | OnnxForm | None = None,
) -> Checkpoint:
    """Read a checkpoint, the weights of any sequential digit classifier, or an ONNX model.

    source: a file, or its bytes. name: the file's name as the person called it.
    digits: training digits on which another network is rebuilt; never a test set.
    recipe: what was inferred of this file's network before, to skip the search.
    Nothing in the file is run, and no size in it is trusted. Raises CheckpointError with one
    sentence that says what is wrong and what to do.
    """
    file_name = name if name is not None else source.name if isinstance(source, Path) else "file.pt"
    try:
        _check_name(file_name)
        data = reader.read_file(source) if isinstance(source, Path) else source
        loaded = _read(data, digits, recipe)
    except InvalidCheckpoint as error:
        raise CheckpointError(f"{shown(file_name) or 'The file'} {error}.") from error
    return dataclasses.replace(
        loaded,
        name=file_name.removesuffix(".pt"),
        size=len(data),
        path=source if isinstance(source, Path) else None,
    )


def _read(
    data: bytes, digits: Callable[[], DigitSet], recipe: Recipe | OnnxForm | None
) -> Checkpoint:
    reader.check_size(len(data))
    if is_onnx(data):
        return _read_onnx(data, digits, recipe)
    content = reader.read_content(data)
    form = content.get("format") if isinstance(content, dict) else None
    if isinstance(form, str) and form.startswith("digitcnn"):
        return _loaded(read_own(content))
    return _read_other(content, digits, recipe if isinstance(recipe, Recipe) else None)


def _read_onnx(
    data: bytes, digits: Callable[[], DigitSet], recipe: Recipe | OnnxForm | None
) -> Checkpoint:
    form = recipe if isinstance(recipe, OnnxForm) else None
    opened = open_onnx(data, digits, WORKERS, form)
    return Checkpoint(
        details=Details(),
        name="",
        digest=hashlib.sha256(data).hexdigest(),
        size=0,
        description=opened.verdict,
        recipe=opened.classifier.form,
        held=opened.classifier,
    )


def _loaded(stored: StoredModel) -> Checkpoint:
    network = stored.network
    _check_logits(network)
    return Checkpoint(
        details=stored.details,
        name="",
        digest=digest_of(network),
        size=0,
        ood=stored.ood,
        description=stored.description,
        recipe=network.recipe if isinstance(network, RebuiltNetwork) else None,
        held=network,
        architecture=network.name if isinstance(network, Network) else NETWORKS[0],
    )


@torch.inference_mode()
def _check_logits(network: AnyNetwork) -> None:
    """Raise InvalidCheckpoint for finite weights whose logits are not."""
    images = torch.rand(4, 28, 28, generator=torch.Generator().manual_seed(0)) * 255
    images[0], images[1] = 0, 255
    if not bool(torch.isfinite(network.logits(images)).all()):
        raise InvalidCheckpoint(
            "gives NaN or infinite numbers for images, because its weights are too large; train it "
            "again"
        )


def _check_name(file_name: str) -> None:
    """Raise InvalidCheckpoint for a name that people cannot tell from others."""
    if len(file_name) > MAX_NAME or not file_name.isprintable():
        raise InvalidCheckpoint(
            f"has a name of more than {MAX_NAME} characters, or with some that cannot be shown; "
            "rename the file"
        )


# How many sets of weights in one file are tried, the largest first.
_MAX_TRIED = 5


def _read_other(content: Any, digits: Callable[[], DigitSet], recipe: Recipe | None) -> Checkpoint:
    """Return the largest set of weights in a file that is a digit classifier."""
    states = reader.find_state_dicts(content)
    reason: InvalidCheckpoint | None = None
    for state in states[:_MAX_TRIED]:
        try:
            loaded = _read_state(state, digits, recipe)
            return dataclasses.replace(loaded, part=state.path if len(states) > 1 else "")
        except InvalidCheckpoint as error:
            reason = reason or error
            if isinstance(error, SearchedInVain):
                break  # a second search would take as long again
    assert reason is not None
    raise reason


def _read_state(
    state: StateDict, digits: Callable[[], DigitSet], recipe: Recipe | None
) -> Checkpoint:
    names = match(state.tensors)
    if names is not None:
        for ours, theirs in names.items():
            spec = state.tensors[theirs]
            if spec.dtype not in FLOATS and not ours.endswith("num_batches_tracked"):
                raise wrong_type(theirs, spec)
        tensors = read_tensors({n: state.tensors[n] for n in names.values()})
        scaling = INPUT_SCALINGS["MNIST mean and deviation"]
        return _loaded(StoredModel(filled(DigitCNN, scaling, tensors, names), Details()))
    rebuilt = rebuild(state, digits, recipe)
    return _loaded(StoredModel(rebuilt.network, Details(), description=rebuilt.verdict))
