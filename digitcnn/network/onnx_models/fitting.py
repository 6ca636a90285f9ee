"""Find out how an ONNX model takes digits: its input's layout and scaling, by reading some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import joined
from digitcnn.network.onnx_models.checks import CheckedModel, checked
from digitcnn.network.onnx_models.layouts import layouts
from digitcnn.network.onnx_models.model import (
    OnnxClassifier,
    OnnxForm,
    are_probabilities,
    as_logits,
)
from digitcnn.network.onnx_models.processes import Program, Workers
from digitcnn.network.reader import InvalidCheckpoint, shown
from digitcnn.network.rebuild.decision import (
    DOUBTFUL,
    MIN_ACCURACY,
    Outcome,
    Score,
    decide,
    likelihoods_of,
    most_accurate_first,
)
from digitcnn.network.rebuild.guesses import input_cost, inputs
from digitcnn.network.rebuild.recipe import InputForm
from digitcnn.network.rebuild.words import images_of, input_words, share_read

# Images at once where a model takes any number of them.
BATCH = 32
FEW, MANY, LEAST = 80, 1000, 24
FINALISTS = 4
# How many times as much two guesses may cost that these do not tell apart.
MORE = 2
# What the few and the many images may cost in all, about in multiplications: a second of one core.
WORK = 15e9


@dataclass(frozen=True)
class InputGuess:
    """One way to bring an image into the input."""

    form: InputForm

    @property
    def cost(self) -> float:
        """How unusual it is, as ``Score.fit`` counts it."""
        return input_cost(self.form) + 0.1 * self.form.resized


@dataclass(frozen=True, eq=False)
class Opened:
    """A model that reads digits. verdict: what it is, without a full stop."""

    classifier: OnnxClassifier
    verdict: str


def open_onnx(
    data: bytes, digits: Callable[[], DigitSet], workers: Workers, form: OnnxForm | None = None
) -> Opened:
    """Check an ONNX file, start it, and find out how it takes digits.

    digits: gives what guesses are scored on; training or generated images, never a test set.
    form: how this file was found to take them before.
    Raises InvalidCheckpoint, saying what it is instead or what it takes.
    """
    model = checked(data)
    if form is not None:
        program = Program(model, form.layout)
        classifier = OnnxClassifier(program, form, workers.cost(program), workers)
        return Opened(classifier, describe(model))
    scored_on = digits()
    classifier = _started(model, scored_on.images[:4], workers)
    outcome, is_finite = _outcome(classifier, scored_on)
    where = images_of(scored_on, outcome.images)
    if not is_finite:
        raise InvalidCheckpoint(
            f"is an {describe(model)}, and gives NaN or infinite numbers for digits; choose "
            "another model"
        )
    if outcome.accuracy < MIN_ACCURACY:
        raise InvalidCheckpoint(
            f"is an {describe(model)}, which reads at best {100 * outcome.accuracy:.1f}% of "
            f"{where} under every usual scaling, so it is not a digit classifier; choose another"
        )
    words = [joined(input_words(outcome.best.guess.form))]
    if outcome.runner_up is not None and not outcome.accepted:
        words.append(joined(input_words(outcome.runner_up.guess.form)))
        raise InvalidCheckpoint(
            f"is an {describe(model)}, but {' and '.join(words)} read {where} equally well with "
            "different predictions; build the scaling into the model"
        )
    chosen = classifier.with_form(input=outcome.best.guess.form)
    chosen = chosen.with_form(probabilities=are_probabilities(chosen.scores(scored_on.images[:24])))
    gives = "probabilities" if chosen.form.probabilities else "logits"
    verdict = (
        f"{describe(model)}; {words[0]} inferred ({share_read(outcome, scored_on)}), gives {gives}"
    )
    if outcome.runner_up is not None and outcome.is_close:
        verdict += (
            f"; runner-up with the same answer for {100 * outcome.agreement:.1f}% of the images: "
            f"{joined(input_words(outcome.runner_up.guess.form))}"
        )
    return Opened(chosen, verdict)


def describe(model: CheckedModel) -> str:
    """A model in a few words: ``ONNX model: 2 Conv, 2 MatMul, 5,994 parameters``."""
    shown_first = ("Conv", "QLinearConv", "ConvInteger", "Gemm", "MatMul", "QLinearMatMul", "LSTM")
    counts = [f"{model.operators[name]} {name}" for name in shown_first if name in model.operators]
    counts = counts or [f"{sum(model.operators.values())} operations"]
    return f"ONNX model: {', '.join(counts)}, {model.parameters:,} parameters"


def _started(model: CheckedModel, images: Tensor, workers: Workers) -> OnnxClassifier:
    """Return the model with the first layout and output that give ten numbers for each image."""
    found = layouts(model.input.shape)
    if not found:
        assert model.input.shape is not None
        sides = "x".join("any" if side is None else str(side) for side in model.input.shape)
        raise InvalidCheckpoint(
            f"is an {describe(model)}, which takes {shown(sides)} numbers; digitcnn's images are "
            "28x28, in one channel"
        )
    reason: InvalidCheckpoint | None = None
    for layout in found:
        program = Program(model, layout)
        try:
            return _trial(program, images, workers)
        except InvalidCheckpoint as error:
            workers.forget(program.number)
            reason = reason or error
    assert reason is not None
    raise reason


def _trial(program: Program, images: Tensor, workers: Workers) -> OnnxClassifier:
    """Return the model with the first output that has ten numbers for each image."""
    layout, cost = program.layout, workers.cost(program)
    # Where it takes any number of images: first one by one.
    batch = 1 if layout.batch == 0 else layout.batch or 0
    reason: InvalidCheckpoint | None = None
    for output in program.model.outputs:
        form = OnnxForm(layout, batch, next(layout.forms()), output.name, False)
        try:
            alone = OnnxClassifier(program, form, cost, workers)
            scores = alone.scores(images)
        except InvalidCheckpoint as error:
            reason = reason or error
            continue
        if layout.batch == 0 and _is_same_in_batches(alone, scores, images):
            return alone.with_form(batch=BATCH)
        return alone
    assert reason is not None
    raise reason


def _is_same_in_batches(alone: OnnxClassifier, scores: Tensor, images: Tensor) -> bool:
    """Whether a model that declares any number of images takes several, one by one."""
    try:
        together = alone.with_form(batch=BATCH).scores(images)
    except InvalidCheckpoint:
        return False
    return torch.allclose(together, scores, rtol=1e-3, atol=1e-4, equal_nan=True)


def _outcome(classifier: OnnxClassifier, digits: DigitSet) -> tuple[Outcome[InputGuess], bool]:
    """Score the ways to scale and turn images. Also returns whether the best is finite."""
    labels = digits.labels[: MORE * MANY].long()
    finite: dict[InputGuess, bool] = {}

    def score(guess: InputGuess, n: int) -> Score[InputGuess]:
        scores = classifier.with_form(input=guess.form).scores(digits.images[:n])
        finite[guess] = bool(torch.isfinite(scores).all())
        logits = as_logits(scores) if are_probabilities(scores) else scores
        return Score(guess, *likelihoods_of(logits, labels[: len(scores)]), 0.0)

    def best(guesses: list[InputGuess], most: int, work: float = WORK) -> list[Score[InputGuess]]:
        n = max(LEAST, min(most, int(work / (len(guesses) * classifier.cost))))
        return sorted((score(guess, n) for guess in guesses), key=lambda each: -each.fit(n))

    def guesses(turned: bool) -> list[InputGuess]:
        bases = classifier.form.layout.forms()
        return [InputGuess(form) for base in bases for form in inputs(base, turned)]

    few = best(guesses(turned=False), FEW)
    if few[0].accuracy(labels) < DOUBTFUL:
        few = best(guesses(turned=True), FEW)
    last = best([each.guess for each in few[:FINALISTS]], MANY)
    outcome = decide(most_accurate_first(last, labels), labels)
    if outcome.runner_up is not None and outcome.accuracy >= MIN_ACCURACY and not outcome.is_clear:
        two = best([outcome.best.guess, outcome.runner_up.guess], MORE * MANY, MORE * WORK)
        rest = [each for each in last if each.guess not in {one.guess for one in two}]
        outcome = decide(most_accurate_first([*two, *rest], labels), labels)
    return outcome, finite[outcome.best.guess]
