"""The outcome of an experiment: accuracies, differences, curves, images and sentences.

Plain values, so that a file holds exactly what the page and the command line show.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TypedDict

import torch
from torch import Tensor

from digitcnn.analysis.comparison import compare
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import CLASSES, DigitSet
from digitcnn.experiments.experiment import Experiment, Question, TestImages
from digitcnn.experiments.measuring import (
    Estimate,
    accuracy,
    detectable_between_single_runs,
    difference,
)
from digitcnn.training.events import EpochResult

# Images shown of those that only one of two recipes gets right.
MOST_TILES = 6

# Arm and seed of a training.
Key = tuple[str, int]


class Point(TypedDict):
    """A point of an arm's curve, over its seeds. share: of the training that is done, 0 to 1."""

    share: float
    epoch: int
    held_out: float
    held_out_low: float
    held_out_high: float
    training: float


class _Bounds(TypedDict, total=False):
    """Both ends of an arm's intervals, by test; absent from outcomes of earlier versions."""

    bounds: list[tuple[float, float]]


class ArmOutcome(_Bounds):
    """An arm's accuracies by test, with their interval as text, and its curve."""

    label: str
    accuracies: list[str]
    means: list[float]
    curve: list[Point]


class RunOutcome(TypedDict):
    """One training. accuracy: on the first test."""

    run: str
    arm: str
    seed: int
    checkpoint: str
    digest: str
    accuracy: float


class Tile(TypedDict):
    """A test image that two sides classify differently. pixels: base64 of uint8 [28, 28]."""

    pixels: str
    label: int
    a: int
    b: int


class Outcome(TypedDict):
    """The outcome of a finished experiment; accuracies and differences are fractions.

    verdict, difference, low, high: the answer to the first question. tests: titles. a, b: the two
    sides of the first question. only_a, only_b: images that one of them gets right more often.
    findings: the answers to further questions, and other results, a sentence each.
    """

    verdict: str
    difference: float
    low: float
    high: float
    tests: list[str]
    arms: list[ArmOutcome]
    runs: list[RunOutcome]
    a: str
    b: str
    only_a: list[Tile]
    only_b: list[Tile]
    findings: list[str]


@dataclass(frozen=True, eq=False)
class Tested:
    """One model's predictions for the images of one test.

    title: of the images, for people. images: uint8 [N, 28, 28].
    """

    title: str
    images: Tensor
    predictions: Predictions
    temperature: float


def curve(histories: Sequence[Sequence[EpochResult]], epochs: int) -> list[Point]:
    """Return the mean curve of one arm's trainings so far, with lowest and highest accuracy."""
    points: list[Point] = []
    for rows in zip(*histories, strict=False):
        held_out = [row.accuracy for row in rows]
        points.append(
            {
                "share": rows[0].epoch / epochs,
                "epoch": rows[0].epoch,
                "held_out": fmean(held_out),
                "held_out_low": min(held_out),
                "held_out_high": max(held_out),
                "training": fmean(row.training_accuracy for row in rows),
            }
        )
    return points


def conclude(
    experiment: Experiment,
    runs: Sequence[RunOutcome],
    tested: Mapping[Key, Sequence[Tested]],
    histories: Mapping[Key, Sequence[EpochResult]],
    findings: Sequence[str],
) -> Outcome:
    """Return the outcome of an experiment whose trainings all finished.

    tested: by training, one per test in the experiment's order.
    """
    results = _Results(experiment, tested)
    answer = results.between_arms() if experiment.questions else results.among_seeds()
    return {
        "verdict": answer.sentences[0],
        "difference": answer.estimate.mean,
        "low": answer.estimate.low,
        "high": answer.estimate.high,
        "tests": results.titles,
        "arms": [results.arm(label, histories) for label in results.labels],
        "runs": list(runs),
        "a": answer.a,
        "b": answer.b,
        "only_a": answer.tiles(1),
        "only_b": answer.tiles(-1),
        "findings": [*answer.sentences[1:], *results.predicted_digits(), *findings],
    }


@dataclass(frozen=True, eq=False)
class _Answer:
    """The answers in sentences, the first with its difference, and the two sides that it is about.

    a, b: names of the sides, for people. of_a, of_b: their models, seed by seed.
    """

    sentences: Sequence[str]
    estimate: Estimate
    a: str
    b: str
    of_a: Sequence[Tested]
    of_b: Sequence[Tested]

    def tiles(self, sign: int) -> list[Tile]:
        """Return images that a (sign 1) or b (sign -1) gets right more often, clearest first."""
        lead = sign * (
            _right(self.of_a).double().mean(dim=0) - _right(self.of_b).double().mean(dim=0)
        )
        order = lead.argsort(descending=True, stable=True)[:MOST_TILES]
        return [self._tile(place) for place in order.tolist() if lead[place] > 0]

    def _tile(self, place: int) -> Tile:
        first = self.of_a[0]
        return {
            "pixels": base64.b64encode(first.images[place].contiguous().numpy().tobytes()).decode(),
            "label": int(first.predictions.labels[place]),
            "a": _usual(self.of_a, place),
            "b": _usual(self.of_b, place),
        }


