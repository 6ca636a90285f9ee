"""Find small changes of images that change their predictions, and compare them with noise.

Projected gradient descent in the Euclidean norm (Madry et al. 2018, arXiv 1706.06083), at several
radii at once; the smallest successful change is then shortened along its own line. Sizes are
Euclidean norms of the change, where one pixel from paper to full ink has size 1. Changed images
stay within paper and ink, and have whole pixel values, as files have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.network.classifier import Classifier, require
from digitcnn.shared_cache import Progress, unwatched

# An MNIST digit's ink has a norm of about 9; a change of 6 is enough to draw another.
RADII = tuple(0.25 * 24 ** (step / 7) for step in range(8))
STEPS = 12
# For one image, while a person draws: changes are 4% larger than with 12 radii and 12 steps.
QUICK_STEPS = 10
# Images on the line from the original to the changed one, both included.
PLACES = 21
# Random changes of the same size, for contrast.
TRIES = 20
# Sizes of change for a model as a whole.
CURVE_SIZES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_ROWS = 64  # images that are attacked together


@dataclass(frozen=True, eq=False)
class SmallestChange:
    """The smallest change found that changes the prediction, and random ones of the same size.

    predicted, broken: the digits predicted before and after. size: of the change. images: uint8
    [PLACES, 28, 28], evenly from the image to the changed one. logits: float32 [PLACES, 10].
    noise_images, noise_logits: the same for a random change. noise_changed: how many of TRIES
    random changes of this size change the prediction.
    """

    predicted: int
    broken: int
    size: float
    images: Tensor
    logits: Tensor
    noise_images: Tensor
    noise_logits: Tensor
    noise_changed: int


def smallest_change(classifier: Classifier, image: Tensor) -> SmallestChange | None:
    """Search for the smallest change of ``image``, uint8 [28, 28], that changes the prediction.

    Returns None where no change up to the largest radius does. classifier: its ``inference_copy``
    needs half the time. Raises CapabilityError for one without gradients.
    """
    require(classifier, "gradients", "Break it cannot be used")
    ink = image.float()
    with torch.inference_mode():
        predicted = int(classifier.logits(image[None])[0].argmax())
    radii = torch.tensor(RADII)
    changes = attack(
        classifier,
        ink.expand(len(radii), -1, -1),
        torch.full((len(radii),), predicted),
        radii,
        steps=QUICK_STEPS,
    )
    with torch.inference_mode():
        successful = classifier.logits((ink + changes).round()).argmax(1) != predicted
        if not bool(successful.any()):
            return None
        change = changes[int(successful.nonzero()[0])]
        start, end = 0.0, 1.0
        for _ in range(2):  # to an eighth of the change, then to a 64th
            shares = torch.linspace(start, end, 9)
            moved = ink + shares[1:, None, None] * change
            changed = classifier.logits(moved.round()).argmax(1) != predicted
            changed[-1] = True  # as checked above
            first = int(changed.nonzero()[0])
            start, end = shares[first : first + 2].tolist()
        change = (ink + end * change).round() - ink
        size = float(change.norm()) / 255
        images, logits = _line(classifier, ink, change)
        noise = _noise(ink.expand(TRIES, -1, -1), size, seed=0)
        noise_predicted = classifier.logits((ink + noise).round()).argmax(1)
        noise_images, noise_logits = _line(classifier, ink, noise[0])
    return SmallestChange(
        predicted=predicted,
        broken=int(logits[-1].argmax()),
        size=size,
        images=images,
        logits=logits,
        noise_images=noise_images,
        noise_logits=noise_logits,
        noise_changed=int((noise_predicted != predicted).sum()),
    )


def attack(
    classifier: Classifier, images: Tensor, digits: Tensor, radii: Tensor, *, steps: int = STEPS
) -> Tensor:
    """Return changes, float32 [N, 28, 28], that lower the digits' lead within their radii.

    images: [N, 28, 28] from 0 to 255. digits: int64 [N], to move away from. radii: float32 [N].
    The first change that succeeds is returned where there is one, else the last.
    """
    inks = images.float()
    reach = 255 * radii[:, None, None]
    changes = torch.zeros_like(inks)
    left = torch.arange(len(inks), device=inks.device)  # whose predictions have not changed yet
    for _ in range(steps):
        # A change has to work in whole pixel values.
        moved = (inks[left] + changes[left]).round().requires_grad_()
        logits = classifier.logits(moved)
        unchanged = logits.argmax(1) == digits[left]
        if not bool(unchanged.any()):
            break
        own = functional.one_hot(digits[left], CLASSES).bool()
        lead = logits[own] - logits.masked_fill(own, -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad(lead.sum(), moved)
        left, moved, gradient = left[unchanged], moved[unchanged], gradient[unchanged]
        # Paper cannot get lighter, and full ink cannot get darker.
        blocked = ((moved <= 0) & (gradient > 0)) | ((moved >= 255) & (gradient < 0))
        gradient = torch.where(blocked, 0.0, gradient)
        step = gradient / _norms(gradient).clamp(min=1e-12)
        change = changes[left] - (2.5 / steps) * reach[left] * step
        change = change * (reach[left] / _norms(change).clamp(min=1e-12)).clamp(max=1)
        changes[left] = (inks[left] + change).clamp(0, 255) - inks[left]
    return changes


@dataclass(frozen=True)
class AttackCurve:
    """How many of ``n`` images are classified correctly after changes of each of ``sizes``.

    sizes: ascending, 0 first. attacked: each image under the worst change found of at most this
    size. noise: each image under one random change of this size. ink: the mean norm of the images,
    in the unit of the sizes.
    """

    sizes: tuple[float, ...]
    attacked: tuple[int, ...]
    noise: tuple[int, ...]
    n: int
    ink: float


def accuracy_under_attack(
    classifier: Classifier,
    digits: DigitSet,
    sizes: Sequence[float] = CURVE_SIZES,
    *,
    progress: Progress = unwatched,
) -> AttackCurve:
    """Attack every image of ``digits`` with changes of at most each of ``sizes``, ascending.

    An image counts as wrong from the first size at which a change makes its prediction wrong. A
    stronger search may find more, so the counts are upper bounds. progress: called with images done
    and images in all, each counted once per size; what it raises ends the attack. Raises
    CapabilityError for a classifier without gradients.
    """
    require(classifier, "gradients", "it cannot be attacked")
    device, network = classifier.device, classifier.inference_copy()
    images, labels = digits.images.to(device), digits.labels.long().to(device)
    right = _right(network, images, labels)
    attacked, noise = [int(right.sum())], [int(right.sum())]
    for place, size in enumerate(sizes, 1):
        for part in torch.arange(len(labels), device=device).split(_ROWS):
            rows = part[right[part]]
            if len(rows) > 0:
                inks, own = images[rows].float(), labels[rows]
                radii = torch.full((len(rows),), size, device=device)
                changes = attack(network, inks, own, radii)
                right[rows] = _right(network, inks + changes, own)
            progress((place - 1) * len(labels) + int(part[-1]) + 1, len(sizes) * len(labels))
        noisy = images + _noise(digits.images.float(), size, seed=place).to(device)
        attacked.append(int(right.sum()))
        noise.append(int(_right(network, noisy, labels).sum()))
    ink = float(_norms(digits.images.float()).mean()) / 255
    return AttackCurve((0.0, *sizes), tuple(attacked), tuple(noise), len(labels), ink)


@torch.no_grad()
def _right(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Whether each image, rounded to whole pixel values, is classified correctly: bool [N]."""
    parts = [classifier.logits(rows.float().round()).argmax(1) for rows in images.split(_ROWS)]
    return torch.cat(parts) == labels


def _line(classifier: Classifier, ink: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    shares = torch.linspace(0, 1, PLACES)[:, None, None]
    images = (ink + shares * change).round().clamp(0, 255).to(torch.uint8)
    return images, classifier.logits(images)


def _noise(inks: Tensor, size: float, seed: int) -> Tensor:
    """Return a random change of this size for each image, within paper and ink: [N, 28, 28]."""
    draws = torch.randn(inks.shape, generator=torch.Generator().manual_seed(seed))
    scale = torch.full((len(inks), 1, 1), 255 * size / inks[0].numel() ** 0.5)
    for _ in range(8):
        change = (inks + scale * draws).clamp(0, 255) - inks
        # The other pixels make up for what clamping cut off.
        scale = scale * (255 * size / _norms(change).clamp(min=1e-12))
    return change


def _norms(changes: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(changes, dim=(1, 2), keepdim=True)
    return norms
