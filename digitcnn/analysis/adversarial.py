"""Find the smallest change of an image that changes its prediction, and compare it with noise.

Projected gradient descent in the Euclidean norm (Madry et al. 2018, arXiv 1706.06083), at several
radii at once; the smallest successful change is then shortened along its own line. Sizes are
Euclidean norms of the change, where one pixel from paper to full ink has size 1. Changed images
stay within paper and ink, and have whole pixel values, as files have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.intervals import wilson_interval
from digitcnn.network.classifier import Classifier, require

# An MNIST digit's ink has a norm of about 9; a change of 6 draws another digit.
RADII = tuple(0.25 * 24 ** (step / 11) for step in range(12))
STEPS = 12
# Places of the line from the image to the changed one.
PLACES = 21
# Random changes of the same size, for contrast.
TRIES = 20
# Radii of the curve of a model as a whole.
CURVE_RADII = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_ROWS = 64  # images that are attacked together


@dataclass(frozen=True, eq=False)
class SmallestChange:
    """The smallest change found that changes the prediction, and random ones of the same size.

    answer, broken: the digits predicted before and after. size: of the change. images: uint8
    [PLACES, 28, 28], evenly from the image to the changed one. logits: float32 [PLACES, 10].
    noise_images, noise_logits: the same for a random change. noise_changed: how many of TRIES
    random changes of this size change the prediction.
    """

    answer: int
    broken: int
    size: float
    images: Tensor
    logits: Tensor
    noise_images: Tensor
    noise_logits: Tensor
    noise_changed: int


def smallest_change(
    classifier: Classifier, image: Tensor, *, seed: int = 0
) -> SmallestChange | None:
    """Search for the smallest change of ``image``, uint8 [28, 28], that changes the prediction.

    Returns None where no change up to the largest radius does. seed: of the random changes.
    classifier: its ``inference_copy`` needs half the time. Raises CapabilityError for one without
    gradients.
    """
    require(classifier, "gradients", "Break it cannot be used")
    ink = image.float()
    with torch.inference_mode():
        answer = int(classifier.logits(image[None])[0].argmax())
    radii = torch.tensor(RADII)
    changes = attack(
        classifier, ink.expand(len(radii), -1, -1), torch.full((len(radii),), answer), radii
    )
    with torch.inference_mode():
        found = classifier.logits((ink + changes).round()).argmax(1) != answer
        if not bool(found.any()):
            return None
        change = changes[int(found.nonzero()[0])]
        lines = torch.linspace(0, 1, _ROWS + 1)[1:, None, None] * change
        changed = classifier.logits((ink + lines).round()).argmax(1) != answer
        # The line's end changes the prediction, as found above.
        change = (ink + lines[int(changed.nonzero()[0])]).round() - ink
        size = float(change.norm()) / 255
        images, logits = _line(classifier, ink, change)
        noise = _noise(ink, size, seed)
        noise_answers = classifier.logits((ink + noise).round()).argmax(1)
        noise_images, noise_logits = _line(classifier, ink, noise[0])
    return SmallestChange(
        answer=answer,
        broken=int(logits[-1].argmax()),
        size=size,
        images=images,
        logits=logits,
        noise_images=noise_images,
        noise_logits=noise_logits,
        noise_changed=int((noise_answers != answer).sum()),
    )


def attack(
    classifier: Classifier, images: Tensor, answers: Tensor, radii: Tensor, *, steps: int = STEPS
) -> Tensor:
    """Return changes, float32 [N, 28, 28], that lower the answers' lead within their radii.

    images: [N, 28, 28] from 0 to 255. answers: int64 [N], the digits to leave. radii: float32 [N].
    The first change that succeeds is returned where there is one, else the last.
    """
    inks = images.float()
    reach = 255 * radii[:, None, None]
    rows = torch.arange(len(inks))
    change = torch.zeros_like(inks)
    result, broken = change, torch.zeros(len(inks), dtype=torch.bool)
    for _ in range(steps):
        moved = (inks + change).requires_grad_()
        logits = classifier.logits(moved)
        others = logits.clone()
        others[rows, answers] = -torch.inf
        lead = logits[rows, answers] - others.amax(1)
        (gradient,) = torch.autograd.grad(lead.sum(), moved)
        # Towards paper where there is none, and ink where it is full, there is no way.
        blocked = ((moved <= 0) & (gradient > 0)) | ((moved >= 255) & (gradient < 0))
        gradient = torch.where(blocked, 0.0, gradient)
        step = gradient / _norms(gradient).clamp(min=1e-12)
        change = change - (2.5 / steps) * reach * step
        change = change * (reach / _norms(change).clamp(min=1e-12)).clamp(max=1)
        change = (inks + change).clamp(0, 255) - inks
        with torch.inference_mode():
            changed = classifier.logits((inks + change).round()).argmax(1) != answers
        result = torch.where(broken[:, None, None], result, change)
        broken = broken | changed
        if bool(broken.all()):
            break
    return result.detach()


@dataclass(frozen=True)
class AttackPoint:
    """The accuracy, with its 95% interval, where each image may change by at most ``radius``."""

    radius: float
    accuracy: float
    low: float
    high: float


def accuracy_under_attack(
    classifier: Classifier,
    digits: DigitSet,
    radii: Sequence[float] = CURVE_RADII,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[AttackPoint]:
    """Yield the accuracy for each radius, ascending, on all of ``digits``.

    An image counts as right while no change found so far, of this radius or a smaller one, changes
    a right prediction; a stronger search may find more, so these are upper bounds. Ends early once
    ``stopped``. classifier: its ``inference_copy`` needs half the time. Raises CapabilityError for
    one without gradients.
    """
    require(classifier, "gradients", "it cannot be attacked")
    labels = digits.labels.long()
    right = (
        torch.cat([classifier.logits(rows).argmax(1) for rows in digits.images.split(_ROWS)])
        == labels
    )
    for radius in radii:
        for rows in right.nonzero().flatten().split(_ROWS):
            if stopped():
                return
            images, answers = digits.images[rows].float(), labels[rows]
            changes = attack(classifier, images, answers, torch.full((len(rows),), radius))
            with torch.inference_mode():
                right[rows] = classifier.logits((images + changes).round()).argmax(1) == answers
        correct = int(right.sum())
        yield AttackPoint(radius, correct / len(labels), *wilson_interval(correct, len(labels)))


def _line(classifier: Classifier, ink: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    shares = torch.linspace(0, 1, PLACES)[:, None, None]
    images = (ink + shares * change).round().clamp(0, 255).to(torch.uint8)
    return images, classifier.logits(images)


def _noise(ink: Tensor, size: float, seed: int) -> Tensor:
    """Return TRIES random changes of this size that stay within paper and ink: [TRIES, 28, 28]."""
    draws = torch.randn(TRIES, *ink.shape, generator=torch.Generator().manual_seed(seed))
    scale = torch.full((TRIES, 1, 1), 255 * size / ink.numel() ** 0.5)
    for _ in range(8):
        change = (ink + scale * draws).clamp(0, 255) - ink
        # What paper and ink cut off is made up for by the rest.
        scale = scale * (255 * size / _norms(change).clamp(min=1e-12))
    return change


def _norms(changes: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(changes, dim=(1, 2), keepdim=True)
    return norms
