"""Networks rebuilt from their weights compute what the originals compute, or are refused."""

from __future__ import annotations

import functools
import io
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from digitcnn.digits import synthetic
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CapabilityError, CheckpointError
from digitcnn.network.checkpoint import (
    Checkpoint,
    Details,
    digest_of,
    generated_digits,
    load,
    save,
)
from digitcnn.network.rebuild import RebuiltNetwork, Recipe
from digitcnn.network.rebuild.recipe import InputForm, Step

SCALINGS = {"0 to 1": (0.0, 1.0), "mean and deviation": (0.1307, 0.3081), "-1 to 1": (0.5, 0.5)}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU, "leaky ReLU": nn.LeakyReLU, "tanh": nn.Tanh, "ELU": nn.ELU,
}  # fmt: skip


# --- a family of networks -----------------------------------------------------------------------


@dataclass
class Sample:
    """A random network, how it scales its input, and its file."""

    network: nn.Sequential
    scaling: tuple[float, float]
    data: bytes
    about: str

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """What the original computes."""
        return self.network(scaled(images, self.scaling))


def scaled(images: Tensor, scaling: tuple[float, float]) -> Tensor:
    return (images.unsqueeze(1).float() / 255 - scaling[0]) / scaling[1]


def random_network(chance: random.Random) -> tuple[nn.Sequential, str]:
    """One to three convolutions and one to three linear layers, for 28x28."""
    activation_name = chance.choice(list(ACTIVATIONS))
    activation, pool_name = ACTIVATIONS[activation_name], chance.choice(["max", "avg"])
    pool = nn.MaxPool2d if pool_name == "max" else nn.AvgPool2d
    has_norms, is_padded = chance.random() < 0.5, chance.random() < 0.5
    layers: list[nn.Module] = []
    channels, side = 1, 28
    for _ in range(chance.randint(1, 3)):
        kernel = chance.choice([3, 5] if is_padded else [2, 3, 4, 5])
        if side - kernel < 4:
            break
        wide = chance.choice([4, 8, 12])
        padding = kernel // 2 if is_padded else 0
        layers.append(nn.Conv2d(channels, wide, kernel, padding=padding))
        layers += [nn.BatchNorm2d(wide)] if has_norms else []
        layers.append(activation())
        side, channels = side + 2 * padding - kernel + 1, wide
        if side >= 10 and chance.random() < 0.8:
            layers.append(pool(2))
            side //= 2
    layers.append(nn.Flatten())
    width = channels * side * side
    for _ in range(chance.randint(1, 3) - 1):
        hidden = chance.choice([32, 48, 64])
        layers += [nn.Linear(width, hidden), activation()]
        layers += [nn.Dropout(0.2)] if chance.random() < 0.3 else []
        width = hidden
    layers.append(nn.Linear(width, 10))
    return nn.Sequential(*layers), f"{activation_name}, {pool_name}, norms {has_norms}"


