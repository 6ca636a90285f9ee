"""Stability: how the accuracy varies when dropout stays on, over cached features.

Dropout is between the features and the ten logits, and batch norm before it uses its stored
statistics. So the features of an image are the same in every pass: they are computed once
(``predictions``), and a pass costs a mask and a 320x10 product (Monte Carlo dropout, Gal and
Ghahramani 2016). The network itself is neither run nor switched to training mode here.

There are two mask types. *Independent*: each image has its own mask, as is usual. Accuracies then
differ between passes only by chance per image, so for any network their deviation is at most
``0.5 / sqrt(n)``. *Shared*: all images of a pass have one mask; each pass is a thinned network
(Srivastava et al. 2014), and the deviation shows how much depends on single neurons.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import CLASSES
from digitcnn.digits.names import set_title
from digitcnn.files import without_nan
from digitcnn.intervals import percent, wilson_interval
from digitcnn.network.model import Network
from digitcnn.options import Masks, check_passes

KINDS = {"independent": "independent masks", "shared": "one mask per pass (thinned networks)"}

# Features of this many images, 1.3 MB, stay in a processor's cache between mask and product.
CHUNK = 1000

# Verdicts on the deviation over thinned networks, as a fraction: one and two points.
STABLE_BELOW, UNSTABLE_ABOVE = 0.01, 0.02


@dataclass(frozen=True)
class PassResult:
    """One finished pass. index: from 1 to ``passes``. accuracy: a fraction."""

    masks: Masks
    index: int
    passes: int
    accuracy: float


@dataclass(frozen=True, eq=False)
class Stability:
    """The result of N passes. Accuracies and deviations are fractions.

    digits, split, n: the set and its images. accuracy, accuracy_low, accuracy_high: without
    dropout, with its 95% Wilson interval.
    accuracies: one per pass. std: their sample deviation (n - 1), NaN for one pass.
    chance: the deviation that independent masks alone give these images, sqrt(sum p(1-p)) / n,
    where p is an image's chance of a right prediction; estimated from the passes without bias, NaN
    for one pass. bound: 0.5 / sqrt(n), the highest possible for any network.
    flipped: share of images for which any pass predicts another digit than without dropout.
    flipped_by_digit: the same per true digit, NaN for a digit without images.
    votes: int32 [n, 10], how many passes predict each digit. labels, predicted: int64 [n], the
    latter are the predictions without dropout.
    predictive_entropy: float64 [n], entropy of the mean probabilities, nats. mutual_information:
    float64 [n], that minus the mean entropy of a pass (Houlsby et al. 2011): the part of the
    uncertainty on which the passes disagree.
    """

    digits: str
    split: str
    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    passes: int
    masks: Masks
    accuracies: tuple[float, ...]
    mean: float
    std: float
    min: float
    max: float
    chance: float
    bound: float
    flipped: float
    flipped_by_digit: tuple[float, ...]
    votes: Tensor
    labels: Tensor
    predicted: Tensor
    predictive_entropy: Tensor
    mutual_information: Tensor

    @property
    def title(self) -> str:
        """The set and its split, such as ``MNIST test``."""
        return set_title(self.digits, self.split)

    @property
    def verdict(self) -> str:
        """A verdict on the deviation over thinned networks, in words.

        Empty for independent masks, whose deviation is bounded for any network, and for one pass.
        """
        if self.masks == "independent" or math.isnan(self.std):
            return ""
        if self.std < STABLE_BELOW:
            return "stable"
        if self.std > UNSTABLE_ABOVE:
            return "depends on single neurons"
        return "borderline"

    def least_stable(self, count: int) -> list[int]:
        """Return the places of the images with the smallest majority among their votes, in order.

        Among equals, the one with the larger mutual information comes first. Images for which all
        passes agree are left out.
        """
        majority = self.votes.max(dim=1).values
        split = (majority < self.passes).nonzero().squeeze(1)
        uncertain = split[self.mutual_information[split].argsort(descending=True, stable=True)]
        places: list[int] = uncertain[majority[uncertain].argsort(stable=True)][:count].tolist()
        return places

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as the command line prints them; undefined ones are None."""
        names = ("passes", "masks", "accuracies", "mean", "std", "min", "max")
        plain: dict[str, Any] = without_nan({name: getattr(self, name) for name in names})
        return plain


def stability_text(result: Stability) -> str:
    """Return the numbers of one mask type in a line."""
    text = f"{result.title}, {KINDS[result.masks]}: mean {percent(result.mean)}"
    if math.isnan(result.std):
        return f"{text} in one pass"
    text += f", standard deviation {100 * result.std:.2f} points over {result.passes} passes"
    if result.masks == "independent":
        return (
            f"{text} (chance level {100 * result.chance:.2f}, upper bound {100 * result.bound:.2f})"
        )
    return f"{text}: {result.verdict}"


