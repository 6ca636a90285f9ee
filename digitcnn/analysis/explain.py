"""Explain a prediction against a rival digit: feature maps, and the ink and gaps that decide.

The quantity explained is the *lead*: the predicted digit's logit minus a rival's, in points. There
are two measures, because one cannot do both:

- Ink: integrated gradients (Sundararajan, Taly and Yan 2017, arXiv 1703.01365) from blank paper.
  They add up to the lead minus that of blank paper, but are 0 wherever there is no ink.
- Gaps: one dot of ink in each empty place, and the lead that it costs, as Zeiler and Fergus (2014,
  section 4.2) did with grey squares on objects. Integrated gradients from paper full of ink would
  find gaps too (Kapishnikov et al. 2019 average both baselines), but most of that path is far from
  any digit, and on sketches they gave noise. Single dots have a limit: they do not find a gap that
  matters only when it is closed as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.network.classifier import Classifier, require
from digitcnn.network.model import Network

# Steps of the path, by the midpoint rule, denser towards blank paper, where predictions change
# fastest. On 60 held-out MNIST digits the sum missed the lead by 0.9% in the median and by 2% at
# the 95th percentile, and the map differed by 2% from that of 200 steps; as many even steps miss
# the lead by 1.2% and 4%.
STEPS, CROWDING = 32, 1.5
# Diameter of the dots, the width of a stroke in a framed digit, and the distance between them.
DOT = 2.5
SPACING = 2
# A framed digit spans 20 pixels; beyond them there are no gaps.
FIRST_PLACE, LAST_PLACE = 4, 24
# A dot that adds less than this share of its ink is on a stroke.
LEAST_ADDED = 0.5
# Places are named within the ink's box, which is widened to this many pixels for a narrow 1.
LEAST_BOX = 14

# The ninths of a sketch, row by row.
NAMES = (
    "at the upper left", "at the top", "at the upper right",
    "on the left", "in the middle", "on the right",
    "at the lower left", "at the bottom", "at the lower right",
)  # fmt: skip
MIDDLE = 4


@torch.inference_mode()
def feature_maps(network: Network, image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output of both convolution blocks: float32 [C, H, W] each, >= 0.

    image: [28, 28] from 0 to 255. Raises CapabilityError for a network without convolutions.
    """
    require(network, "maps", "none are shown")
    first = network.block(0, network.prepare(image[None]))
    return first[0], network.block(1, first)[0]


def integrated_gradients(
    classifier: Classifier, image: Tensor, predicted: int, rival: int, *, steps: int = STEPS
) -> Tensor:
    """Return the points of the lead that each pixel contributes: float32 [28, 28].

    image: [28, 28] from 0 to 255. They add up to the lead on the image minus that on blank paper,
    and are 0 wherever there is no ink. Only the gradient of the image is computed.
    """
    ink = image.float()
    middles = (torch.arange(steps) + 0.5) / steps
    shares, widths = middles**CROWDING, CROWDING * middles ** (CROWDING - 1) / steps
    path = (shares[:, None, None] * ink).requires_grad_()
    lead = _lead(classifier.logits(path), predicted, rival)
    (gradients,) = torch.autograd.grad(lead.sum(), path)
    return ink * torch.einsum("s,shw->hw", widths, gradients)


@dataclass(frozen=True, eq=False)
class Gaps:
    """What empty places contribute to the lead.

    places: int64 [K, 2], row and column of the middle of each dot. effects: float32 [K], the
    points that a dot there costs: positive where the gap supports the prediction.
    """

    places: Tensor
    effects: Tensor


@torch.inference_mode()
def gap_effects(classifier: Classifier, image: Tensor, predicted: int, rival: int) -> Gaps:
    """Measure the effect of one dot of ink in every empty place. image: [28, 28]."""
    ink = image.float()
    line = torch.arange(FIRST_PLACE, LAST_PLACE + 1, SPACING)
    places = torch.cartesian_prod(line, line)
    dots = _dots(places)
    dotted = torch.maximum(ink, dots)
    added = (dotted - ink).sum(dim=(1, 2)) / dots.sum(dim=(1, 2))
    empty = added >= LEAST_ADDED
    batch = torch.cat([ink[None], dotted[empty]])
    leads = _lead(classifier.logits(batch), predicted, rival)
    return Gaps(places[empty], leads[0] - leads[1:])