def train(network: nn.Module, scaling: tuple[float, float], digits: DigitSet, steps: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(steps):
        picked = torch.randint(len(digits), (64,), generator=generator)
        logits = network(scaled(digits.images[picked], scaling))
        optimizer.zero_grad()
        functional.cross_entropy(logits, digits.labels[picked].long()).backward()
        optimizer.step()
    network.eval()


def renamed(network: nn.Sequential, style: str) -> dict[str, Tensor]:
    """The state dict as scripts name it."""
    state = network.state_dict()
    if style == "sequential":
        return state
    names: dict[str, str] = {}
    counts = {"conv": 0, "bn": 0, "fc": 0}
    for name, module in network.named_children():
        kinds = {nn.Conv2d: "conv", nn.BatchNorm2d: "bn", nn.Linear: "fc"}
        kind = kinds.get(type(module))
        if kind is not None:
            counts[kind] += 1
            names[name] = f"{kind}{counts[kind]}"
    prefix = {"named": "", "prefixed": "module.", "nested": "model.net."}[style]
    return {
        f"{prefix}{names[key.partition('.')[0]]}.{key.partition('.')[2]}": value.clone()
        for key, value in state.items()
    }


STYLES = ("sequential", "named", "prefixed", "nested")
FORMS = ("zip", "legacy", "safetensors", "pickle", "lightning", "whole", "half")


def in_file(network: nn.Sequential, form: str, style: str) -> bytes:
    state = renamed(network, style)
    buffer = io.BytesIO()
    if form == "safetensors":
        return safetensors.torch.save({name: value.contiguous() for name, value in state.items()})
    if form == "pickle":
        return pickle.dumps(state)
    content: Any = state
    if form == "lightning":
        content = {"epoch": 3, "state_dict": {f"model.{n}": v for n, v in state.items()}}
    elif form == "whole":
        content = network
    elif form == "half":
        content = {n: v.double() if v.is_floating_point() else v for n, v in state.items()}
    torch.save(content, buffer, _use_new_zipfile_serialization=form != "legacy")
    return buffer.getvalue()


def sample(seed: int, digits: DigitSet, steps: int) -> Sample:
    chance = random.Random(seed)
    torch.manual_seed(seed)
    network, about = random_network(chance)
    name = chance.choice(list(SCALINGS))
    style = chance.choice(STYLES)
    form = FORMS[seed % len(FORMS)]
    train(network, SCALINGS[name], digits, steps)
    data = in_file(network, form, style)
    return Sample(network, SCALINGS[name], data, f"{seed}: {about}, {name}, {style}, {form}")


@functools.cache
def training_digits() -> DigitSet:
    return synthetic.draw("synthetic", "train", images=2000)


@functools.cache
def unseen_digits() -> DigitSet:
    return synthetic.draw("synthetic", "test", images=400)


def check(one: Sample, digits: DigitSet, others: DigitSet) -> str:
    """``same``, ``refused``, or ``close``: another function that reads as many digits.

    others: what neither training nor rebuilding saw. Fails for anything else.
    """
    try:
        loaded = load(one.data, "x", digits=lambda: digits)
    except CheckpointError:
        return "refused"
    with torch.no_grad():
        logits = loaded.classifier.logits(others.images)
    expected = one.logits(others.images)
    if torch.allclose(logits, expected, atol=1e-4, rtol=1e-4):
        return "same"
    accuracies = [
        float((found.argmax(1) == others.labels).double().mean()) for found in (logits, expected)
    ]
    assert "runner-up" in loaded.verdict, one.about
    assert abs(accuracies[0] - accuracies[1]) <= 0.003, one.about
    return "close"


@pytest.mark.parametrize("form", ["whole", "safetensors"])
def test_a_pickled_sequential_and_named_weights_are_rebuilt_exactly(form: str) -> None:
    digits, network, scaling = training_digits(), trained_lenet(), SCALINGS["mean and deviation"]
    one = Sample(network, scaling, in_file(network, form, "named"), form)
    loaded = load(one.data, "x", digits=lambda: digits)
    images = unseen_digits().images[:200]
    with torch.no_grad():
        logits = loaded.classifier.logits(images)
    assert torch.allclose(logits, one.logits(images), atol=1e-4, rtol=1e-4)
    assert loaded.verdict.startswith(
        "LeNet-like: conv 6 and 16 of 5x5, linear 400-120-84-10, 61,706 parameters; "
    )
    assert loaded.verdict.count("generated digits") == 1
    assert loaded.classifier.capabilities == {"gradients"}


@functools.cache
def trained_lenet() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    train(network, SCALINGS["mean and deviation"], training_digits(), 120)
    return network


def test_a_random_network_is_rebuilt_exactly() -> None:
    digits = training_digits()
    assert check(sample(2, digits, 120), digits, unseen_digits()) == "same"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("form", FORMS)
def test_every_format_and_naming_style_gives_the_same_network(form: str, style: str) -> None:
    network, scaling = trained_perceptron(), SCALINGS["0 to 1"]
    one = Sample(network, scaling, in_file(network, form, style), f"{form}, {style}")
    assert check(one, training_digits(), unseen_digits()) == "same"


def test_the_order_around_batch_norm_is_found_together_with_the_scaling() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.BatchNorm2d(6), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(6 * 12 * 12, 10),
    )  # fmt: skip
    digits, scaling = training_digits(), SCALINGS["-1 to 1"]
    train(network, scaling, digits, 100)
    one = Sample(network, scaling, in_file(network, "safetensors", "named"), "conv, ReLU, norm")
    assert check(one, digits, unseen_digits()) == "same"


@functools.cache
def trained_perceptron() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 24), nn.ReLU(), nn.Linear(24, 10))
    train(network, SCALINGS["0 to 1"], training_digits(), 120)
    return network


# --- what a rebuilt network can do --------------------------------------------------------------


@pytest.fixture(scope="module")
def rebuilt() -> Checkpoint:
    digits, network = training_digits(), trained_perceptron()
    return load(in_file(network, "zip", "named"), "mlp.pth", digits=lambda: digits)


