"""'Learn from feedback': a copy of a network is tuned on what visitors drew and kept if it is good.

Half of each visitor's sketches is learned from, mixed with the original training images; the other
half and the held-out images say whether the tuned network is kept. Test sets are answered after
that and decide nothing. Where the sketches come from is left to others: plain images, digits and
visitors come in.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import re
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from digitcnn.analysis.calibration import fit_temperature
from digitcnn.analysis.metrics import evaluate
from digitcnn.analysis.ood import fit_ood_detector
from digitcnn.analysis.predictions import Predictions, predict
from digitcnn.digits.augment import Augmentation, augment
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.digits.sketch import frame_emnist
from digitcnn.errors import (
    CheckpointError,
    ConfigError,
    DigitSetError,
    TrainingError,
)
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.device import Compute
from digitcnn.network.filenames import safe_filename, save_under_free_name
from digitcnn.network.model import DigitCNN
from digitcnn.network.ood import OODDetector
from digitcnn.training import runs
from digitcnn.training.config import learning_rate_at
from digitcnn.training.events import Phase, StepProgress
from digitcnn.training.finetune_verdict import LARGEST_LOSS, Row, objections, row
from digitcnn.training.loop import LABEL_SMOOTHING, REPORT_SECONDS, WEIGHT_DECAY
from digitcnn.training.post_training import other_set
from digitcnn.training.session import StopSignal
from digitcnn.training.sketches import FEEDBACK, Sketches, check_sketches

_SUFFIX = "-hand-"


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig:
    """How a copy is tuned.

    The defaults were chosen by what the shipped model lost on the held-out images. With 90
    sketches the lower end of its interval came to -0.24 points, with twice the rate to -0.31, with
    three epochs of 12,000 to -0.30; with other sketches to -0.38, and with share 0.5 to -0.24.

    epochs: passes over ``originals`` images drawn anew each time. batch_size: images per step.
    sketch_share: the most of a batch that is sketches; it is less where there are fewer.
    learning_rate: peak of the one-cycle schedule. seed: of order, augmentation and dropout.
    share: how much of the tuned weights is in the result, the rest being the old ones: in between
    the two is most of what was learned and little of what was lost (Wortsman et al. 2022, Robust
    fine-tuning of zero-shot models, arXiv 2109.01903).

    Raises ConfigError where nothing would be learned or mixed.
    """

    epochs: int = 2
    batch_size: int = 256
    sketch_share: float = 0.25
    learning_rate: float = 1e-3
    originals: int = 6_000
    seed: int = 0
    share: float = 0.5

    def __post_init__(self) -> None:
        drawn = round(self.batch_size * self.sketch_share)
        if min(self.epochs, self.originals, drawn) < 1 or not 0 < drawn < self.batch_size:
            raise ConfigError(
                f"A tuning of {self.epochs} epochs over {self.originals} images, {drawn} of "
                f"{self.batch_size} in a batch drawn, mixes nothing; take at least 1 of each."
            )
        if not self.learning_rate > 0 or not 0 < self.share <= 1:
            raise ConfigError(
                f"The learning rate of a tuning is {self.learning_rate}, its share {self.share}; "
                "take a rate above 0 and a share up to 1."
            )


def original_images(base: Checkpoint, catalog: Catalog) -> tuple[DigitSet, DigitSet]:
    """The images that a network was trained on, and the held-out images of that training.

    Raises CheckpointError for a network that does not say which they are, DigitSetError where they
    are not on this machine or others by now.
    """
    details = base.details
    if details.digits is None or "train" not in details.fingerprints:
        raise CheckpointError(
            f"{base.name} does not say which images it was trained on, so they cannot be mixed in; "
            "choose a model that was trained here."
        )
    wanted = details.config.get("train_images")
    training, held_out = split_held_out(
        catalog.open(details.digits, "train"), wanted if type(wanted) is int else None
    )
    for part, here in (("train", training), ("held_out", held_out)):
        if details.fingerprints.get(part, here.fingerprint) != here.fingerprint:
            raise DigitSetError(
                f"The training images of {details.digits} here are not those that {base.name} was "
                "trained on; restore them, or choose another model."
            )
    return training, held_out


@dataclass(frozen=True)
class FineTuningEnd:
    """How a tuning ended.

    state: finished, stopped or interrupted. kept: whether there is a new checkpoint.
    base: name of the network that was tuned. checkpoint: the new file, None where none was kept.
    rows: the verdict's figures, test sets last; empty where it was not reached.
    """

    state: str
    message: str
    base: str
    checkpoint: Path | None = None
    rows: tuple[Row, ...] = ()

    @property
    def kept(self) -> bool:
        return self.checkpoint is not None


Progress = StepProgress | Phase | FineTuningEnd


def fine_tune(
    base: Checkpoint,
    sketches: Sketches,
    *,
    catalog: Catalog,
    checkpoints: Path,
    compute: Compute,
    stop: StopSignal,
    settings: FineTuningConfig = FineTuningConfig(),
) -> Iterator[Progress]:
    """Tune a copy of ``base`` and judge it; the last item is FineTuningEnd.

    checkpoints: the folder that a kept network goes to, as a new file; nothing else is written.
    Raises a DigitCNNError where there are too few sketches, the original images are missing, the
    loss is no longer a number or the file cannot be written.
    """
    learned, judged = check_sketches(sketches)
    yield Phase(f"reading {base.details.digits}")
    training, held_out = original_images(base, catalog)
    session = FineTuningSession(base, learned, judged, held_out, catalog, compute, stop, settings)
    try:
        yield from session.steps(training, checkpoints)
    except _StoppedError:
        said = f"{stop.reason.capitalize()}; nothing was kept."
        yield FineTuningEnd(stop.reason, said, base.name)


def learn(
    network: DigitCNN,
    training: DigitSet,
    sketches: Sketches,
    settings: FineTuningConfig,
    compute: Compute,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[StepProgress]:
    """Tune ``network`` in place; ends early, between two batches, once ``stopped``.

    network: nobody else's; it ends up on the CPU, in evaluation mode. Its batch-norm statistics
    stay those of the original training: the sketches are too few to estimate any, and a step this
    small hardly moves them. The same seed, sketches and threads give the same weights on the CPU.
    Raises TrainingError when the loss is no longer a number.
    """
    device = compute.device
    generator = torch.Generator(device).manual_seed(settings.seed)
    network.to(device).to(memory_format=torch.channels_last).train().requires_grad_(True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    network.dropout.generator = generator
    before = [parameter.detach().clone() for parameter in network.parameters()]
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    mixer = Mixer(training, sketches, settings, device, generator)
    steps = mixer.steps_per_epoch * settings.epochs
    losses: list[Tensor] = []
    started = reported = time.monotonic()
    for step in range(steps):
        if stopped():
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, steps, settings.learning_rate)
        images, digits = mixer.batch(step)
        images = augment(images, Augmentation(), generator)
        with torch.autocast(device.type, compute.autocast, enabled=compute.autocast is not None):
            logits = network(network.prepare(images))
        logits = logits.float()
        objective = functional.cross_entropy(logits, digits, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
        losses.append(functional.cross_entropy(logits.detach(), digits))
        if step + 1 == steps or time.monotonic() - reported >= REPORT_SECONDS:
            values = torch.stack(losses).tolist()
            if not all(abs(value) < float("inf") for value in values):
                raise TrainingError(
                    f"The loss became {values[-1]} while tuning: the sketches or their digits are "
                    "unusable; look through the feedback."
                )
            per_step = (time.monotonic() - started) / (step + 1)
            yield StepProgress(
                epoch=step // mixer.steps_per_epoch + 1,
                epochs=settings.epochs,
                step=step + 1,
                steps=steps,
                losses=tuple(values),
                images_per_second=settings.batch_size / per_step,
                seconds_left=(steps - step - 1) * per_step,
            )
            losses, reported = [], time.monotonic()
    with torch.no_grad():
        torch._foreach_lerp_(list(network.parameters()), before, 1 - settings.share)
    network.dropout.generator = None
    network.cpu().eval().requires_grad_(False)


class Mixer:
    """Batches of original images and sketches, both in an order of their own."""

    def __init__(
        self,
        training: DigitSet,
        sketches: Sketches,
        settings: FineTuningConfig,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self.images, self.digits = training.images.to(device), training.labels.to(device).long()
        self.sketches, self.drawn = sketches.images.to(device), sketches.digits.to(device).long()
        # No sketch is twice in one batch.
        self.drawn_per_batch = min(
            round(settings.batch_size * settings.sketch_share), len(self.drawn)
        )
        self.original_per_batch = settings.batch_size - self.drawn_per_batch
        self.steps_per_epoch = max(
            1, min(settings.originals, len(self.images)) // self.original_per_batch
        )
        self.generator = generator
        self.waiting = torch.empty(0, dtype=torch.long, device=device)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images uint8 [B, 28, 28] and digits int64 [B], mixed: ``augment`` asks for that."""
        within = step % self.steps_per_epoch
        if within == 0:
            self.order = self._shuffled(len(self.images))
        original = self.order[
            within * self.original_per_batch : (within + 1) * self.original_per_batch
        ]
        drawn = self._next_sketches()
        mixed = self._shuffled(len(original) + len(drawn))
        images = torch.cat((self.images[original], self.sketches[drawn]))
        digits = torch.cat((self.digits[original], self.drawn[drawn]))
        return images[mixed], digits[mixed]

    def _next_sketches(self) -> Tensor:
        """All sketches come once before any comes again."""
        if len(self.waiting) < self.drawn_per_batch:
            # What is left over waits for another round, or one would be twice in a batch.
            self.waiting = self._shuffled(len(self.drawn))
        taken, self.waiting = self.waiting.tensor_split([self.drawn_per_batch])
        return taken

    def _shuffled(self, n: int) -> Tensor:
        return torch.randperm(n, device=self.images.device, generator=self.generator)