def passes(
    network: Network,
    predictions: Predictions,
    n: int,
    *,
    masks: Masks = "independent",
    seed: int = 0,
    temperature: float = 1.0,
) -> Iterator[PassResult | Stability]:
    """Run ``n`` passes with dropout over the features: yield each result, and Stability last.

    The masks come from their own generator, so the same seed gives the same passes and no other
    thread's random numbers change. Everything runs on the CPU and takes some 200 bytes per image.
    temperature: divides the logits where probabilities are needed.

    Raises ConfigError for a number of passes outside 1 to 200, ValueError for predictions without
    features.
    """
    check_passes(n)
    features = predictions.features
    if features is None:
        raise ValueError(
            "stability needs predictions with features: call predict with keep_features=True"
        )
    dropout = _Dropout(network, masks, seed)
    labels = predictions.labels.long()
    size = len(labels)
    votes = torch.zeros(size, CLASSES, dtype=torch.int32)
    probabilities = torch.zeros(size, CLASSES)
    entropies = torch.zeros(size)
    accuracies = []
    for index in range(1, n + 1):
        right = 0
        dropout.begin_pass()
        for start in range(0, size, CHUNK):
            chunk = slice(start, min(start + CHUNK, size))
            logits = dropout.logits(features[chunk])
            predicted = logits.argmax(dim=1, keepdim=True)
            right += int((predicted.squeeze(1) == labels[chunk]).sum())
            votes[chunk].scatter_add_(1, predicted, torch.ones_like(predicted, dtype=torch.int32))
            log_p = torch.log_softmax(logits.div_(temperature), dim=1)
            p = log_p.exp()
            probabilities[chunk] += p
            entropies[chunk] -= p.mul_(log_p).sum(dim=1)
        accuracies.append(right / size)
        yield PassResult(masks, index, n, right / size)
    yield _summary(predictions, masks, accuracies, votes, probabilities, entropies)


class _Dropout:
    """The network's dropout and last layer on features, with our own masks."""

    def __init__(self, network: Network, masks: Masks, seed: int) -> None:
        # Weight [10, F] and bias [10] on the CPU. The 1 / keep of inverted dropout goes into the
        # weight, so that a mask is only 0 or 1.
        assert network.dropout is not None
        keep = 1 - network.dropout.p
        self.weight = network.output.weight.detach().cpu().float() / keep
        self.bias = network.output.bias.detach().cpu().float()
        self.inputs = self.weight.shape[1]
        self.shared = masks == "shared"
        self.generator = torch.Generator().manual_seed(seed)
        # Sixteen random bits per value: the probability is exact to 1e-5 (0.600006 for 0.6), and a
        # mask takes a tenth of bernoulli_'s time (17 against 180 ms for 40,000 images on one core).
        self.threshold = round(keep * 2**16) - 2**15

    def begin_pass(self) -> None:
        """Draw the mask that a pass shares, where it shares one."""
        if self.shared:
            self.thinned = self.weight * self._mask(1)

    def logits(self, features: Tensor) -> Tensor:
        """Return logits [N, 10] for features [N, F]."""
        if self.shared:
            return functional.linear(features, self.thinned, self.bias)
        return functional.linear(self._mask(len(features)).mul_(features), self.weight, self.bias)

    def _mask(self, rows: int) -> Tensor:
        """Return zeros and ones, float32 [rows, F]."""
        values = rows * self.inputs
        words = torch.empty(-(-values // 4), dtype=torch.int64)
        # The whole range of int64, so that every bit is random.
        words.random_(-(2**63), None, generator=self.generator)
        bits = words.view(torch.int16)[:values].view(rows, self.inputs)
        return torch.lt(bits, self.threshold, out=torch.empty(rows, self.inputs))


def _summary(
    predictions: Predictions,
    masks: Masks,
    accuracies: list[float],
    votes: Tensor,
    probabilities: Tensor,
    entropies: Tensor,
) -> Stability:
    n, size = len(accuracies), len(votes)
    labels, predicted = predictions.labels.long(), predictions.predicted
    flipped = votes.gather(1, predicted[:, None]).squeeze(1) < n
    right = int((predicted == labels).sum())
    low, high = wilson_interval(right, size)
    p = votes.gather(1, labels[:, None]).squeeze(1).double() / n
    variance = float((p * (1 - p)).sum())
    mean_p = probabilities.double() / n
    predictive = torch.special.entr(mean_p).sum(dim=1)
    # Never below 0 in exact arithmetic (Jensen); rounding may leave it a little below.
    mutual = (predictive - entropies.double() / n).clamp_(min=0)
    return Stability(
        digits=predictions.digits,
        split=predictions.split,
        n=size,
        accuracy=right / size,
        accuracy_low=low,
        accuracy_high=high,
        passes=n,
        masks=masks,
        accuracies=tuple(accuracies),
        mean=mean(accuracies),
        std=stdev(accuracies) if n > 1 else math.nan,
        min=min(accuracies),
        max=max(accuracies),
        # The mean of p(1-p) over estimates of p from n passes is too small by (n - 1) / n.
        chance=math.sqrt(variance * n / (n - 1)) / size if n > 1 else math.nan,
        bound=0.5 / math.sqrt(size),
        flipped=float(flipped.double().mean()),
        flipped_by_digit=tuple(
            float(flipped[labels == digit].double().mean()) for digit in range(CLASSES)
        ),
        votes=votes,
        labels=labels,
        predicted=predicted,
        predictive_entropy=predictive,
        mutual_information=mutual,
    )