def test_a_saved_network_round_trips(rebuilt: Checkpoint, tmp_path: Path) -> None:
    network = rebuilt.classifier
    assert isinstance(network, RebuiltNetwork)
    digest = save(tmp_path / "kept.pt", network, Details(), description=rebuilt.description)
    kept = load(tmp_path / "kept.pt", digits=lambda: pytest.fail("it is not rebuilt again"))
    assert kept.digest == digest == rebuilt.digest == digest_of(network)
    assert kept.verdict == rebuilt.verdict
    images = generated_digits().images[:50]
    assert torch.equal(kept.probabilities(images), rebuilt.probabilities(images))


def test_missing_capabilities_give_one_sentence(rebuilt: Checkpoint) -> None:
    with pytest.raises(CapabilityError, match=r"^The model mlp\.pth is not digitcnn's network"):
        _ = rebuilt.network
    assert rebuilt.answers(generated_digits().images[:3]).is_digit is None


def test_logits_are_differentiable_and_follow_any_number_type(rebuilt: Checkpoint) -> None:
    images = generated_digits().images[:4]
    pixels = images.float().requires_grad_()
    logits = rebuilt.classifier.logits(pixels)
    assert torch.allclose(logits, rebuilt.classifier.logits(images))
    logits.sum().backward()
    assert pixels.grad is not None
    assert bool(pixels.grad.abs().sum() > 0)


# --- what is refused ----------------------------------------------------------------------------


def weights(*layers: nn.Module) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return nn.Sequential(*layers).state_dict()


OTHERS: dict[str, tuple[Callable[[], dict[str, Tensor]], str]] = {
    "six classes": (lambda: weights(nn.Linear(784, 6)), "has 6 outputs"),
    "letters": (lambda: weights(nn.Linear(784, 26)), "26 classes, such as letters"),
    "an autoencoder": (
        lambda: weights(nn.Linear(784, 32), nn.Linear(32, 784)),
        "like an autoencoder",
    ),
    "a transformer": (
        lambda: nn.TransformerEncoderLayer(16, 2, 16).state_dict(),
        "is a transformer",
    ),
    "a recurrent network": (lambda: nn.LSTM(28, 16).state_dict(), "is a recurrent network"),
    "a residual network": (
        lambda: {"layer1.0.conv1.weight": torch.zeros(8, 1, 3, 3), "fc.weight": torch.ones(10, 8)},
        "branching",
    ),
    "branches": (
        lambda: {"a.weight": torch.ones(20, 784), "b.weight": torch.ones(10, 30)},
        "branching network",
    ),
    "another size of image": (lambda: weights(nn.Linear(100, 10)), "takes 100 numbers, 10x10"),
    "untrained": (lambda: weights(nn.Linear(784, 10)), "reads at best"),
    "CIFAR": (
        lambda: weights(nn.Conv2d(3, 8, 3), nn.Linear(8 * 13 * 13, 10)),
        "colour images",
    ),
    "NaN": (
        lambda: {"fc.weight": torch.full((10, 784), float("nan"))},
        "NaN or infinite numbers",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_are_refused_with_their_kind(name: str) -> None:
    make, sentence = OTHERS[name]
    buffer = io.BytesIO()
    torch.save(make(), buffer)
    with pytest.raises(CheckpointError) as refusal:
        load(buffer.getvalue(), "x.pth")
    assert sentence in str(refusal.value)
    assert str(refusal.value).startswith("x.pth ")


MLP = {"fc.weight": (10, 784)}
HOSTILE: dict[str, tuple[dict[str, tuple[int, ...]], tuple[Step, ...]]] = {
    "padding without end": (
        {"c.weight": (10, 1, 1, 1)},
        (Step("conv", "c", (1, 9999, 1, 1)), Step("adaptive_avg", "", (1,)), Step("flatten")),
    ),
    "a thousand maps": (
        {"c.weight": (2000, 1, 1, 1)},
        (Step("conv", "c", (1, 0, 1, 1)),),
    ),
    "a pooling of nothing": (MLP, (Step("max_pool", "", (0, 0, 0, 0)),)),
    "no stride": ({"c.weight": (10, 1, 1, 1)}, (Step("conv", "c", (0, 0, 1, 1)),)),
    "a missing tensor": (MLP, (Step("flatten"), Step("linear", "other"))),
    "eleven outputs": ({"fc.weight": (11, 784)}, (Step("flatten"), Step("linear", "fc"))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_recipe_that_does_not_fit_is_refused_before_anything_is_computed(name: str) -> None:
    shapes, steps = HOSTILE[name]
    with pytest.raises(ValueError):  # noqa: PT011
        Recipe(InputForm(), steps).check(shapes)
