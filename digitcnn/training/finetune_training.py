"""The training part of fine-tuning: labelled sketches, and batches that mix them with other images.

One half of the sketches is trained on; the other tests the result.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from digitcnn.digits.augment import Augmentation
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import FeedbackError, TrainingError
from digitcnn.network.device import Compute
from digitcnn.network.model import Network
from digitcnn.training.events import StepProgress
from digitcnn.training.step import WEIGHT_DECAY, ProgressMeter, TrainingStep

FEEDBACK = "feedback"

FEWEST_SKETCHES = 40
# A smaller other half could hardly show that a model became worse.
FEWEST_TESTED = 10


@dataclass(frozen=True, eq=False)
class Sketches:
    """Labelled sketches, oldest first.

    images: uint8 [N, 28, 28], as the network saw them. digits: uint8 [N], each 0 to 9.
    visitors: identifies who drew each.
    """

    images: Tensor
    digits: Tensor
    visitors: Sequence[str]

    def __len__(self) -> int:
        return len(self.visitors)

    def take(self, indices: Sequence[int]) -> Sketches:
        """Return the sketches at ``indices``, in that order."""
        chosen = torch.tensor(indices, dtype=torch.long)
        visitors = [self.visitors[index] for index in indices]
        return Sketches(self.images[chosen], self.digits[chosen], visitors)

    def as_digit_set(self) -> DigitSet:
        """Return the sketches as a test set."""
        return DigitSet(self.images, self.digits, FEEDBACK, "test")


def halves(sketches: Sketches) -> tuple[Sketches, Sketches]:
    """Split into the half to fine-tune on and the half to test on.

    Each visitor's sketches alternate between the two, oldest first: a visitor with one sketch is
    trained on only. A sketch that was sent twice, the same pixels, counts once, with its last
    label: it must not be in both halves.
    """
    latest = {
        (visitor, image.numpy().tobytes()): index
        for index, (visitor, image) in enumerate(
            zip(sketches.visitors, sketches.images, strict=True)
        )
    }
    learning: list[int] = []
    testing: list[int] = []
    counts: Counter[str] = Counter()
    for index in sorted(latest.values()):
        visitor = sketches.visitors[index]
        (testing if counts[visitor] % 2 else learning).append(index)
        counts[visitor] += 1
    return sketches.take(learning), sketches.take(testing)


def check_sketches(sketches: Sketches) -> tuple[Sketches, Sketches]:
    """Return the two halves. Raises FeedbackError where there are too few sketches."""
    if len(sketches) < FEWEST_SKETCHES:
        raise FeedbackError(
            f"There are {len(sketches)} labelled sketches, but fine-tuning needs "
            f"{FEWEST_SKETCHES}; draw and label more."
        )
    learning, testing = halves(sketches)
    if len(testing) < FEWEST_TESTED:
        raise FeedbackError(
            f"Only {len(testing)} sketches are left for testing, but {FEWEST_TESTED} are needed "
            "(each visitor's first is used for training, duplicates count once); draw more."
        )
    return learning, testing


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig:
    """The settings of a fine-tuning.

    The defaults were chosen by what the shipped model lost on the held-out images. With 90
    sketches the lower end of its interval came to -0.24 points, with twice the rate to -0.31, with
    three epochs of 12,000 to -0.30; with other sketches to -0.38, and with share 0.5 to -0.24.

    epochs: passes over ``originals`` images, drawn again for each. batch_size: images per step.
    sketch_share: the largest share of sketches in a batch; less where there are fewer.
    learning_rate: peak of the one-cycle schedule. seed: of order, augmentation and dropout.
    share: of the fine-tuned weights in the result, the rest being the old ones. A mixture keeps
    most of what was learned and loses little of what was known (Wortsman et al. 2022, Robust
    fine-tuning of zero-shot models, arXiv 2109.01903).
    """

    epochs: int = 2
    batch_size: int = 256
    sketch_share: float = 0.25
    learning_rate: float = 1e-3
    originals: int = 6_000
    seed: int = 0
    share: float = 0.5


def fine_tune_network(
    network: Network,
    training: DigitSet,
    sketches: Sketches,
    config: FineTuningConfig,
    compute: Compute,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[StepProgress]:
    """Fine-tune ``network`` in place; ends early, between two batches, once ``stopped``.

    network: not used elsewhere; it ends up on the CPU, in evaluation mode. Its batch-norm
    statistics stay as they were: there are too few sketches to estimate new ones, and so small a
    change hardly moves them. The same seed, sketches and threads give the same weights on the CPU.
    Raises TrainingError when the loss is no longer finite.
    """
    device = compute.device
    generator = torch.Generator(device).manual_seed(config.seed)
    network.to(device).to(memory_format=torch.channels_last).train().requires_grad_(True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    network.draw_dropout_from(generator)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    batches = MixedBatches(training, sketches, config, device, generator)
    steps = batches.steps_per_epoch * config.epochs
    training_step = TrainingStep(
        network=network,
        learner=network,
        optimizer=torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY),
        compute=compute,
        steps=steps,
        peak=config.learning_rate,
        augmentation=Augmentation(),
        generator=generator,
    )
    meter = ProgressMeter(config.epochs, batches.steps_per_epoch, config.batch_size)
    for step in range(steps):
        if stopped():
            break
        images, digits = batches.batch(step)
        logits = training_step.update(step, images, digits)
        progress = meter.add(functional.cross_entropy(logits, digits))
        if progress is not None:
            if not all(map(math.isfinite, progress.losses)):
                raise TrainingError(
                    f"The loss became {progress.losses[-1]} during fine-tuning; check the feedback "
                    "for wrong labels."
                )
            yield progress
    with torch.no_grad():
        torch._foreach_lerp_(list(network.parameters()), before, 1 - config.share)
    network.draw_dropout_from(None)
    network.cpu().eval().requires_grad_(False)


class MixedBatches:
    """Batches of original images and sketches, each in a random order of its own."""

    def __init__(
        self,
        training: DigitSet,
        sketches: Sketches,
        config: FineTuningConfig,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.images, self.labels = training.images.to(device), training.labels.to(device).long()
        self.sketches, self.digits = sketches.images.to(device), sketches.digits.to(device).long()
        # No sketch is in one batch twice.
        self.sketches_per_batch = min(
            round(config.batch_size * config.sketch_share), len(self.digits)
        )
        self.originals_per_batch = config.batch_size - self.sketches_per_batch
        self.steps_per_epoch = max(
            1, min(config.originals, len(self.images)) // self.originals_per_batch
        )
        self.generator = generator
        self.waiting = torch.empty(0, dtype=torch.long, device=device)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return images uint8 [B, 28, 28] and digits int64 [B], in random order."""
        within = step % self.steps_per_epoch
        if within == 0:
            self.order = self._shuffled(len(self.images))
        originals = self.order[
            within * self.originals_per_batch : (within + 1) * self.originals_per_batch
        ]
        sketches = self._next_sketches()
        mixed = self._shuffled(len(originals) + len(sketches))
        images = torch.cat((self.images[originals], self.sketches[sketches]))
        digits = torch.cat((self.labels[originals], self.digits[sketches]))
        return images[mixed], digits[mixed]

    def _next_sketches(self) -> Tensor:
        """Return the next sketches: all of them come once before any comes again."""
        if len(self.waiting) < self.sketches_per_batch:
            # The remainder waits for a later round, or one would be in a batch twice.
            self.waiting = self._shuffled(len(self.digits))
        chosen, self.waiting = self.waiting.tensor_split([self.sketches_per_batch])
        return chosen

    def _shuffled(self, n: int) -> Tensor:
        return torch.randperm(n, device=self.images.device, generator=self.generator)
