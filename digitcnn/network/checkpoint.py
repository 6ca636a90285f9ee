"""Checkpoints: trained weights in a file, written once, read only through the gate.

    save     network + details -> a new ``.pt`` file
    load     a file or its bytes -> Checkpoint, or CheckpointError with one sentence
    CheckpointFolder   all files of a folder, inspected once each

A file of ours holds ``format``, ``format_version``, ``architecture``, ``weights``, ``details``
and, after a finished training, ``novelty``: what tells a digit from what is none. Bare state
dicts of the same network, as ``.pt`` or ``.safetensors``, are read as well. How a stranger's file
is read without trusting it: ``gate`` and ``claims``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import Tensor

from digitcnn.digits import synthetic
from digitcnn.errors import CheckpointError
from digitcnn.files import atomic_write
from digitcnn.network import gate
from digitcnn.network.bare_weights import (
    IMAGES_TO_CHOOSE_ON,
    INPUT_SCALINGS,
    check_claims,
    choose_scaling,
    describe,
    expected_claims,
    find_state,
    match,
)
from digitcnn.network.claims import Claim, Refused, listed, shown
from digitcnn.network.classifier import Classifier
from digitcnn.network.details import Details
from digitcnn.network.model import DROPOUT, FEATURES, MNIST_MEAN, MNIST_STD, DigitCNN
from digitcnn.network.ood import OODDetector, check_ood, checked_ood

__all__ = [
    "INPUT_SCALINGS",
    "Answers",
    "BadCheckpoint",
    "Checkpoint",
    "CheckpointFolder",
    "Details",
    "choose_scaling",
    "digest",
    "list_checkpoints",
    "load",
    "save",
]

FORMAT, FORMAT_VERSION = "digitcnn checkpoint", 1
SUFFIXES = (".pt", ".safetensors")
MAX_NAME = 120
# As many as Compare takes.
NETWORKS_HELD = 8

_LAYERS = {"convolutions": [32, 64], "kernel": 3, "hidden": FEATURES, "classes": 10}


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256, in hex, over the tensors sorted by name: name, dtype, shape and bytes of each."""
    whole = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        shape = "x".join(map(str, tensor.shape))
        whole.update(f"{name} {tensor.dtype} {shape}\n".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


@dataclass(frozen=True, eq=False)
class Answers:
    """What a checkpoint says of N images.

    probabilities: float32 [N, 10], calibrated. is_digit: bool [N], whether each passes as a digit;
    None from a checkpoint that cannot tell.
    """

    probabilities: Tensor
    is_digit: Tensor | None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network that passed the gate, and what its file says of it.

    name: for people; the file's name without ``.pt``. Data from outside: shown as text only.
    digest: of the weights, and of the input's scaling where it is not MNIST's.
    ood: what tells a digit from what is none; None where the file holds no such statistics.
    size: of the file, in bytes. path: None where the bytes came without a file.
    scaling: which of INPUT_SCALINGS was found most likely; None where the file says it.
    held: the network; None in a folder's list, where it would take 4 MB for each file.
    """

    details: Details
    name: str
    digest: str
    size: int
    ood: OODDetector | None = None
    path: Path | None = None
    scaling: str | None = None
    held: DigitCNN | None = None

    @property
    def network(self) -> DigitCNN:
        """On the CPU, in evaluation mode, without gradients; never changed.

        Read again from the file when it is not held. Raises CheckpointError when that file is
        gone or another by now.
        """
        if self.held is not None:
            return self.held
        assert self.path is not None
        again = load(self.path)
        if self.scaling is not None:
            again = again.scaled(*INPUT_SCALINGS[self.scaling], self.scaling)
        if again.digest != self.digest:
            raise CheckpointError(
                f"{shown(self.path.name)} was replaced by another network; choose it again."
            )
        return again.network

    @property
    def classifier(self) -> Classifier:
        """What the product asks for logits. Raises CheckpointError like ``network``."""
        return self.network

    @property
    def temperature(self) -> float:
        """What logits are divided by before the softmax; 1 where the file has none."""
        return self.details.temperature or 1.0

    @property
    def calibrated(self) -> bool:
        """Whether the file has a temperature."""
        return self.details.temperature is not None

    @property
    def verdict(self) -> str:
        """What network this is, in one sentence; what only the file says is marked as claimed."""
        if self.details.digits is not None:
            return f"digitcnn network, {self.details.claim()}"
        scaling = f", input scaled to {self.scaling} (most likely)" if self.scaling else ""
        return f"bare weights of digitcnn's network, {self.details.claim()}{scaling}"

    def fitted(self) -> Checkpoint:
        """Bare weights under the input scaling that they were most likely trained with, found on
        drawn digits; a checkpoint that says its scaling is returned as it is.
        """
        if self.details.digits is not None or self.scaling is not None:
            return self
        drawn = synthetic.draw("synthetic", "train", images=IMAGES_TO_CHOOSE_ON)
        return self.scaled(*choose_scaling(self.network.state_dict(), drawn))

    def scaled(self, mean: float, std: float, scaling: str) -> Checkpoint:
        """The same weights under another scaling of the input, as ``choose_scaling`` gives it."""
        network = DigitCNN(mean, std)
        network.load_state_dict(self.network.state_dict())
        return dataclasses.replace(
            self,
            held=network.eval().requires_grad_(False),
            digest=_digest_of(network),
            scaling=scaling,
        )

    def probabilities(self, images: Tensor) -> Tensor:
        """Calibrated probabilities, float32 [N, 10], for images [N, 28, 28] from 0 to 255."""
        return self.answers(images).probabilities

    @torch.inference_mode()
    def answers(self, images: Tensor) -> Answers:
        """Probabilities, and whether it is a digit at all, by one pass through the network.

        images: [N, 28, 28] from 0 to 255, on the network's device.
        """
        network = self.network
        maps = network.maps(network.prepare(images))
        logits = network.output(network.features_of(maps))
        return Answers(
            torch.softmax(logits / self.temperature, dim=1),
            None if self.ood is None else self.ood.passes(maps),
        )


@dataclass(frozen=True)
class BadCheckpoint:
    """A file in a folder of checkpoints that did not pass the gate.

    reason: one sentence. name: as a Checkpoint's.
    """

    name: str
    path: Path
    reason: str


def _digest_of(network: DigitCNN) -> str:
    """The digest of the weights. Another scaling is another function, so it counts as a tensor."""
    state = network.state_dict()
    scaling = (network.input_mean, network.input_std)
    if scaling != (MNIST_MEAN, MNIST_STD):
        state["input"] = torch.tensor(scaling, dtype=torch.float64)
    return digest(state)


# --- save ---------------------------------------------------------------------------------------


def save(path: Path, network: DigitCNN, details: Details, ood: OODDetector | None = None) -> str:
    """Write a new checkpoint and return its digest. What has the name already is never touched.

    Without the digit set that was trained on, a bare state dict is written: it says nothing else.
    ood: the network's no-digit statistics; they are no part of the digest.

    Raises CheckpointError when the name is taken or the file cannot be written; nothing is left.
    """
    weights = _plain(network.state_dict())
    buffer = io.BytesIO()
    whole = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": _architecture(network.input_mean, network.input_std, network.dropout.p),
        "weights": weights,
        "details": details.to_plain(),
    }
    if ood is not None:
        whole["novelty"] = _plain(ood.tensors)
    torch.save(weights if details.digits is None else whole, buffer)
    try:
        with atomic_write(path, new=True) as file:
            file.write(buffer.getbuffer())
    except FileExistsError as error:
        raise CheckpointError(
            f"{shown(path.name)} exists already in {shown(str(path.parent), 100)}; choose another "
            "name."
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {shown(path.name)} cannot be written to {shown(str(path.parent), 80)} "
            f"({error.strerror or error}); free space or choose another folder."
        ) from error
    return _digest_of(network)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # A clone has memory of its own and of its own size, which the gate asks for.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _architecture(input_mean: float, input_std: float, dropout: float) -> dict[str, Any]:
    return {
        "name": "digitcnn",
        "layers": _LAYERS,
        "input_mean": input_mean,
        "input_std": input_std,
        "dropout": dropout,
    }


# --- load ---------------------------------------------------------------------------------------


def load(source: Path | bytes, name: str | None = None) -> Checkpoint:
    """A checkpoint or bare weights from a file, or from its bytes.

    name: the file's name as the person called it; of a path, its own. Its ending tells the kind.
    Nothing in the file is run, and no size in it is believed. Raises CheckpointError with one
    sentence that says what is wrong and what to do.
    """
    file_name = name if name is not None else source.name if isinstance(source, Path) else "file.pt"
    try:
        _check_name(file_name)
        data = gate.read_file(source) if isinstance(source, Path) else source
        suffix = PurePath(file_name).suffix.lower()
        file = gate.open_weights(data, suffix)
        if isinstance(file.content, dict) and "format" in file.content:
            network, details, statistics = _read_own(file)
        else:
            network, details, statistics = _read_bare(file), Details(), None
    except Refused as error:
        raise CheckpointError(f"{shown(file_name) or 'The file'} {error}.") from error
    return Checkpoint(
        held=network,
        details=details,
        name=_display_name(file_name),
        digest=_digest_of(network),
        size=len(data),
        ood=statistics,
        path=source if isinstance(source, Path) else None,
    )


def _display_name(file_name: str) -> str:
    return file_name.removesuffix(".pt")


def _check_name(file_name: str) -> None:
    """A name that people can tell from others: they choose networks by it. Raises Refused."""
    if len(file_name) > MAX_NAME or not file_name.isprintable():
        raise Refused(
            f"has a name of more than {MAX_NAME} characters, or with some that cannot be shown; "
            "rename the file"
        )


def _read_own(file: gate.WeightFile) -> tuple[DigitCNN, Details, OODDetector | None]:
    content = file.content
    if content["format"] != FORMAT or type(content.get("format_version")) is not int:
        raise Refused("is in a format that digitcnn does not know; choose a checkpoint of its own")
    if content["format_version"] != FORMAT_VERSION:
        raise Refused(
            f"is in version {content['format_version']} of the format where this digitcnn reads "
            f"version {FORMAT_VERSION}; use the digitcnn that wrote it"
        )
    parts = {"format", "format_version", "architecture", "weights", "details"}
    if set(content) - {"novelty"} != parts:
        raise Refused("lacks parts of a checkpoint or has others; copy or download it again")
    weights = content["weights"]
    if not isinstance(weights, dict) or not all(isinstance(c, Claim) for c in weights.values()):
        raise Refused("holds no weights by name; copy or download it again")
    names = {name: name for name in expected_claims()}
    if set(weights) != set(names):
        raise Refused(_other_names(weights, names))
    check_claims(weights, names)
    scaling = _check_architecture(content["architecture"])
    details = Details.read(content["details"])
    if "novelty" in content:
        check_ood(content["novelty"])
    loaded = file.load()
    statistics = checked_ood(loaded["novelty"]) if "novelty" in content else None
    return _fill(scaling, loaded["weights"], weights, names), details, statistics


def _other_names(weights: Mapping[str, Claim], names: Mapping[str, str]) -> str:
    missing = [name for name in names if name not in weights]
    if missing and not set(weights) & set(names):
        return f"is {describe(weights)}; digitcnn compares its own convolutional network"
    what = f"lacks {listed(missing)}" if missing else "has tensors that digitcnn's network has not"
    return f"{what}; copy or download it again"


def _check_architecture(values: Any) -> tuple[float, float]:
    """Mean and deviation of the input. Raises Refused for another network than ours."""
    for scaling in INPUT_SCALINGS.values():
        if values == _architecture(*scaling, DROPOUT):
            return scaling
    raise Refused(
        "describes another network than this version of digitcnn has; use the version that wrote it"
    )


def _read_bare(file: gate.WeightFile) -> DigitCNN:
    key, claims = find_state(file.content)
    names = match(claims)
    check_claims(claims, names)
    content = file.load()
    state = content if key is None else content[key]
    return _fill(INPUT_SCALINGS["MNIST mean and deviation"], state, claims, names)


def _fill(
    scaling: tuple[float, float],
    state: Mapping[str, Any],
    claims: Mapping[str, Claim],
    names: Mapping[str, str],
) -> DigitCNN:
    """A network with the weights of ``state``; names: ours to theirs. Raises Refused."""
    weights = {
        "conv1.bias": torch.zeros(32),
        "conv2.bias": torch.zeros(64),
        "norm1.num_batches_tracked": torch.tensor(0),
        "norm2.num_batches_tracked": torch.tensor(0),
    }
    for ours, theirs in names.items():
        weights[ours] = gate.check_tensor(theirs, state[theirs], claims[theirs])
    for ours, tensor in weights.items():
        theirs = shown(names.get(ours, ours))
        if not bool(torch.isfinite(tensor).all()):
            raise Refused(
                f"has NaN or infinite numbers in its tensor {theirs}, so its training diverged; "
                "train it again"
            )
        if ours.endswith("running_var") and not bool((tensor > 0).all()):
            raise Refused(
                f"has variances that are not positive in its tensor {theirs}; train it again"
            )
    # On the meta device no initial weights are drawn: that would cost time, and change the
    # process-wide random numbers of whoever else uses them.
    with torch.device("meta"):
        network = DigitCNN(*scaling)
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval().requires_grad_(False)


# --- folders ------------------------------------------------------------------------------------


class CheckpointFolder:
    """The checkpoints of a folder, each inspected once until its file changes. Thread-safe.

    Asking again for an unchanged folder reads no file: one look at the folder's names, sizes and
    times. In memory are the details of all, with their no-digit statistics (0.8 MB each), and the
    networks that were asked for last.
    """

    def __init__(self, folder: Path, also: Path | None = None) -> None:
        """also: a second folder to read, such as that of the shipped model; names in the first
        hide those in the second.
        """
        self.folder = folder
        self._also = also
        self._lock = threading.Lock()
        self._networks: OrderedDict[str, DigitCNN] = OrderedDict()
        self._seen: dict[str, tuple[tuple[int, ...], Checkpoint | BadCheckpoint]] = {}

    def list(self) -> list[Checkpoint | BadCheckpoint]:
        """Every ``.pt`` and ``.safetensors`` file, newest first, bad ones with their sentence.

        Empty when there is no such folder. Names that begin with a dot are files being written.
        """
        with self._lock:
            seen = {}
            for path, state in self._files():
                known = self._seen.get(path.name)
                unchanged = known is not None and known[0] == state
                seen[path.name] = known if known and unchanged else (state, _inspect(path))
            self._seen = seen
            newest_first = sorted(seen.items(), key=lambda item: item[1][0], reverse=True)
            return [found for _, (_, found) in newest_first]

    def get(self, name: str) -> Checkpoint:
        """The checkpoint of that name. Raises CheckpointError when there is none or it is bad."""
        found = self.list()
        for entry in found:
            if entry.name == name:
                if isinstance(entry, BadCheckpoint):
                    raise CheckpointError(entry.reason)
                return dataclasses.replace(entry, held=self._network(entry))
        known = listed([entry.name for entry in found if isinstance(entry, Checkpoint)])
        raise CheckpointError(
            f"There is no checkpoint {shown(name)}; there "
            f"{'are: ' + known if known else 'is none yet, so train one'}."
        )

    def _network(self, entry: Checkpoint) -> DigitCNN:
        with self._lock:
            network = self._networks.pop(entry.digest, None) or entry.network
            self._networks[entry.digest] = network
            if len(self._networks) > NETWORKS_HELD:
                self._networks.popitem(last=False)
            return network

    def _files(self) -> Iterator[tuple[Path, tuple[int, ...]]]:
        """Each file that could be a checkpoint, with what changes when its content does."""
        paths: dict[str, Path] = {}
        for folder in (self.folder, self._also):
            for path in _listing(folder) if folder is not None else ():
                paths.setdefault(path.name, path)
        for path in paths.values():
            if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # deleted since its name was read
            yield path, (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CheckpointError(
            f"The folder {shown(str(folder), 100)} cannot be read "
            f"({error.strerror or error}); check its permissions."
        ) from error


def list_checkpoints(folder: Path) -> list[Checkpoint | BadCheckpoint]:
    """Every checkpoint of a folder, newest first. To ask often, keep a CheckpointFolder."""
    return CheckpointFolder(folder).list()


def _inspect(path: Path) -> Checkpoint | BadCheckpoint:
    try:
        return dataclasses.replace(load(path).fitted(), held=None)
    except CheckpointError as error:
        return BadCheckpoint(shown(_display_name(path.name)), path, str(error))