class FineTuningSession:
    """One tuning from its first answers to its end."""

    def __init__(
        self,
        base: Checkpoint,
        learned: Sketches,
        judged: Sketches,
        held_out: DigitSet,
        catalog: Catalog,
        compute: Compute,
        stop: StopSignal,
        settings: FineTuningConfig,
    ) -> None:
        self.base, self.settings = base, settings
        self.learned, self.judged = learned, judged.as_digit_set()
        # As they are, and in the framing that other collections have.
        framed = dataclasses.replace(held_out, images=frame_emnist(held_out.images))
        title = f"{held_out.name} held-out"
        self.held_out = {title: held_out, f"{title} in EMNIST framing": framed}
        self.catalog, self.compute, self.stop = catalog, compute, stop
        self.old = copy.deepcopy(base.network)
        self.new = copy.deepcopy(base.network)

    def steps(self, training: DigitSet, checkpoints: Path) -> Iterator[Progress]:
        yield from learn(
            self.new, training, self.learned, self.settings, self.compute, self.stop.is_set
        )
        self._go_on()
        yield Phase("judging on the other half of the feedback and on the held-out images")
        for network in (self.old, self.new):
            network.to(self.compute.device)
        _, _, judged = self._compared(f"{FEEDBACK}, other half", self.judged, decides=True)
        answers = [self._compared(*named, decides=True) for named in self.held_out.items()]
        held_out = [found for _, _, found in answers]
        against = objections(judged, held_out)
        # Decided; what follows is for the record.
        _, after, _ = answers[0]
        temperature = fit_temperature(after.logits, after.labels)
        rows, problem = [judged, *held_out], ""
        metrics = {"held_out": _metrics(after, temperature)}
        for name in (training.name, other_set(training.name)):
            if self.stop.is_set():
                break
            entry = self.catalog.entry(name, "test")
            if not entry.present and entry.problem is None:
                continue
            yield Phase(f"answering {name}")
            try:
                digit_set = self.catalog.open(name, "test")
                _, after, found = self._compared(f"{name} test", digit_set, decides=False)
            except DigitSetError as error:
                problem = f" {error}"
                continue
            except _StoppedError:
                break
            rows.append(found)
            metrics[name] = _metrics(after, temperature)
        self.old, self.new = self.old.cpu(), self.new.cpu()
        if against:
            said = f"Not kept, because {', and '.join(against)}.{problem}"
            yield FineTuningEnd(runs.FINISHED, said, self.base.name, rows=tuple(rows))
            return
        ood = yield from self._fit_ood_detector(training)
        if ood is None:
            problem += " What is no digit was not learned anew, so it refuses no drawing."
        path = self._keep(checkpoints, metrics, temperature, ood)
        said = (
            f"Kept as {path.stem}, tuned on {self._tuned_on()}: it is not worse on the other half "
            f"of the feedback, and on the held-out images it has not lost {LARGEST_LOSS} points."
        )
        yield FineTuningEnd(runs.FINISHED, said + problem, self.base.name, path, tuple(rows))

    def _compared(
        self, title: str, digit_set: DigitSet, *, decides: bool
    ) -> tuple[Predictions, Predictions, Row]:
        """The old network's answers, the new one's, and both side by side."""
        before, after = (
            predict(network, digit_set, keep_features=False, progress=self._go_on)
            for network in (self.old, self.new)
        )
        return before, after, row(title, before, after, decides=decides)

    def _go_on(self, *_: int) -> None:
        if self.stop.is_set():
            raise _StoppedError

    def _fit_ood_detector(self, training: DigitSet) -> Generator[Phase, None, OODDetector | None]:
        """What tells a digit from what is none, for the changed maps; None once stopped."""
        held_out = next(iter(self.held_out.values()))
        for step in fit_ood_detector(self.new, training, held_out, self.settings.seed):
            if isinstance(step, OODDetector):
                return step
            if self.stop.is_set():
                return None
            yield Phase(step)
        raise AssertionError("fit ends with the OODDetector")

    def _keep(
        self,
        folder: Path,
        metrics: dict[str, Any],
        temperature: float,
        ood: OODDetector | None,
    ) -> Path:
        details = dataclasses.replace(
            self.base.details,
            config={**self.base.details.config, **self._origin()},
            metrics=metrics,
            temperature=temperature,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            versions=runs.versions(),
        )
        names = hand_names(self.base.name)
        return save_under_free_name(folder, names, self.new, details, ood)

    def _origin(self) -> dict[str, Any]:
        """What the checkpoint says of the tuning, beside the settings of the first training."""
        return {
            "tuned_from": self.base.digest,
            "tuned_sketches": len(self.learned),
            "tuned_visitors": len(set(self.learned.visitors)),
            "tuned_epochs": self.settings.epochs,
            "tuned_learning_rate": self.settings.learning_rate,
            "tuned_share": self.settings.share,
            "tuned_seed": self.settings.seed,
        }

    def _tuned_on(self) -> str:
        sketches, visitors = len(self.learned), len(set(self.learned.visitors))
        return f"{sketches} sketches of {visitors} visitor{'s' * (visitors != 1)}"


def _metrics(predictions: Predictions, temperature: float) -> dict[str, Any]:
    return evaluate(predictions, temperature).to_json()


def hand_names(base: str) -> Iterator[str]:
    """``<base>-hand-1`` and on. A network that was tuned before keeps its name and gets the next
    number. base: from outside, perhaps."""
    stem = safe_filename(re.sub(rf"{_SUFFIX}\d+$", "", base), "model")
    yield from (f"{stem}{_SUFFIX}{number}" for number in itertools.count(1))


class _StoppedError(Exception):
    """Somebody asked for the end of the tuning."""
