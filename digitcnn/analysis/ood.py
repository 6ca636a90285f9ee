"""This is no digit: learning what passes as one, at the end of a training.

A small head on the network's last maps learns to tell the run's own training digits, changed as
other hands, pens and scanners would, and digits drawn by the program, from drawings that are no
digits (``digits.non_digits``): outlier exposure (Hendrycks et al. 2019, arXiv 1812.04606). The
threshold is where 99% of the held-out images, on the way that a drawing takes, pass.

What a checkpoint keeps of it, and how that is asked, is left to ``network.ood``.
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
from digitcnn.network.model import MAPS, DigitCNN, Dropout
from digitcnn.network.ood import HIDDEN, TENSORS, OODDetector

# Share of the held-out images that pass as digits.
PASS_SHARE = 0.99

# Digits of the run, digits drawn by the program and non-digits: at most so many, and a fixed
# number for each image trained on, so that a small set is done in a second.
DIGITS, DRAWN, NON_DIGITS = 20_000, 9_000, 28_000
PER_IMAGE = 2

# In every round each of them is changed anew.
ROUNDS = 5
BATCH = 256
LEARNING_RATE, WEIGHT_DECAY = 5e-3, 1e-2
DROPOUT = 0.1

# A slender digit that is cut to its box becomes wider by at most this factor: a 1 stays a 1.
BOX_STRETCH = 1.6

# Images changed, seen and learned from at a time, whole batches; 50 MB of work area.
CHUNK = 8 * BATCH

# Hands of every kind, so that a stranger's passes; wider than any of the synthetic sets.
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
class Change:
    """How far images are changed, beyond what the training of the network does.

    rotation: degrees, shear, scale, shift (share of the 28 pixels): deviations of normal draws.
    bend: deviation of a smooth random displacement, in pixels. thick, boxed, coarse: shares of the
    images whose strokes are thickened, that are cut to the box around their ink, and that are
    reduced to 13 to 22 pixels and enlarged again, as small or blurred pictures are.
    contrast: deviation of the logarithm of the power that each image's greys are raised to.
    framed: share of the images that are framed at last as every drawing is.
    """

    rotation: float = 10.0
    shear: float = 0.18
    scale: float = 0.1
    shift: float = 0.03
    bend: float = 1.0
    thick: float = 0.8
    boxed: float = 0.85
    coarse: float = 0.75
    contrast: float = 0.25
    framed: float = 0.5


# What is thick, cut or coarse tells less of what it was, and comes of scans and photographs, which
# mostly show digits: in doubt it is one. A drawing on the pad is none of these.
OF_DIGITS = Change()
OF_OTHERS = replace(OF_DIGITS, thick=0.4, boxed=0.25, coarse=0.12)


def fit_ood_detector(
    network: DigitCNN, training: DigitSet, held_out: DigitSet, seed: int
) -> Iterator[str | OODDetector]:
    """What is being done, in words for people, every second or three, and the OODDetector last.

    network: in evaluation mode, on any device; it is left alone. training, held_out: the run's.
    Takes 45 s of processor time and 300 MB for 10,000 images and more, a second or two for a few
    hundred.
    The same seed gives the same result on the CPU with the same number of threads.
    """
    random = np.random.default_rng([seed, 1])
    generator = torch.Generator().manual_seed(seed)
    twin = network.inference_copy()
    yield "learning what is no digit: drawing"
    images, targets = _examples(training, random)
    sample = torch.randperm(len(images), generator=generator)[:CHUNK]
    head = _Head(_maps(twin, images[sample]), len(images), generator)
    for number in range(1, ROUNDS + 1):
        order = torch.randperm(len(images), generator=generator)
        for start, chosen in zip(range(0, len(images), CHUNK), order.split(CHUNK), strict=True):
            yield (
                f"learning what is no digit: round {number} of {ROUNDS}, "
                f"{start:,} of {len(images):,} drawings"
            )
            changed = _changed(images[chosen], targets[chosen], generator)
            head.learn(_maps(twin, changed), targets[chosen])
    yield "learning what is no digit: choosing the threshold"
    framed = from_images(held_out.images)
    seen = _maps(twin, framed[framed.flatten(1).amax(1) > 0])
    yield with_threshold(head.tensors(), seen)


def with_threshold(tensors: dict[str, Tensor], held_out: Tensor) -> OODDetector:
    """The head's tensors with the threshold at which PASS_SHARE of held-out images pass.

    held_out: their maps [N, 3136]. Of fewer than a hundred all pass.
    """
    every = OODDetector({**tensors, "threshold": torch.tensor(-math.inf)})
    scores = torch.cat([every.scores(part) for part in held_out.split(CHUNK)]).sort().values
    refused = math.floor(round((1 - PASS_SHARE) * len(scores), 6))
    # Halfway down to the next score, so that rounding refuses nobody who passes here.
    pair = scores[max(refused - 1, 0) : refused + 1]
    threshold = pair.mean() if refused else pair.sum() - 0.01
    return OODDetector({**tensors, "threshold": threshold.clone()})


def _examples(training: DigitSet, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Digits and non-digits, uint8 [N, 28, 28], and what they are, int64 [N], 10 for no digit."""
    share = min(1.0, PER_IMAGE * len(training) / DIGITS)
    count, drawn, others = (math.ceil(share * most) for most in (DIGITS, DRAWN, NON_DIGITS))
    places = torch.from_numpy(random.permutation(len(training)))
    chosen = places.repeat(math.ceil(count / len(places)))[:count]
    written, labels = _written(drawn, random)
    none = non_digits.draw(training, others, random)
    images = torch.cat([frame_mnist(training.images[chosen]), written, none])
    targets = torch.cat([training.labels[chosen].long(), labels, torch.full((len(none),), CLASSES)])
    return images, targets


