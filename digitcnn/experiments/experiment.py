"""The parts of an experiment, which is data without code. ``catalogue`` has one file for each.

Imports nothing heavy, so that ``experiment list`` answers at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from digitcnn.digits.names import SEPARATOR
from digitcnn.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the recipes that an experiment compares; it is trained once for each seed.

    label: a noun phrase, as in "1,000 images". settings: of TrainingConfig, where they differ from
    its defaults. changes: of the training images, as ``digits.training_images`` names them.
    """

    label: str
    settings: Mapping[str, Any]
    changes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class TestImages:
    """The test images that arms are compared on: of the test split of the set trained on.

    label: a phrase, as in "shifted digits"; empty for the images as they are. shift: pixels that
    each image is moved along both axes, in one of the four diagonal directions. digit: only images
    of this digit; the outcome then lists what the arms predict for them.
    """

    label: str = ""
    shift: int = 0
    digit: int | None = None


@dataclass(frozen=True)
class Question:
    """Whether arm ``a`` is more accurate than arm ``b``, by their labels. test: a test's label."""

    a: str
    b: str
    test: str = ""


@dataclass(frozen=True)
class Choice:
    """A prediction that people may make.

    below: it comes true where the first question's difference, in percentage points, is below this
    and not below the limit of the choice before it.
    """

    text: str
    below: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question with the trainings that answer it, and the words around them.

    name: as on the command line. question: what it asks. procedure: what is done.
    predict, choices: what people predict before, and two or three predictions, in ascending order.
    images: of the training file, a twelfth of them held out. arms: one, whose seeds are compared
    with each other, or several. seeds: of each arm, at least two. tests: at least one. questions:
    the first gives the verdict; none for a single arm.
    training_curve: whether the chart shows the accuracy on the training images too.
    label_errors: of an arm with wrong labels; its models look for them.
    why: the explanation. next_steps: what to try. discussion: questions for a class.

    Raises ValueError for parts that do not fit together.
    """

    name: str
    question: str
    procedure: str
    predict: str
    choices: Sequence[Choice]
    images: int
    arms: Sequence[Arm]
    seeds: int
    tests: Sequence[TestImages] = (TestImages(),)
    questions: Sequence[Question] = ()
    training_curve: bool = False
    label_errors: str = ""
    why: str
    next_steps: str
    discussion: Sequence[str] = ()

    def __post_init__(self) -> None:
        limits = [choice.below for choice in self.choices]
        if not 2 <= len(limits) <= 3 or limits != sorted(set(limits)) or limits[-1] != math.inf:
            raise ValueError(f"{self.name} needs two or three choices with ascending limits.")
        if self.seeds < 2 or not self.tests:
            raise ValueError(f"{self.name} needs two seeds and a test.")
        labels = {arm.label for arm in self.arms}
        tests = {test.label for test in self.tests}
        if len(labels) != len(self.arms) or len(tests) != len(self.tests):
            raise ValueError(f"{self.name} has two arms or two tests of one label.")
        if bool(self.questions) == (len(self.arms) == 1):
            raise ValueError(f"{self.name} needs questions for several arms, and none for one.")
        named = {label for one in self.questions for label in (one.a, one.b)}
        named |= {self.label_errors} - {""}
        if not named <= labels or not {one.test for one in self.questions} <= tests:
            raise ValueError(f"{self.name} names an arm or a test that it does not have.")
        for arm in self.arms:
            self.config(arm, "mnist", 0)

    def config(self, arm: Arm, digits: str, seed: int) -> TrainingConfig:
        """Return the settings of one training. Raises ConfigError for settings out of range."""
        name = self.training_images(digits, arm.changes)
        return TrainingConfig(**{**arm.settings, "digits": name, "seed": seed})

    def training_images(self, digits: str, changes: Sequence[str] = ()) -> str:
        """Return the name of the images to train on, a part of a set with some changes."""
        return SEPARATOR.join([digits, str(self.images), *changes])

    def outcome(self, points: float) -> int:
        """Return the place of the choice that comes true for a difference in percentage points."""
        return next(place for place, one in enumerate(self.choices) if points < one.below)

    def trainings(self, seed: int) -> list[tuple[Arm, int]]:
        """Return arm and seed of each training, in their order. seed: the first of each arm."""
        return list(itertools.product(self.arms, range(seed, seed + self.seeds)))
