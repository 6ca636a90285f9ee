from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from digitcnn.analysis.gap import waterfall
from digitcnn.analysis.metrics import gap
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.framing import frame_mnist
from digitcnn.errors import DigitSetError


class Reader:
    """Stands in for a network.

    Right where the ink spans 20 pixels, as in MNIST framing, and the image's index is not a
    multiple of ten.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, digits: DigitSet) -> Predictions:
        self.asked.append(digits.name)
        inked = digits.images > 60
        spans = torch.maximum(inked.any(1).sum(1), inked.any(2).sum(1))
        answers = digits.labels.long().clone()
        answers[spans < 17] = (answers[spans < 17] + 1) % 10
        answers[::10] = (digits.labels[::10].long() + 1) % 10
        return Predictions(
            digits.name, digits.split, digits.fingerprint, "", torch.eye(10)[answers], None,
            digits.labels,
        )  # fmt: skip


def shrunk(digits: DigitSet) -> DigitSet:
    """The same digits at half their size."""
    small = torch.nn.functional.avg_pool2d(digits.images[:, None].float(), 2)[:, 0]
    images = torch.zeros_like(digits.images)
    images[:, 7:21, 7:21] = small.to(torch.uint8)
    return replace(digits, images=images, name="shrunk", split="test")


@pytest.fixture
def sets(drawn: DigitSet) -> tuple[DigitSet, DigitSet, DigitSet]:
    """Reference, other and training set; every digit of another writer."""
    framed = replace(drawn, images=frame_mnist(drawn.images))
    reference = replace(framed.take(slice(0, 100)), split="test")
    return reference, shrunk(drawn.take(slice(100, 200))), framed.take(slice(200, 480))


def test_the_parts_add_up_to_the_whole_gap_in_their_fixed_order(
    sets: tuple[DigitSet, DigitSet, DigitSet],
) -> None:
    reader = Reader()
    found = waterfall(reader, *sets)
    assert found.total == gap(found.reference, found.as_is)
    assert found.total.points == pytest.approx(
        found.framing + found.near_duplicates + found.remains.points
    )
    assert found.as_is.accuracy < 0.2
    assert found.framing > 60
    assert found.framed.digits == "shrunk (MNIST framing)"
    assert found.without_duplicates.n == 100 - found.duplicates
    assert reader.asked == ["shrunk (MNIST framing)", "synthetic", "shrunk"]


def test_near_duplicates_are_left_out_and_may_hide_a_part_of_the_gap(
    sets: tuple[DigitSet, DigitSet, DigitSet],
) -> None:
    reference, other, training = sets
    # Half of the other set are training images, which the reader answers rightly.
    mixed = replace(other, images=torch.cat([other.images[:50], training.images[:50]]))
    found = waterfall(Reader(), reference, mixed, training)
    assert 45 <= found.duplicates <= 60
    before = waterfall(Reader(), reference, other, training).duplicates
    assert found.duplicates > before + 30
    assert found.near_duplicates == pytest.approx(
        100 * (found.without_duplicates.accuracy - found.framed.accuracy)
    )


def test_a_set_of_near_duplicates_alone_leaves_nothing_to_compare(
    sets: tuple[DigitSet, DigitSet, DigitSet],
) -> None:
    reference, _, training = sets
    same = replace(training.take(slice(0, 20)), name="copies", split="test")
    with pytest.raises(DigitSetError, match="Every image of copies is a near duplicate"):
        waterfall(Reader(), reference, same, training)


def test_the_search_for_near_duplicates_reports_its_progress(
    sets: tuple[DigitSet, DigitSet, DigitSet],
) -> None:
    steps: list[tuple[int, int]] = []
    waterfall(Reader(), *sets, progress=lambda *step: steps.append(step))
    assert steps[-1] == (100, 100)