def _written(count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """About ``count`` digits in every form and any hand: uint8 [N, 28, 28], int64 [N].

    Rare forms as often as common ones: a form that is missing here would be refused later.
    """
    counts = random.multinomial(count, [1 / len(FORMS)] * len(FORMS))
    drawn, labels = [], []
    for form, each in zip(FORMS.values(), counts, strict=True):
        if each:
            drawn.append(torch.from_numpy(write(form.strokes, ANY_HAND, int(each), random)))
            labels.append(torch.full((int(each),), form.digit))
    return torch.cat(drawn), torch.cat(labels)


def _changed(images: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """Changed copies of examples, digits further than the others: as ``change``."""
    changed = torch.empty(images.shape)
    is_digit = targets < CLASSES
    for those, how in ((is_digit, OF_DIGITS), (~is_digit, OF_OTHERS)):
        if bool(those.any()):  # the last few may be of one kind
            changed[those] = change(images[those], how, generator)
    return changed


def change(images: Tensor, how: Change, generator: torch.Generator) -> Tensor:
    """Changed copies of images in random order: uint8 [N, 28, 28] -> float32, 0 to 255.

    Turned, slanted, bent as a whole (Simard et al. 2003), some thicker, some cut to their box, some
    coarser, the darkest pixel of each as dark as ink is, the greys darker or lighter, some framed
    as every drawing is.
    """
    count = len(images)
    draw = torch.randn(count, 5, generator=generator)
    angle = draw[:, 0] * math.radians(how.rotation)
    shear = draw[:, 1] * how.shear
    zoom = torch.exp(draw[:, 2] * how.scale)
    maps = affine_maps(angle, shear, zoom, how.shift * draw[:, 3:])
    pixels = images.unsqueeze(1).float()
    grid = functional.affine_grid(maps, list(pixels.shape), align_corners=False)
    coarse = torch.randn(count, 2, 4, 4, generator=generator) * (2 * how.bend / SIDE)
    bends = functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
    pixels = functional.grid_sample(pixels, grid + bends.permute(0, 2, 3, 1), align_corners=False)
    pick = torch.rand(4, count, generator=generator)
    shares = (how.thick, how.boxed, how.coarse, how.framed)
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
    power = torch.exp(how.contrast * torch.randn(count, 1, 1, generator=generator))
    pixels = 255 * ink**power
    pixels[framed] = from_images(pixels[framed].round().byte()).float()
    return pixels


def _boxed(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Images [N, 1, 28, 28], 0 to 255, as forms are scanned: cut to the box around their ink, that
    box stretched toward a square and centred, its longer side 19 to 21 pixels.

    Fainter ink at the edge is cut off with the paper, so that strokes end bluntly there.
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
    slender = size.amax(1, keepdim=True) / size
    stretch = (slender ** (draw[1] / 2)[:, None]).clamp(max=BOX_STRETCH)
    step = slender * size / ((19 + 2 * draw[2])[:, None] * stretch)
    middle = (low + high) / SIDE - 1
    matrices = torch.cat([torch.diag_embed(step), middle[:, :, None]], 2)
    return warp(pixels, matrices)


@torch.inference_mode()
def _maps(twin: DigitCNN, images: Tensor) -> Tensor:
    """The last maps, float16 [N, 3136] on the CPU, for images [N, 28, 28] from 0 to 255."""
    device = twin.output.weight.device
    maps = torch.empty(len(images), MAPS, dtype=torch.float16)
    for start in range(0, len(images), 100):
        part = slice(start, start + 100)
        maps[part] = twin.maps(twin.prepare(images[part].to(device))).half()
    return maps


class _Head:
    """The head while it learns: maps [N, 3136] -> eleven logits.

    Maps are divided by their overall deviation, so that one learning rate suits every network.
    maps: some of those to come. examples: how many a round has.
    """

    def __init__(self, maps: Tensor, examples: int, generator: torch.Generator) -> None:
        self.generator = generator
        self.scale = 1 / max(float(maps.float().std()), 1e-6)
        self.hidden = nn.utils.skip_init(nn.Linear, MAPS, HIDDEN)
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

    def learn(self, maps: Tensor, targets: Tensor) -> None:
        """Learn from each of them once, in batches. targets: int64 [N], 10 for no digit."""
        for inputs, wanted in zip(maps.split(BATCH), targets.split(BATCH), strict=True):
            inputs = inputs.float().mul_(self.scale)
            logits = self.output(self.dropout(self.hidden(inputs).relu()))
            loss = functional.cross_entropy(logits, wanted)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()

    def tensors(self) -> dict[str, Tensor]:
        """All but the threshold, in the types that ``TENSORS`` asks for."""
        found = {
            "hidden.weight": self.hidden.weight * self.scale,
            "hidden.bias": self.hidden.bias,
            "output.weight": self.output.weight,
            "output.bias": self.output.bias,
        }
        return {
            name: tensor.detach().to(getattr(torch, TENSORS[name].dtype))
            for name, tensor in found.items()
        }
