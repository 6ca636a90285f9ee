"""The contents of digitcnn's own checkpoint files: assembled for saving, checked when read.

A file holds ``format``, ``format_version``, ``architecture``, ``weights``, ``details`` and, after a
finished training, ``novelty``: the OOD detector.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from digitcnn.network.architectures import ARCHITECTURES
from digitcnn.network.details import Details
from digitcnn.network.model import FEATURES, DigitCNN, Network
from digitcnn.network.ood import OODDetector, read_ood
from digitcnn.network.reader import InvalidCheckpoint, TensorSpec, listed, shown
from digitcnn.network.reader.tensors import check_count, check_finite, read_tensors
from digitcnn.network.rebuild import RebuiltNetwork, Recipe
from digitcnn.network.rebuild.own import INPUT_SCALINGS, expected_specs

FORMAT, FORMAT_VERSION = "digitcnn checkpoint", 1
MAX_DESCRIPTION = 1000

_LAYERS = {"convolutions": [32, 64], "kernel": 3, "hidden": FEATURES, "classes": 10}

# What can be saved in our format.
AnyNetwork = Network | RebuiltNetwork


@dataclass(frozen=True)
class StoredModel:
    """What a checkpoint file of ours contains.

    ood: None where the file has none. description: of a rebuilt network; empty for one of ours.
    """

    network: AnyNetwork
    details: Details
    ood: OODDetector | None = None
    description: str = ""

    def content(self) -> dict[str, Any]:
        """Return the file's contents: plain values and tensors that own their memory.

        The weights alone for a network of ours whose training digit set is unknown.
        """
        content: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "details": self.details.to_plain(),
        }
        if isinstance(self.network, RebuiltNetwork):
            content["architecture"] = {
                "name": "rebuilt",
                "description": self.description,
                **self.network.recipe.to_plain(),
            }
            content["weights"] = _plain(self.network.tensors)
            return content
        weights = _plain(self.network.state_dict())
        if self.details.digits is None:
            return dict(weights)
        scaling = self.network.input_mean, self.network.input_std
        content["architecture"] = _architecture(type(self.network), *scaling)
        content["weights"] = weights
        if self.ood is not None:
            content["novelty"] = _plain(self.ood.tensors)  # the name that this part has in files
        return content


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # A clone has memory of its own size: no part of a larger tensor is written.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _architecture(
    architecture: type[Network], input_mean: float, input_std: float
) -> dict[str, Any]:
    layers: Any = _LAYERS
    if architecture is not DigitCNN:
        layers = [
            {"kind": type(layer).__name__, **dataclasses.asdict(layer)}
            for layer in architecture.layers()
        ]
    return {
        "name": architecture.name,
        "layers": layers,
        "input_mean": input_mean,
        "input_std": input_std,
        "dropout": architecture.dropout_rate,
    }


def read_own(content: dict[str, Any]) -> StoredModel:
    """Check and read the content of a file in our format. Raises InvalidCheckpoint."""
    if content["format"] != FORMAT or type(content.get("format_version")) is not int:
        raise InvalidCheckpoint("is in an unknown format; choose a digitcnn checkpoint")
    if content["format_version"] != FORMAT_VERSION:
        raise InvalidCheckpoint(
            f"uses format version {shown(str(content['format_version']), 20)}, but this version of "
            f"digitcnn reads {FORMAT_VERSION}; use the version that wrote it"
        )
    parts = {"format", "format_version", "architecture", "weights", "details"}
    if set(content) - {"novelty"} != parts:
        raise InvalidCheckpoint("has missing or unexpected parts; copy or download it again")
    weights, architecture = content["weights"], content["architecture"]
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(spec, TensorSpec) for name, spec in weights.items()
    ):
        raise InvalidCheckpoint("contains no named weights; copy or download it again")
    if isinstance(architecture, dict) and architecture.get("name") == "rebuilt":
        return _read_rebuilt(architecture, weights, content["details"])
    name = architecture.get("name") if isinstance(architecture, dict) else None
    network_class = ARCHITECTURES.get(name, DigitCNN) if isinstance(name, str) else DigitCNN
    _check_weights(network_class, weights)
    scaling = _check_architecture(network_class, architecture)
    details = Details.read(content["details"])
    ood = read_ood(content["novelty"]) if "novelty" in content else None
    tensors = read_tensors(weights)
    network = filled(network_class, scaling, tensors, {name: name for name in weights})
    return StoredModel(network, details, ood)


def _read_rebuilt(
    architecture: dict[str, Any], weights: dict[str, TensorSpec], details: Any
) -> StoredModel:
    """Read a rebuilt network that was saved in our format."""
    recipe = Recipe.from_plain(architecture)
    description = architecture.get("description")
    if type(description) is not str or len(description) > MAX_DESCRIPTION:
        raise InvalidCheckpoint("has missing or unexpected parts; copy or download it again")
    check_count(weights)
    for name, spec in weights.items():
        if spec.dtype != "float32":
            raise InvalidCheckpoint(
                f"has the wrong type: tensor {shown(name)} is {spec.dtype} instead of float32; "
                "copy or download it again"
            )
    try:
        recipe.check({name: spec.shape for name, spec in weights.items()})
        network = RebuiltNetwork(recipe, read_tensors(weights))
    except ValueError as error:
        raise InvalidCheckpoint(
            "describes a network that does not fit its weights; copy or download it again"
        ) from error
    for name, tensor in network.tensors.items():
        _check_numbers(name, name, tensor)
    return StoredModel(
        network, Details.read(details, trained=False), description=shown(description, 990)
    )


def _check_weights(network_class: type[Network], weights: Mapping[str, TensorSpec]) -> None:
    """Raise InvalidCheckpoint unless these are the tensors of that network."""
    expected = expected_specs(network_class)
    missing = [name for name in expected if name not in weights]
    if missing:
        raise InvalidCheckpoint(f"lacks {listed(missing)}; copy or download it again")
    if set(weights) - set(expected):
        raise InvalidCheckpoint("has unexpected tensors; copy or download it again")
    for name, (dtype, shape) in expected.items():
        spec = weights[name]
        if spec.shape != shape:
            raise InvalidCheckpoint(
                f"is a different network: tensor {name} is {_sides(spec.shape)} instead of "
                f"{_sides(shape)}; choose a digitcnn checkpoint"
            )
        if spec.dtype != dtype:
            raise InvalidCheckpoint(
                f"has the wrong type: tensor {name} is {spec.dtype} instead of {dtype}; save it "
                "in that type"
            )


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _check_architecture(network_class: type[Network], values: Any) -> tuple[float, float]:
    """Return the input's mean and deviation. Raises InvalidCheckpoint for other networks."""
    for scaling in INPUT_SCALINGS.values():
        if values == _architecture(network_class, *scaling):
            return scaling
    raise InvalidCheckpoint(
        "describes a network that this version of digitcnn does not support; use the version that "
        "wrote it"
    )


