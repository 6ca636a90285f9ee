"""Networks as lists of layers, and the default one, ``digitcnn``.

    input 1x28x28
    conv 3x3, 32 -> batch norm -> ReLU -> max pool 2   32x14x14
    conv 3x3, 64 -> batch norm -> ReLU -> max pool 2   64x7x7
    flatten 3136 -> linear 320 -> ReLU -> dropout 0.4 -> linear 10

The others are in ``architectures``. Training is left to ``training``, files to ``checkpoint``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from digitcnn.digits.digit_set import CLASSES
from digitcnn.network import fused_first_block
from digitcnn.network.classifier import Capability

# Mean and standard deviation of MNIST's training pixels on the scale 0 to 1.
MNIST_MEAN = 0.1307
MNIST_STD = 0.3081

FEATURES = 320
# Numbers in the last maps, 64 of 7x7.
MAPS = 64 * 7 * 7
DROPOUT = 0.4


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al. 2014) whose masks come from a generator of its own.

    ``torch.nn.Dropout`` draws from the process-wide generator, which every thread shares; a run
    that must be repeatable while other threads work needs its own. ``generator`` None means the
    process-wide one.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """In training, zero each value with probability p and scale the rest by 1 / (1 - p)."""
        if not self.training:
            return x
        keep = 1 - self.p
        # A quarter of bernoulli_'s time.
        drawn = torch.rand(x.shape, device=x.device, generator=self.generator)
        return x * (drawn < keep).to(x.dtype).div_(keep)


@dataclass(frozen=True)
class Conv:
    """A convolution with stride 1, and a batch norm where ``norm`` names one."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    padding: int
    norm: str = ""


@dataclass(frozen=True)
class MaxPool:
    """Max pooling over 2x2, with stride 2."""


@dataclass(frozen=True)
class ReLU:
    """The ReLU; ``flat`` for that of the last maps, which are flattened next."""

    flat: bool = False


@dataclass(frozen=True)
class Linear:
    """A linear layer; it flattens what it gets."""

    name: str
    inputs: int
    outputs: int


Layer = Conv | MaxPool | ReLU | Linear

_Self = TypeVar("_Self", bound="Network")