class _Results:
    """The predictions of all trainings."""

    def __init__(self, experiment: Experiment, tested: Mapping[Key, Sequence[Tested]]) -> None:
        self.experiment, self.tested = experiment, tested
        self.labels = [arm.label for arm in experiment.arms]
        self.titles = [one.title for one in next(iter(tested.values()))]

    def models(self, label: str, test: int) -> list[Tested]:
        return [parts[test] for (arm, _), parts in self.tested.items() if arm == label]

    def arm(self, label: str, histories: Mapping[Key, Sequence[EpochResult]]) -> ArmOutcome:
        tests = range(len(self.titles))
        estimates = [accuracy(_right(self.models(label, test))) for test in tests]
        own = [rows for (arm, _), rows in histories.items() if arm == label]
        return {
            "label": label,
            "accuracies": [estimate.percent for estimate in estimates],
            "means": [estimate.mean for estimate in estimates],
            "bounds": [(estimate.low, estimate.high) for estimate in estimates],
            "curve": curve(own, max(len(rows) for rows in own)),
        }

    def between_arms(self) -> _Answer:
        """Answer the experiment's questions; the first one gives the verdict."""
        answers = [self._answer(question) for question in self.experiment.questions]
        sentences = [answer.sentences[0] for answer in answers]
        return replace(answers[0], sentences=sentences)

    def _answer(self, question: Question) -> _Answer:
        test = [test.label for test in self.experiment.tests].index(question.test)
        of_a, of_b = self.models(question.a, test), self.models(question.b, test)
        right_a, right_b = _right(of_a), _right(of_b)
        estimate = difference(right_a, right_b)
        images = f"{right_a.shape[1]:,} {self.titles[test]}"
        ahead = (right_a.double() - right_b.double()).mean(dim=1).tolist()
        sentence = verdict(question.a, question.b, images, estimate, ahead)
        return _Answer([sentence], estimate, question.a, question.b, of_a, of_b)

    def among_seeds(self) -> _Answer:
        """Compare the best and the worst model of the only arm on the first test."""
        models = self.models(self.labels[0], 0)
        names = [f"seed {seed}" for _, seed in self.tested]
        comparison = compare(
            names, [one.predictions for one in models], [one.temperature for one in models]
        )
        accuracies = [one.accuracy for one in comparison.evaluations]
        best, worst = accuracies.index(max(accuracies)), accuracies.index(min(accuracies))
        if best == worst:
            worst = (best + 1) % len(names)
        pair = comparison.pair(min(best, worst), max(best, worst))
        sign = 1 if pair.a == best else -1
        low, high = sorted(sign * end / 100 for end in pair.interval)
        estimate = Estimate(sign * pair.difference / 100, low, high)
        limit = 100 * detectable_between_single_runs(accuracies)
        sentences = [
            f"Of {len(names)} trainings of one recipe, the best ({names[best]}, "
            f"{100 * max(accuracies):.2f}%) and the worst ({names[worst]}, "
            f"{100 * min(accuracies):.2f}%) differ by {estimate.points} on "
            f"{len(models[0].images):,} {self.titles[0]}, and it is luck: only the seed differs.",
            f"The standard deviation is {100 * stdev(accuracies):.2f} points, so two single runs "
            f"must differ by more than {limit:.2f} points before anything but the seed is a likely "
            "cause.",
        ]
        sides = (names[best], names[worst], [models[best]], [models[worst]])
        return _Answer(sentences, estimate, *sides)

    def predicted_digits(self) -> list[str]:
        """Say what each arm predicts for the images of each test of a single digit."""
        return [
            _predicted_text(label, test.digit, self.models(label, place))
            for place, test in enumerate(self.experiment.tests)
            if test.digit is not None
            for label in self.labels
        ]


def _right(models: Sequence[Tested]) -> Tensor:
    """Return whether each model's predictions are right: bool [K, N]."""
    return torch.stack([one.predictions.right for one in models])


def verdict(a: str, b: str, images: str, estimate: Estimate, ahead: Sequence[float]) -> str:
    """Answer a question. ahead: by how much ``a`` is more accurate with each seed, fractions."""
    measured = f"{estimate.points} on {images}, over {len(ahead)} seeds"
    if estimate.low > 0:
        return f"{_capital(a)}: more accurate than {b}, {measured}."
    if estimate.high < 0:
        return f"{_capital(a)}: less accurate than {b}, {measured}."
    wins = sum(value > 0 for value in ahead)
    if wins not in (0, len(ahead)):
        seen = f"{_capital(a)} was more accurate than {b} with {wins} of {len(ahead)} seeds"
        return f"{seen}, so no difference can be shown: {measured}."
    word = "more" if wins else "less"
    least, most = (100 * value for value in sorted((min(ahead), max(ahead)), key=abs))
    return (
        f"{_capital(a)} was {word} accurate than {b} with every seed, by {abs(least):.2f} to "
        f"{abs(most):.2f} points, but {len(ahead)} seeds are too few to rule out luck: {measured}."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _usual(models: Sequence[Tested], place: int) -> int:
    """Return the digit that most of the models predict for an image."""
    predicted = torch.stack([one.predictions.predicted[place] for one in models])
    return int(predicted.mode().values)


def _predicted_text(label: str, digit: int, models: Sequence[Tested]) -> str:
    predicted = torch.cat([one.predictions.predicted for one in models])
    confidence = torch.cat(
        [one.predictions.probabilities(one.temperature).max(dim=1).values for one in models]
    )
    shares = torch.bincount(predicted, minlength=CLASSES) / max(1, len(predicted))
    usual = [(int(i), float(shares[i])) for i in shares.argsort(descending=True)[:3]]
    named = ", ".join(f"{i} ({100 * share:.0f}%)" for i, share in usual if share >= 0.005)
    return (
        f"Trained on {label}: the {digit}s are predicted as {named}; mean confidence "
        f"{100 * float(confidence.mean()):.0f}%."
    )


def test_images(
    digit_set: DigitSet, test: TestImages, predictions: Predictions, temperature: float
) -> Tested:
    """Return the part of a test split that a test is about; the images are shifted already."""
    title = f"{digit_set.title} images{f', {test.label}' if test.label else ''}"
    chosen = slice(None) if test.digit is None else digit_set.labels == test.digit
    return Tested(title, digit_set.images[chosen], predictions.take(chosen), temperature)
