"""Train the OOD detector, which rejects non-digits, at the end of a training.

A small head on the network's last feature maps learns to separate digits (the run's own training
digits, distorted as other hands, pens and scanners would, and generated ones) from sketches that
are not digits (``digits.non_digits``): outlier exposure (Hendrycks et al. 2019, arXiv 1812.04606).
The threshold accepts 99% of the held-out images after the framing that every sketch gets.

``network.ood`` has the detector itself and its storage in a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from digitcnn.digits import non_digits
from digitcnn.digits.augment import affine_maps, thicken, warp
from digitcnn.digits.digit_forms import FORMS
from digitcnn.digits.digit_set import CLASSES, SIDE, DigitSet
from digitcnn.digits.framing import frame_mnist
from digitcnn.digits.sketch import from_images
from digitcnn.digits.synthetic import POPULATIONS, Population, Spread, write
from digitcnn.network.model import Dropout, Network
from digitcnn.network.ood import HIDDEN, TENSORS, OODDetector

# Share of the held-out images that are accepted as digits.
PASS_SHARE = 0.99

# Examples at most: digits of the run, generated digits and non-digits. A small training set gets
# PER_IMAGE digits for each of its images, so that it takes a second.
DIGITS, GENERATED, NON_DIGITS = 20_000, 9_000, 28_000
PER_IMAGE = 2

# Every round distorts each example anew.
ROUNDS = 5
BATCH = 256
LEARNING_RATE, WEIGHT_DECAY = 5e-3, 1e-2
DROPOUT = 0.1

# A narrow digit that is cropped to its box is widened by at most this factor: a 1 stays a 1.
BOX_STRETCH = 1.6

# Images distorted and trained on at a time, whole batches; 50 MB of memory.
CHUNK = 8 * BATCH

# Handwriting of every kind, so that anybody's is accepted; wider than any synthetic set.
ANY_HAND: Population = replace(
    POPULATIONS["synthetic"],
    slant=Spread(3, 19, -40, 48),
    width=Spread(1.05, 0.25, 0.55, 1.9),
    pen=Spread(1.35, 0.45, 0.6, 2.7),
    roundness=Spread(0.95, 0.12, 0.6, 1.2),
    habit=0.07,
    mood=0.05,
    wobble=0.027,
    looseness=2.3,
    pressure=0.2,
    blur=1.3,
)


@dataclass(frozen=True)
class Distortion:
    """How far examples are distorted, beyond the augmentation that trained the network.

    rotation (degrees), shear, scale, shift (share of the 28 pixels): deviations of normal draws.
    elastic: deviation of a smooth random displacement, in pixels. thick, boxed, coarse: shares of
    the images whose strokes are thickened, that are cropped to the box around their ink, and that
    are reduced to 13 to 22 pixels and enlarged again, as small or blurred images are.
    contrast: deviation of the logarithm of the power that each image's greys are raised to.
    framed: share of the images that finally get the framing of a sketch.
    """

    rotation: float = 10.0
    shear: float = 0.18
    scale: float = 0.1
    shift: float = 0.03
    elastic: float = 1.0
    thick: float = 0.8
    boxed: float = 0.85
    coarse: float = 0.75
    contrast: float = 0.25
    framed: float = 0.5


# Thick, cropped and coarse images are ambiguous, and come from scans and photographs, which mostly
# show digits: more of the digits are distorted so. A sketch on the pad is none of these.
OF_DIGITS = Distortion()
OF_NON_DIGITS = replace(OF_DIGITS, thick=0.4, boxed=0.25, coarse=0.12)


def fit_ood_detector(
    network: Network, training: DigitSet, held_out: DigitSet, seed: int
) -> Iterator[str | OODDetector]:
    """Train the detector: yield a line of progress every few seconds, and the detector last.

    network: in evaluation mode, on any device; it is not changed. training, held_out: the run's.
    Takes 45 s of processor time and 300 MB for 10,000 images or more, a second or two for a few
    hundred. On the CPU the same seed and number of threads give the same result.
    """
    random = np.random.default_rng([seed, 1])
    generator = torch.Generator().manual_seed(seed)
    fast = network.inference_copy()
    yield "training the OOD detector: generating examples"
    images, targets = _examples(training, random)
    sample = torch.randperm(len(images), generator=generator)[:CHUNK]
    head = _Head(_maps(fast, images[sample]), len(images), generator)
    for number in range(1, ROUNDS + 1):
        order = torch.randperm(len(images), generator=generator)
        for start, chosen in zip(range(0, len(images), CHUNK), order.split(CHUNK), strict=True):
            yield (
                f"training the OOD detector: round {number} of {ROUNDS}, "
                f"{start:,} of {len(images):,} examples"
            )
            distorted = _distorted(images[chosen], targets[chosen], generator)
            head.train_on(_maps(fast, distorted), targets[chosen])
    yield "training the OOD detector: choosing the threshold"
    framed = from_images(held_out.images)
    maps = _maps(fast, framed[framed.flatten(1).amax(1) > 0])
    yield with_threshold(head.tensors(), maps)


def with_threshold(tensors: dict[str, Tensor], held_out: Tensor) -> OODDetector:
    """Return the detector with the threshold that accepts PASS_SHARE of the held-out images.

    tensors: the head's. held_out: maps [N, M]. All of fewer than a hundred images are accepted.
    """
    all_accepted = OODDetector({**tensors, "threshold": torch.tensor(-math.inf)})
    scores = torch.cat([all_accepted.scores(part) for part in held_out.split(CHUNK)]).sort().values
    rejected = math.floor(round((1 - PASS_SHARE) * len(scores), 6))
    # Halfway down to the next score, so that rounding rejects no image that is accepted here.
    pair = scores[max(rejected - 1, 0) : rejected + 1]
    threshold = pair.mean() if rejected else pair.sum() - 0.01
    return OODDetector({**tensors, "threshold": threshold.clone()})


def _examples(training: DigitSet, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return images, uint8 [N, 28, 28], and targets, int64 [N], 10 for non-digits."""
    share = min(1.0, PER_IMAGE * len(training) / DIGITS)
    count, generated, others = (math.ceil(share * most) for most in (DIGITS, GENERATED, NON_DIGITS))
    places = torch.from_numpy(random.permutation(len(training)))
    chosen = places.repeat(math.ceil(count / len(places)))[:count]
    written, labels = _generated(generated, random)
    rest = non_digits.draw(training, others, random)
    images = torch.cat([frame_mnist(training.images[chosen]), written, rest])
    targets = torch.cat([training.labels[chosen].long(), labels, torch.full((len(rest),), CLASSES)])
    return images, targets


