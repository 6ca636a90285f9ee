"""Why a network answers what it answers: what its layers see, which ink and which gap speaks for
the answer and against a rival.

What is explained is the *lead*: the answer's logit minus the rival's, in points. Two measures,
because one cannot do both:

- Ink, by integrated gradients (Sundararajan, Taly and Yan 2017, arXiv 1703.01365) from an empty
  paper. They add up to the lead, less that of the empty paper, but a pixel without ink gets 0 by
  construction: nothing moves there along the path.
- Gaps, by trying them: one dot of ink is put into each empty place, and the lead that it costs is
  counted, as Zeiler and Fergus (2014, section 4.2) did with grey squares on objects. Integrated
  gradients from paper full of ink would name gaps too (Kapishnikov et al. 2019 average both
  baselines), but most of such a path looks like no digit: what they gave on drawings was noise.
  The limit of single dots: a gap that matters only once it is closed as a whole stays unnamed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits.digit_set import CLASSES, SIDE
from digitcnn.network.model import DigitCNN

# Steps of the path, by the midpoint rule, and how they crowd towards the empty paper, where answers
# change fastest. On 60 held-out MNIST digits the sum missed the lead by 0.9% in the median and by
# 2% at the 95th percentile, and what is shown differed by 2% from that of 200 steps; as many
# even steps miss the lead by 1.2% and 4%.
STEPS, CROWDING = 32, 1.5
# Diameter of the dots, a pen's width in the framed digit, and the distance of their places.
DOT = 2.5
SPACING = 2
# Places beyond the 20 pixels that a framed digit spans are no gaps of it.
FIRST_PLACE, LAST_PLACE = 4, 24
# A dot that adds less than this share of its ink lies on ink.
LEAST_ADDED = 0.5
# Places are named within the ink's box, or this many pixels where it is narrower, as a one's.
LEAST_BOX = 14

NAMES = (
    ("at the upper left", "at the top", "at the upper right"),
    ("on the left", "in the middle", "on the right"),
    ("at the lower left", "at the bottom", "at the lower right"),
)


@torch.inference_mode()
def feature_maps(network: DigitCNN, image: Tensor) -> tuple[Tensor, Tensor]:
    """What each convolution block hands on, after its pooling: float32 [32, 14, 14], [64, 7, 7].

    image: [28, 28] from 0 to 255. Not negative; 0 where a filter did not find its shape.
    """
    first = network.block1(network.prepare(image[None]))
    return first[0], network.block2(first)[0]


def integrated_gradients(
    network: DigitCNN, image: Tensor, answer: int, rival: int, *, steps: int = STEPS
) -> Tensor:
    """How many points of the answer's lead over the rival come from each pixel: float32 [28, 28].

    image: [28, 28] from 0 to 255. Sums up to the lead on the image minus that on an empty paper;
    0 wherever there is no ink. The gradient is taken with respect to the image alone.
    """
    ink = image.float()
    middles = (torch.arange(steps) + 0.5) / steps
    shares, widths = middles**CROWDING, CROWDING * middles ** (CROWDING - 1) / steps
    path = (shares[:, None, None] * ink).requires_grad_()
    lead = _lead(network(network.prepare(path)), answer, rival)
    (gradients,) = torch.autograd.grad(lead.sum(), path)
    return ink * torch.einsum("s,shw->hw", widths, gradients)


@dataclass(frozen=True, eq=False)
class Gaps:
    """What empty places mean for the lead.

    places: int64 [K, 2], row and column of the middle of each dot. effects: float32 [K], the
    points that a dot there takes from the lead: positive where the gap speaks for the answer.
    """

    places: Tensor
    effects: Tensor


@torch.inference_mode()
def gap_effects(network: DigitCNN, image: Tensor, answer: int, rival: int) -> Gaps:
    """The effect of one dot of ink in every empty place, two pixels apart. image: [28, 28]."""
    ink = image.float()
    line = torch.arange(FIRST_PLACE, LAST_PLACE + 1, SPACING)
    places = torch.cartesian_prod(line, line)
    dots = _dots(places)
    dotted = torch.maximum(ink, dots)
    added = (dotted - ink).sum(dim=(1, 2)) / dots.sum(dim=(1, 2))
    empty = added >= LEAST_ADDED
    batch = torch.cat([ink[None], dotted[empty]])
    leads = _lead(network(network.prepare(batch)), answer, rival)
    return Gaps(places[empty], leads[0] - leads[1:])


def _lead(logits: Tensor, answer: int, rival: int) -> Tensor:
    return logits[:, answer] - logits[:, rival]


def _dots(places: Tensor) -> Tensor:
    """One dot per place, drawn as a pen draws: float32 [K, 28, 28] from 0 to 255."""
    line = torch.arange(SIDE)
    rows = (line - places[:, :1]).square()
    columns = (line - places[:, 1:]).square()
    distance = (rows[:, :, None] + columns[:, None, :]).float().sqrt()
    return 255 * (DOT / 2 + 0.5 - distance).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why this digit and not that one.

    answer, rival: digits. lead: in points, not negative. image: uint8 [28, 28]. ink: of
    ``integrated_gradients``. gaps: of ``gap_effects``.
    """

    answer: int
    rival: int
    lead: float
    image: Tensor
    ink: Tensor
    gaps: Gaps

    def strongest_ink(self) -> tuple[str, float]:
        """The part of the drawing whose ink speaks most for the answer, and its points."""
        places = self.image.nonzero()
        if len(places) == 0:
            return NAMES[1][1], 0.0
        parts = self._parts(places)
        points = torch.zeros(9).index_add(0, parts, self.ink[places[:, 0], places[:, 1]])
        best = int(points.argmax())
        return NAMES[best // 3][best % 3], float(points[best])

    def strongest_gap(self) -> tuple[str, float]:
        """Where a dot of ink would cost the answer most, and how many points."""
        if len(self.gaps.effects) == 0:
            return NAMES[1][1], 0.0
        best = int(self.gaps.effects.argmax())
        part = int(self._parts(self.gaps.places[best : best + 1])[0])
        return NAMES[part // 3][part % 3], float(self.gaps.effects[best])

    def _parts(self, places: Tensor) -> Tensor:
        """Which ninth of the drawing each place [K, 2] lies in, row by row: int64 [K], 0 to 8."""
        inked = self.image.nonzero()
        if len(inked) == 0:
            inked = torch.tensor([[0, 0], [SIDE - 1, SIDE - 1]])
        low, high = inked.amin(dim=0), inked.amax(dim=0) + 1
        size = (high - low).clamp(min=LEAST_BOX)
        start = (low + high - size) / 2
        thirds = ((places + 0.5 - start) * 3 / size).floor().long().clamp(0, 2)
        return thirds[:, 0] * 3 + thirds[:, 1]


def explain(network: DigitCNN, image: Tensor, rival: int | None = None) -> Explanation:
    """Why the network answers as it does to ``image``, uint8 [28, 28].

    rival: the digit to compare with; None, and the answer itself, mean the second best.
    network: in evaluation mode; ``inference_copy`` makes one that needs half the time,
    35 ms on one core.
    """
    with torch.inference_mode():
        logits = network(network.prepare(image[None]))[0]
        answer, second = logits.topk(2).indices.tolist()
    if rival is None or rival == answer:
        rival = second
    if not 0 <= rival < CLASSES:
        raise ValueError(f"a rival is a digit from 0 to 9, not {rival}")
    return Explanation(
        answer,
        rival,
        float(logits[answer] - logits[rival]),
        image,
        integrated_gradients(network, image, answer, rival),
        gap_effects(network, image, answer, rival),
    )


def along_ink(attributions: Tensor, image: Tensor) -> Tensor:
    """Attributions averaged over the inked pixels within 3x3, to be looked at: float32 [28, 28].

    Neighbouring pixels alternate with the grid of the pooling layers, which says nothing of the
    drawing; over a stroke's width they add up to what it means.
    """
    inked = (image > 0).float()
    both = torch.stack([attributions * inked, inked])[:, None]
    sums, counts = functional.avg_pool2d(both, 3, stride=1, padding=1)[:, 0]
    return torch.where(inked > 0, sums / counts, 0.0)