def filled(
    network_class: type[Network],
    scaling: tuple[float, float],
    tensors: Mapping[str, Tensor],
    names: Mapping[str, str],
) -> Network:
    """Return a network of ours with these weights.

    names: the name in ``tensors`` of each of our tensors; missing ones become 0. Raises
    InvalidCheckpoint for weights that no working network has.
    """
    # Others' files may lack biases of convolutions and counters of batches.
    weights = {
        name: torch.zeros(shape, dtype=getattr(torch, dtype))
        for name, (dtype, shape) in expected_specs(network_class).items()
        if name not in names
    }
    for ours, theirs in names.items():
        tensor = tensors[theirs]
        weights[ours] = tensor.long() if ours.endswith("num_batches_tracked") else tensor.float()
    for ours, tensor in weights.items():
        _check_numbers(ours, names.get(ours, ours), tensor)
    # On the meta device no initial weights are drawn: that would cost time, and change the
    # process-wide random numbers, which other code may be using.
    with torch.device("meta"):
        network = network_class(*scaling)
    network.load_state_dict(weights, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _check_numbers(place: str, name: str, tensor: Tensor) -> None:
    """Raise InvalidCheckpoint for weights that a working network does not have."""
    check_finite(name, tensor)
    if place.endswith("running_var") and not bool((tensor > 0).all()):
        raise InvalidCheckpoint(
            f"has variances that are not positive in its tensor {shown(name)}; train it again"
        )