def _generated(count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Generate about ``count`` digits of every form: uint8 [N, 28, 28], labels int64 [N].

    Rare forms as often as common ones: a form that is absent here would be rejected later.
    """
    counts = random.multinomial(count, [1 / len(FORMS)] * len(FORMS))
    images, labels = [], []
    for form, each in zip(FORMS.values(), counts, strict=True):
        if each:
            images.append(torch.from_numpy(write(form.strokes, ANY_HAND, int(each), random)))
            labels.append(torch.full((int(each),), form.digit))
    return torch.cat(images), torch.cat(labels)


def _distorted(images: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """Return distorted copies of examples; see ``distort``."""
    distorted = torch.empty(images.shape)
    is_digit = targets < CLASSES
    for chosen, amounts in ((is_digit, OF_DIGITS), (~is_digit, OF_NON_DIGITS)):
        if bool(chosen.any()):  # the last few may be of one kind
            distorted[chosen] = distort(images[chosen], amounts, generator)
    return distorted


def distort(images: Tensor, amounts: Distortion, generator: torch.Generator) -> Tensor:
    """Return distorted copies of images in random order: uint8 [N, 28, 28] -> float32, 0 to 255.

    Rotated, sheared, displaced elastically (Simard et al. 2003); some thickened, cropped to their
    box or coarsened; contrast stretched to full ink and varied; some framed as sketches are. Our
    own code and not torchvision's, whose transforms draw one random value for a whole batch.
    """
    count = len(images)
    draw = torch.randn(count, 5, generator=generator)
    angle = draw[:, 0] * math.radians(amounts.rotation)
    shear = draw[:, 1] * amounts.shear
    zoom = torch.exp(draw[:, 2] * amounts.scale)
    affine = affine_maps(angle, shear, zoom, amounts.shift * draw[:, 3:])
    pixels = images.unsqueeze(1).float()
    grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
    coarse = torch.randn(count, 2, 4, 4, generator=generator) * (2 * amounts.elastic / SIDE)
    elastic = functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
    pixels = functional.grid_sample(pixels, grid + elastic.permute(0, 2, 3, 1), align_corners=False)
    pick = torch.rand(4, count, generator=generator)
    shares = (amounts.thick, amounts.boxed, amounts.coarse, amounts.framed)
    thick, cut, reduced, framed = (
        (drawn < share).nonzero()[:, 0] for drawn, share in zip(pick, shares, strict=True)
    )
    amount = 2 * torch.rand(len(thick), 1, 1, 1, generator=generator)
    once = thicken(pixels[thick], amount.clamp(max=1))
    pixels[thick] = thicken(once, (amount - 1).clamp(min=0))
    if len(cut):
        pixels[cut] = _boxed(pixels[cut], generator)
    for part, side in zip(reduced.tensor_split(5), (13, 15, 17, 19, 22), strict=True):
        if len(part):
            small = functional.interpolate(
                pixels[part],
                size=(side, side),
                mode="bilinear",
                align_corners=False,
                antialias=True,
            )
            pixels[part] = functional.interpolate(
                small, size=(SIDE, SIDE), mode="bicubic", align_corners=False
            )
    pixels = pixels.clamp_(0, 255).squeeze(1)
    ink = pixels / pixels.amax((1, 2), keepdim=True).clamp(min=1)
    power = torch.exp(amounts.contrast * torch.randn(count, 1, 1, generator=generator))
    pixels = 255 * ink**power
    pixels[framed] = from_images(pixels[framed].round().byte()).float()
    return pixels


def _boxed(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return images [N, 1, 28, 28], 0 to 255, cropped to the box around their ink, as scans are.

    The box is stretched towards a square and centred, its longer side 19 to 21 pixels. Faint ink
    at the edge is cropped with the paper, so that strokes end bluntly there.
    """
    count = len(pixels)
    draw = torch.rand(3, count, generator=generator)
    ink = pixels[:, 0] > (13 + 89 * draw[0])[:, None, None]
    place = torch.arange(SIDE)
    edges = []
    for axis in (1, 2):
        inked = ink.any(axis)
        low = inked.float().argmax(1)
        # A blank image keeps its whole frame.
        edges.append((low, SIDE - inked.flip(1).float().argmax(1)))
    inside = [(place >= low[:, None]) & (place < high[:, None]) for low, high in edges]
    pixels = pixels * inside[0][:, None, None, :] * inside[1][:, None, :, None]
    low, high = (torch.stack(ends, 1).float() for ends in zip(*edges, strict=True))
    size = high - low
    aspect = size.amax(1, keepdim=True) / size
    stretch = (aspect ** (draw[1] / 2)[:, None]).clamp(max=BOX_STRETCH)
    step = aspect * size / ((19 + 2 * draw[2])[:, None] * stretch)
    middle = (low + high) / SIDE - 1
    matrices = torch.cat([torch.diag_embed(step), middle[:, :, None]], 2)
    return warp(pixels, matrices)


@torch.inference_mode()
def _maps(network: Network, images: Tensor) -> Tensor:
    """Return the last maps, float16 [N, M] on the CPU, for images [N, 28, 28], 0 to 255."""
    device = network.device
    maps = torch.empty(len(images), network.map_size(), dtype=torch.float16)
    for start in range(0, len(images), 100):
        part = slice(start, start + 100)
        maps[part] = network.maps(network.prepare(images[part].to(device))).half()
    return maps


class _Head:
    """The head in training: maps [N, M] -> eleven logits.

    Maps are divided by their overall deviation, so that one learning rate suits every network.
    maps: a sample of them. examples: number per round.
    """

    def __init__(self, maps: Tensor, examples: int, generator: torch.Generator) -> None:
        self.generator = generator
        self.scale = 1 / max(float(maps.float().std()), 1e-6)
        self.hidden = nn.utils.skip_init(nn.Linear, maps.shape[1], HIDDEN)
        self.output = nn.utils.skip_init(nn.Linear, HIDDEN, CLASSES + 1)
        self.dropout = Dropout(DROPOUT)
        self.dropout.generator = generator
        parameters = [*self.hidden.parameters(), *self.output.parameters()]
        with torch.no_grad():
            for layer in (self.hidden, self.output):
                bound = 1 / math.sqrt(layer.in_features)
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
        steps = ROUNDS * math.ceil(examples / BATCH)
        self.optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, LEARNING_RATE, total_steps=steps + 1
        )

    def train_on(self, maps: Tensor, targets: Tensor) -> None:
        """Take a step for each batch. targets: int64 [N], 10 for non-digits."""
        for inputs, expected in zip(maps.split(BATCH), targets.split(BATCH), strict=True):
            inputs = inputs.float().mul_(self.scale)
            logits = self.output(self.dropout(self.hidden(inputs).relu()))
            loss = functional.cross_entropy(logits, expected)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()

    def tensors(self) -> dict[str, Tensor]:
        """Return all but the threshold, in the types of ``TENSORS``."""
        own = {
            "hidden.weight": self.hidden.weight * self.scale,
            "hidden.bias": self.hidden.bias,
            "output.weight": self.output.weight,
            "output.bias": self.output.bias,
        }
        return {
            name: tensor.detach().to(getattr(torch, TENSORS[name].dtype))
            for name, tensor in own.items()
        }
