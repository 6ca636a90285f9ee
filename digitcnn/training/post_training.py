"""What a run does once its checkpoint is written and it is marked finished.

The other digit set is scored, passes with dropout are made, the nine figures are drawn. Nothing of
it can take anything away from the run: killed in between, it is a finished run with fewer files,
and ``python -m digitcnn figures`` and ``stability`` make those at any time. One forward pass per
set serves metrics, passes and figures.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from digitcnn.analysis import figures
from digitcnn.analysis import metrics as metrics_of
from digitcnn.analysis.figures.stability import stability_text
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.metrics import Evaluation
from digitcnn.analysis.predictions import Predictions, predict
from digitcnn.analysis.stability import Stability, passes
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import DigitCNNError, DigitSetError
from digitcnn.files import write_json
from digitcnn.network.model import DigitCNN
from digitcnn.options import MASKS, usual_passes
from digitcnn.training.config import PostTrainingConfig
from digitcnn.training.runs import Run

STABILITY_FIGURE = "09_stability_test"


def other_set(digits: str) -> str:
    """The set of other writers that a network trained on ``digits`` is tested on besides."""
    return {"synthetic": "synthetic-other-writers", "emnist-digits": "mnist"}.get(
        digits, "emnist-digits"
    )


@dataclass(frozen=True, eq=False)
class Scored:
    """A network's answers to one digit set, and their numbers."""

    digit_set: DigitSet
    predictions: Predictions
    evaluation: Evaluation


def score(
    network: DigitCNN,
    digit_set: DigitSet,
    temperature: float,
    *,
    features: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Scored:
    """One forward pass and its numbers. features: whether passes will be made over them."""
    predictions = predict(network, digit_set, keep_features=features, progress=progress)
    return Scored(digit_set, predictions, metrics_of.evaluate(predictions, temperature))


@dataclass(frozen=True)
class PostTrainingResult:
    """How the closing went.

    metrics: of the other set by its name, as ``Evaluation.to_json``; empty where it is not here.
    stability: a sentence per kind of pass. problem: in sentences what is missing, or empty.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    stability: tuple[str, ...] = ()
    problem: str = ""


class PostTraining:
    """The closing of one run; ``steps`` does it.

    network: in evaluation mode and nobody else's; it ends up on the CPU. own: the training's test
    set, or its held-out images where it has none. history: a row per epoch.
    metrics: what metrics.json holds so far. stopped: whether to leave out the rest.
    """

    def __init__(
        self,
        run: Run,
        what: PostTrainingConfig,
        network: DigitCNN,
        own: Scored,
        *,
        catalog: Catalog,
        trained_on: str,
        temperature: float,
        history: Sequence[Mapping[str, Any]],
        metrics: Mapping[str, Any],
        stopped: Callable[[], bool],
    ) -> None:
        self.run, self.what, self.network = run, what, network
        self.catalog, self.trained_on, self.temperature = catalog, trained_on, temperature
        self.history, self.metrics, self.stopped = history, metrics, stopped
        self.scored = [own]
        self.closed = PostTrainingResult()

    def steps(self) -> Iterator[str | PostTrainingResult]:
        """Yield each phase as text, and the PostTrainingResult last. Never raises an Exception:
        the run is finished whatever happens here."""
        try:
            yield from self._score_other_set()
            stabilities: list[Stability] = []
            if self.what.stability:
                yield from self._make_passes(stabilities)
            if self.what.figures:
                yield from self._draw(stabilities)
        except _StoppedError:
            self._tell("The rest of its figures and passes was left out: it was stopped.")
        except Exception as error:
            # The disk that fails this may fail the log as well; the sentence still goes out.
            with contextlib.suppress(OSError):
                self.run.log_error(error)
            self._tell(_sentence(error))
        yield self.closed

    def _score_other_set(self) -> Iterator[str]:
        own = self.catalog.entry(self.trained_on, "test")
        if own.problem is not None:
            self._tell(own.problem)
        name = other_set(self.trained_on)
        entry = self.catalog.entry(name, "test")
        if not entry.present and entry.problem is None:
            return
        yield f"scoring {name}"
        try:
            digit_set = self.catalog.open(name, "test")
        except DigitSetError as error:
            # Figures and passes of the run's own set need not suffer from it.
            self._tell(f"Nothing was made of {name}: {error}")
            return
        other = score(
            self.network,
            digit_set,
            self.temperature,
            features=self.what.stability,
            progress=self._go_on,
        )
        self.scored.append(other)
        metrics = {name: other.evaluation.to_json()}
        self.run.write_metrics({**self.metrics, **metrics})
        self._change(metrics=metrics)

    def _make_passes(self, stabilities: list[Stability]) -> Iterator[str]:
        """Both kinds over the last set, as in the ninth figure and in the command's files."""
        count = self.what.passes or usual_passes(len(self.history))
        for masks in MASKS:
            yield f"making {count} passes with dropout, {masks} masks"
            for step in passes(
                self.network,
                self.scored[-1].predictions,
                count,
                masks=masks,
                temperature=self.temperature,
            ):
                self._go_on()
                if isinstance(step, Stability):
                    stabilities.append(step)
        write_json(
            self.run.folder / "stability.json",
            {found.masks: stability_record(found) for found in stabilities},
        )
        texts = tuple(stability_text(found) for found in stabilities)
        for text in texts:
            self.run.log(text)
        self._change(stability=texts)

    def _draw(self, stabilities: Sequence[Stability]) -> Iterator[str]:
        findings = Findings(
            model=self.run.name,
            classifier=self.network.cpu(),
            digit_sets=[scored.digit_set for scored in self.scored],
            predictions=[scored.predictions for scored in self.scored],
            evaluations=[scored.evaluation for scored in self.scored],
            stabilities=stabilities,
            temperature=self.temperature,
            history=self.history,
            trained_on=self.trained_on,
        )
        names = [name for name in figures.NAMES if stabilities or name != STABILITY_FIGURE]
        for number, name in enumerate(names, 1):
            self._go_on()
            yield f"drawing figures, {number} of {len(names)}"
            figures.save(name, findings, self.run.folder / "figures")

    def _go_on(self, *_: int) -> None:
        """Called often; ends the closing where somebody asked for it."""
        if self.stopped():
            raise _StoppedError

    def _tell(self, problem: str) -> None:
        self._change(problem=f"{self.closed.problem} {problem}".lstrip())

    def _change(self, **changes: Any) -> None:
        self.closed = dataclasses.replace(self.closed, **changes)


def stability_record(found: Stability) -> dict[str, Any]:
    """What ``stability.json`` says of one kind of pass: the command's numbers and what of."""
    return {
        "digits": found.digits,
        "split": found.split,
        "n": found.n,
        **found.to_json(),
        "chance": found.chance,
        "bound": found.bound,
        "flipped": found.flipped,
        "verdict": found.verdict or None,
    }


class _StoppedError(Exception):
    """Somebody asked for the end of the run."""


def _sentence(error: Exception) -> str:
    what = "Not all of its figures and passes could be made"
    if isinstance(error, DigitCNNError):
        return f"{what}: {error}"
    if isinstance(error, OSError):
        return f"{what} ({error.strerror or error}); free space or choose another folder."
    return f"{what} (an unexpected {type(error).__name__}); its report is in the run's log.txt."