class Network(nn.Module):
    """Logits for ten digits from 28x28 images, by a list of layers. A ``Classifier``.

    A subclass is an architecture; inference copies and exports read the same list.

    name: in the catalogue. blocks: from the input to the last maps, or to the features where there
    are no convolutions. head: from the last maps to the features. A linear layer ``output``, after
    dropout where ``dropout_rate`` is above 0, gives the logits.

    input_mean, input_std: the scaling of the input, on the scale 0 to 1; MNIST's for every
    network trained here.
    generator: where the initial weights come from; None takes the process-wide generator.
    """

    name: ClassVar[str]
    blocks: ClassVar[tuple[tuple[Layer, ...], ...]]
    head: ClassVar[tuple[Layer, ...]] = ()
    feature_count: ClassVar[int]
    dropout_rate: ClassVar[float] = 0.0

    output: nn.Linear
    dropout: Dropout | None

    def __init__(
        self,
        input_mean: float = MNIST_MEAN,
        input_std: float = MNIST_STD,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.input_mean = input_mean
        self.input_std = input_std
        for layer in (*chain(*self.blocks), *self.head):
            if isinstance(layer, Conv):
                conv = nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, padding=layer.padding)
                self.add_module(layer.name, conv)
                if layer.norm:
                    self.add_module(layer.norm, nn.BatchNorm2d(layer.outputs))
            elif isinstance(layer, Linear):
                self.add_module(layer.name, nn.Linear(layer.inputs, layer.outputs))
        self.dropout = Dropout(self.dropout_rate) if self.dropout_rate else None
        self.output = nn.Linear(self.feature_count, CLASSES)
        if generator is not None:
            self._initialise(generator)

    @classmethod
    def layers(cls) -> tuple[Layer, ...]:
        """Every layer that computes something in evaluation mode, in order."""
        return (*chain(*cls.blocks), *cls.head, Linear("output", cls.feature_count, CLASSES))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What a ``Classifier`` can offer; maps need convolutions, dropout a dropout layer."""
        found: set[Capability] = {"features", "gradients"}
        if any(isinstance(layer, Conv) for layer in chain(*self.blocks)):
            found.add("maps")
        if self.dropout is not None:
            found.add("dropout")
        return frozenset(found)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.output.weight.device

    def logits(self, images: Tensor) -> Tensor:
        """Return logits, float32 [N, 10], for images [N, 28, 28] from 0 to 255, any dtype."""
        logits: Tensor = self(self.prepare(images))
        return logits

    def draw_dropout_from(self, generator: torch.Generator | None) -> None:
        """Draw dropout masks from ``generator``; None takes the process-wide one."""
        if self.dropout is not None:
            self.dropout.generator = generator

    def inference_copy(self: _Self) -> _Self:
        """Return a faster network with the same logits; this one is left alone.

        Batch norm is folded into the convolution before it, which saves a map as large as the
        convolution's. Filters are stored channels last. On one core of an EPYC the copy
        classifies 5,500 images/s instead of 1,500. Logits agree to float32 rounding. On mps the
        network itself is returned.
        """
        if self.device.type == "mps":
            return self
        # On the meta device no initial weights are drawn.
        with torch.device("meta"):
            copy = type(self)(self.input_mean, self.input_std)
        copy.load_state_dict(self.state_dict(), assign=True)
        copy.eval().requires_grad_(False)
        for layer in chain(*self.blocks):
            if not isinstance(layer, Conv):
                continue
            conv: Any = copy.get_submodule(layer.name)
            if layer.norm:
                norm = copy.get_submodule(layer.norm)
                assert isinstance(norm, nn.BatchNorm2d)
                conv = fuse_conv_bn_eval(conv, norm)
                setattr(copy, layer.norm, nn.Identity())
            conv.weight = nn.Parameter(channels_last_filters(conv.weight), requires_grad=False)
            setattr(copy, layer.name, conv)
        return copy

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """PyTorch's default initial weights, drawn from ``generator``."""
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
                bound = 1 / math.sqrt(layer.weight[0].numel())
                assert layer.bias is not None
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)

    def prepare(self, images: Tensor) -> Tensor:
        """Return the input for images [N, 28, 28], 0 to 255, any dtype: float32 [N, 1, 28, 28]."""
        pixels = images.unsqueeze(1).float()
        return pixels.sub(255 * self.input_mean).div_(255 * self.input_std)

    def block(self, number: int, x: Tensor) -> Tensor:
        """Return the output of a block, numbered from 0, for that of the block before it."""
        return self._run(self.blocks[number], x)

    def first_convolution(self, number: int, x: Tensor) -> Tensor:
        """Return the output of a block's first layer alone, a convolution with its batch norm."""
        return self._run(self.blocks[number][:1], x)

    def maps(self, x: Tensor) -> Tensor:
        """Return the flattened last maps, [N, M]; without convolutions the features."""
        for block in self.blocks:
            x = self._run(block, x)
        return x.flatten(1)

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features, before dropout: [N, 1, 28, 28] -> [N, F]."""
        return self.features_of(self.maps(x))

    def features_of(self, maps: Tensor) -> Tensor:
        """Return the features before dropout, [N, F], for [N, M] from ``maps``."""
        return self._run(self.head, maps)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits: [N, 1, 28, 28] from ``prepare`` -> [N, 10]."""
        features = self.features(x)
        if self.dropout is not None:
            features = self.dropout(features)
        logits: Tensor = self.output(features)
        return logits

    def _run(self, layers: Sequence[Layer], x: Tensor) -> Tensor:
        match layers:
            case (Conv() as first, MaxPool(), ReLU(), *rest):
                conv: Any = self._modules[first.name]
                norm: Any = self._modules.get(first.norm)
                if fused_first_block.applies(x, conv, norm):
                    x, layers = fused_first_block.conv_norm_pool_relu(x, conv, norm), rest
        last = torch.channels_last
        for layer in layers:
            if isinstance(layer, Conv):
                x = self._modules[layer.name](x)  # type: ignore[misc]
                if layer.norm:
                    x = self._modules[layer.norm](x)  # type: ignore[misc]
            elif isinstance(layer, MaxPool):
                x = functional.max_pool2d(x, 2)
            elif isinstance(layer, Linear):
                x = self._modules[layer.name](x.flatten(1))  # type: ignore[misc]
            else:
                x = functional.relu(x)
                if layer.flat and x.requires_grad and x.is_contiguous(memory_format=last):
                    # Flattening changes the memory format of the gradient. Without this, every
                    # layer before would copy it.
                    x.register_hook(lambda gradient: gradient.contiguous(memory_format=last))
        return x


class DigitCNN(Network):
    """The default network; 1,026,058 parameters."""

    name = "digitcnn"
    # max_pool(relu(x)) equals relu(max_pool(x)); this order touches a quarter of the values.
    blocks = (
        (Conv("conv1", 1, 32, 3, 1, "norm1"), MaxPool(), ReLU()),
        (Conv("conv2", 32, 64, 3, 1, "norm2"), MaxPool(), ReLU(flat=True)),
    )
    head = (Linear("hidden", MAPS, FEATURES), ReLU())
    feature_count = FEATURES
    dropout_rate = DROPOUT

    conv1: nn.Conv2d
    norm1: nn.BatchNorm2d
    conv2: nn.Conv2d
    norm2: nn.BatchNorm2d
    hidden: nn.Linear
    dropout: Dropout


def channels_last_filters(filters: Tensor) -> Tensor:
    """Return filters [O, I, H, W] stored channels last, which decides the layout of the maps.

    Pooling is eight times as fast on that layout.
    """
    # contiguous(memory_format=...) would not do: with one input channel it finds nothing to change
    # and keeps strides that PyTorch takes for the other layout.
    last = filters.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
    return last.permute(0, 3, 1, 2)
