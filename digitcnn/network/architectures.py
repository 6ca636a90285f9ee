"""The catalogue of networks that can be trained, by the name of ``train --network``.

digitcnn   two convolutions and a hidden layer: the default (``model``)
lenet      LeNet-5 (LeCun et al. 1998) with ReLU and max pooling, as it is built today
mlp        one hidden layer, about as many parameters as digitcnn
linear     softmax regression
deep       five 3x3 convolutions with batch norm, and a hidden layer
"""

from __future__ import annotations

from collections.abc import Mapping

from digitcnn.digits.digit_set import SIDE
from digitcnn.network.model import Conv, DigitCNN, Linear, MaxPool, Network, ReLU


class LeNet(Network):
    """LeNet-5 with ReLU and max pooling; 61,706 parameters."""

    name = "lenet"
    blocks = (
        (Conv("conv1", 1, 6, 5, 2), MaxPool(), ReLU()),
        (Conv("conv2", 6, 16, 5, 0), MaxPool(), ReLU(flat=True)),
    )
    head = (Linear("hidden1", 16 * 5 * 5, 120), ReLU(), Linear("hidden2", 120, 84), ReLU())
    feature_count = 84


class MLP(Network):
    """One hidden layer of 1,290; 1,025,560 parameters."""

    name = "mlp"
    blocks = ((Linear("hidden", SIDE * SIDE, 1290), ReLU()),)
    feature_count = 1290
    dropout_rate = 0.4


class SoftmaxRegression(Network):
    """A linear layer on the pixels; 7,850 parameters."""

    name = "linear"
    blocks = ()
    feature_count = SIDE * SIDE


class Deep(Network):
    """Five 3x3 convolutions with batch norm; 300,234 parameters.

    The third, without padding, makes maps of 12x12, which can be halved twice. All but the first
    work on small maps, where a convolution costs little.
    """

    name = "deep"
    blocks = (
        (Conv("conv1", 1, 32, 3, 1, "norm1"), MaxPool(), ReLU()),
        (
            Conv("conv2", 32, 48, 3, 1, "norm2"),
            ReLU(),
            Conv("conv3", 48, 48, 3, 0, "norm3"),
            MaxPool(),
            ReLU(),
            Conv("conv4", 48, 96, 3, 1, "norm4"),
            ReLU(),
            Conv("conv5", 96, 96, 3, 1, "norm5"),
            MaxPool(),
            ReLU(flat=True),
        ),
    )
    head = (Linear("hidden", 96 * 3 * 3, 160), ReLU())
    feature_count = 160
    dropout_rate = 0.4


# The names are those of ``options.NETWORKS``.
ARCHITECTURES: Mapping[str, type[Network]] = {
    network.name: network for network in (DigitCNN, LeNet, MLP, SoftmaxRegression, Deep)
}