def _lead(logits: Tensor, predicted: int, rival: int) -> Tensor:
    return logits[:, predicted] - logits[:, rival]


def _dots(places: Tensor) -> Tensor:
    """Draw one dot per place, with a soft edge: float32 [K, 28, 28] from 0 to 255."""
    line = torch.arange(SIDE)
    rows = (line - places[:, :1]).square()
    columns = (line - places[:, 1:]).square()
    distance = (rows[:, :, None] + columns[:, None, :]).float().sqrt()
    return 255 * (DOT / 2 + 0.5 - distance).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why this digit and not that one.

    predicted, rival: digits. lead: in points, not negative. image: uint8 [28, 28]. ink: from
    ``integrated_gradients``. gaps: from ``gap_effects``.
    """

    predicted: int
    rival: int
    lead: float
    image: Tensor
    ink: Tensor
    gaps: Gaps

    def strongest_ink(self) -> tuple[str, float]:
        """Return the part of the sketch whose ink contributes most, and its points."""
        places = self.image.nonzero()
        if len(places) == 0:
            return NAMES[MIDDLE], 0.0
        parts = self._parts(places)
        points = torch.zeros(9).index_add(0, parts, self.ink[places[:, 0], places[:, 1]])
        best = int(points.argmax())
        return NAMES[best], float(points[best])

    def strongest_gap(self) -> tuple[str, float]:
        """Return the part of the sketch where a dot would cost most, and how many points."""
        if len(self.gaps.effects) == 0:
            return NAMES[MIDDLE], 0.0
        best = int(self.gaps.effects.argmax())
        part = int(self._parts(self.gaps.places[best : best + 1])[0])
        return NAMES[part], float(self.gaps.effects[best])

    def _parts(self, places: Tensor) -> Tensor:
        """Return the ninth of the sketch that each place [K, 2] is in, row by row: int64 [K]."""
        inked = self.image.nonzero()
        if len(inked) == 0:
            inked = torch.tensor([[0, 0], [SIDE - 1, SIDE - 1]])
        low, high = inked.amin(dim=0), inked.amax(dim=0) + 1
        size = (high - low).clamp(min=LEAST_BOX)
        start = (low + high - size) / 2
        thirds = ((places + 0.5 - start) * 3 / size).floor().long().clamp(0, 2)
        return thirds[:, 0] * 3 + thirds[:, 1]


def explain(classifier: Classifier, image: Tensor, rival: int | None = None) -> Explanation:
    """Explain the prediction for ``image``, uint8 [28, 28].

    rival: the digit to compare with; None, and the predicted digit itself, mean the second best.
    classifier: its ``inference_copy`` needs half the time, 35 ms on one core.
    Raises CapabilityError for a classifier without gradients, ValueError for a rival that is not
    a digit.
    """
    require(classifier, "gradients", "its predictions cannot be explained")
    with torch.inference_mode():
        logits = classifier.logits(image[None])[0]
        predicted, second = logits.topk(2).indices.tolist()
    if rival is None or rival == predicted:
        rival = second
    if not 0 <= rival < CLASSES:
        raise ValueError(f"expected a rival from 0 to 9, got {rival}")
    return Explanation(
        predicted,
        rival,
        float(logits[predicted] - logits[rival]),
        image,
        integrated_gradients(classifier, image, predicted, rival),
        gap_effects(classifier, image, predicted, rival),
    )


def along_ink(attributions: Tensor, image: Tensor) -> Tensor:
    """Return attributions averaged over the inked pixels within 3x3, for display.

    Neighbouring pixels alternate with the grid of the pooling layers, which has nothing to do with
    the sketch; averaged over a stroke's width the pattern disappears. float32 [28, 28].
    """
    inked = (image > 0).float()
    both = torch.stack([attributions * inked, inked])[:, None]
    sums, counts = functional.avg_pool2d(both, 3, stride=1, padding=1)[:, 0]
    return torch.where(inked > 0, sums / counts, 0.0)
