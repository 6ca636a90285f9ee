"""Fine-tuning on feedback: a copy of a model is trained on sketches and saved if it is good.

Half of each visitor's sketches is trained on, mixed with the original training images; the other
half and the held-out images decide whether the result is saved. Test sets are evaluated after the
decision.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from digitcnn.analysis.calibration import fit_temperature
from digitcnn.analysis.comparison import compare
from digitcnn.analysis.metrics import evaluate
from digitcnn.analysis.predictions import Predictions, predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.framing import frame_emnist
from digitcnn.digits.names import listed, set_names
from digitcnn.errors import DigitSetError
from digitcnn.intervals import accuracy_text
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.details import Details
from digitcnn.network.device import Compute
from digitcnn.network.filenames import safe_filename, save_under_free_name
from digitcnn.network.model import Network
from digitcnn.network.ood import shipped_detector
from digitcnn.network.original_images import original_images
from digitcnn.training.background import StoppedError, StopSignal
from digitcnn.training.events import Phase, StepProgress
from digitcnn.training.finetune_training import (
    FEEDBACK,
    FineTuningConfig,
    Sketches,
    check_sketches,
    fine_tune_network,
)
from digitcnn.training.post_training import other_test_set
from digitcnn.training.run_record import FINISHED, versions

_SUFFIX = "-hand-"
# A few random labels cannot be learned, and yet do not lower the held-out accuracy measurably. A
# model that gets less than this share of the other half right has learned nothing.
MIN_RIGHT = 0.5
# The most that held-out images may lose, in percentage points, with 97.5% certainty.
MAX_LOSS = 0.3


@dataclass(frozen=True)
class FineTuningEnd:
    """The fine-tuning ended.

    state: finished, stopped or interrupted. base: name of the model that was fine-tuned.
    checkpoint: the new file, None where none was saved.
    rows: both models compared, test sets last; empty when stopped before that.
    """

    state: str
    message: str
    base: str
    checkpoint: Path | None = None
    rows: tuple[ComparisonRow, ...] = ()

    @property
    def saved(self) -> bool:
        """Return whether the fine-tuned model was saved as a checkpoint."""
        return self.checkpoint is not None


@dataclass(frozen=True)
class ComparisonRow:
    """Both models on the same images, before and after fine-tuning.

    title: of the images. decides: whether the row counts for the decision.
    before, after: accuracies, as fractions of ``n`` images. difference: after minus before, with
    its paired 95% interval from low to high, in percentage points (Newcombe's, see
    ``intervals.newcombe_paired_difference``).
    """

    title: str
    decides: bool
    n: int
    before: float
    after: float
    difference: float
    low: float
    high: float


def objections(feedback: ComparisonRow, held_out: Sequence[ComparisonRow]) -> list[str]:
    """Return the objections to the fine-tuned model, in words; without any, it is saved.

    feedback: the other half of the feedback; the model must not be worse on it, and right on
    MIN_RIGHT of it. held_out: the held-out images in each framing; the lower end of each paired
    interval must be above -MAX_LOSS.
    """
    reasons = []
    after = accuracy_text(feedback.after, feedback.n)
    if feedback.after < MIN_RIGHT:
        reasons.append(
            f"even after fine-tuning it gets only {after} of the other half of the feedback right "
            "(check the labels)"
        )
    if feedback.after < feedback.before:
        reasons.append(
            f"on the other half of the feedback it gets {after} right, and the old model "
            f"{accuracy_text(feedback.before, feedback.n)}"
        )
    reasons += [
        f"on {row.title} it may have lost {-row.low:.2f} points (difference "
        f"{row.difference:+.2f}, 95% interval {row.low:+.2f} to {row.high:+.2f}), more than the "
        f"limit of {MAX_LOSS}"
        for row in held_out
        if not row.low > -MAX_LOSS
    ]
    return reasons


FineTuningEvent = StepProgress | Phase | FineTuningEnd


def fine_tune(
    base: Checkpoint,
    sketches: Sketches,
    *,
    catalog: Catalog,
    checkpoints: Path,
    compute: Compute,
    stop: StopSignal,
    config: FineTuningConfig = FineTuningConfig(),  # noqa: B008
) -> Iterator[FineTuningEvent]:
    """Fine-tune a copy of ``base`` and decide whether to save it; the last event is FineTuningEnd.

    checkpoints: the folder for the new file; nothing else is written.
    Raises a DigitCNNError where there are too few sketches, the original images are missing, the
    loss is no longer finite or the file cannot be written.
    """
    learning, testing = check_sketches(sketches)
    yield Phase(f"loading {listed(base.details.digits or '')}")
    images = original_images(base, catalog)
    training, held_out = images.training, images.held_out
    networks = [copy.deepcopy(base.network) for _ in ("before", "after")]
    compare_on = partial(_compare_on, networks, stop=stop)
    try:
        yield from fine_tune_network(networks[1], training, learning, config, compute, stop.is_set)
        stop.check()
        yield Phase("testing on the other half of the feedback and on held-out images")
        for network in networks:
            network.to(compute.device)
        # In their own framing, and in the framing of other collections.
        title = f"{listed(held_out.name)} held-out"
        framed = dataclasses.replace(held_out, images=frame_emnist(held_out.images))
        _, feedback = compare_on(f"{FEEDBACK}, other half", testing.as_digit_set())
        after, plain = compare_on(title, held_out)
        _, emnist = compare_on(f"{title} in EMNIST framing", framed)
    except StoppedError:
        message = f"{stop.reason.capitalize()}; nothing was saved."
        yield FineTuningEnd(stop.reason, message, base.name)
        return
    against = objections(feedback, [plain, emnist])
    # Decided; what follows is for the record.
    temperature = fit_temperature(after.logits, after.labels)
    rows, problem = [feedback, plain, emnist], ""
    metrics = {"held_out": evaluate(after, temperature).to_json()}
    for name in (*set_names(training.name), other_test_set(training.name)):
        if stop.is_set():
            break
        entry = catalog.entry(name, "test")
        if not entry.present and entry.problem is None:
            continue
        yield Phase(f"evaluating {name}")
        try:
            digit_set = catalog.open(name, "test")
            after, row = compare_on(digit_set.title, digit_set, decides=False)
        except DigitSetError as error:
            problem = f" {error}"
            continue
        except StoppedError:
            break
        rows.append(row)
        metrics[name] = evaluate(after, temperature).to_json()
    if against:
        message = f"Not saved, because {', and '.join(against)}.{problem}"
        yield FineTuningEnd(FINISHED, message, base.name, rows=tuple(rows))
        return
    yield Phase("fitting the OOD detector's threshold")
    path = save_under_free_name(
        checkpoints,
        fine_tuned_names(base.name),
        networks[1].cpu(),
        _details(base, learning, config, metrics, temperature),
        shipped_detector().fitted(held_out.images),
    )
    visitors = len(set(learning.visitors))
    message = (
        f"Saved as {path.stem}, fine-tuned on {len(learning)} sketches of {visitors} "
        f"visitor{'s' * (visitors != 1)}: no worse on the other half of the feedback, and less "
        f"than {MAX_LOSS} points lost on held-out images.{problem}"
    )
    yield FineTuningEnd(FINISHED, message, base.name, path, tuple(rows))


def _compare_on(
    networks: Sequence[Network],
    title: str,
    digit_set: DigitSet,
    *,
    stop: StopSignal,
    decides: bool = True,
) -> tuple[Predictions, ComparisonRow]:
    """Return the new model's predictions, and both models compared. Raises StoppedError."""
    before, after = (
        predict(network, digit_set, keep_features=False, progress=stop.check)
        for network in networks
    )
    comparison = compare(("after", "before"), (after, before), (1.0, 1.0))
    pair, (new, old) = comparison.pair(0, 1), comparison.evaluations
    return after, ComparisonRow(
        title, decides, comparison.n, old.accuracy, new.accuracy, pair.difference, *pair.interval
    )


def _details(
    base: Checkpoint,
    learning: Sketches,
    config: FineTuningConfig,
    metrics: dict[str, Any],
    temperature: float,
) -> Details:
    origin = {
        "tuned_from": base.digest,
        "tuned_sketches": len(learning),
        "tuned_visitors": len(set(learning.visitors)),
        "tuned_epochs": config.epochs,
        "tuned_learning_rate": config.learning_rate,
        "tuned_share": config.share,
        "tuned_seed": config.seed,
    }
    return dataclasses.replace(
        base.details,
        config={**base.details.config, **origin},
        metrics=metrics,
        temperature=temperature,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        versions=versions(),
    )


def fine_tuned_names(base: str) -> Iterator[str]:
    """Yield ``<base>-hand-1`` and on; a fine-tuned model keeps its stem and gets the next number.

    base: any text, such as the name of a stranger's file.
    """
    stem = safe_filename(re.sub(rf"{_SUFFIX}\d+$", "", base), "model")
    yield from (f"{stem}{_SUFFIX}{number}" for number in itertools.count(1))
