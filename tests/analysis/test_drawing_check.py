"""The check of a network on the twenty drawings."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from digitcnn.analysis.drawing_check import check_drawings
from digitcnn.folders import SHIPPED_FILE
from digitcnn.network.checkpoint import Checkpoint, Details, load
from digitcnn.network.model import DigitCNN


def always(digit: int) -> Checkpoint:
    """A network that answers one digit, whatever is drawn."""
    network = DigitCNN(generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    network.output.bias[digit] = 1e3
    return Checkpoint(Details(), f"always-{digit}", "0" * 64, 0, held=network)


def test_the_shipped_model_passes_without_a_warning() -> None:
    found = check_drawings(load(SHIPPED_FILE))
    assert (found.warning, found.n) == ("", 20)


def test_a_failing_model_is_named_with_its_errors() -> None:
    found = check_drawings(always(7))
    assert len(found.wrong) == 18
    assert found.warning == (
        "always-7 misreads 18 of the 20 built-in test sketches (a 0 as 7, a 0 as 7, a 1 as 7 and "
        "15 more); choose another model, or train one on more images."
    )


@pytest.mark.parametrize(("wrong", "passed"), [(0, True), (4, True), (5, False)])
def test_a_few_errors_are_no_warning_but_part_of_the_score(wrong: int, passed: bool) -> None:
    found = check_drawings(always(8))
    some = dataclasses.replace(found, wrong=found.wrong[:wrong])
    assert bool(some.warning) is not passed
    assert some.score == f"reads {20 - wrong} of 20 test sketches"
