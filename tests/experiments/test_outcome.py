"""The sentences of an outcome."""

from __future__ import annotations

import pytest

from digitcnn.experiments.measuring import Estimate
from digitcnn.experiments.outcome import verdict


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (
            [0.17, 0.35, 0.86],
            "B was more accurate than c with every seed, by 17.00 to",
        ),
        (
            [-0.1, -0.9, -0.2],
            "B was less accurate than c with every seed, by 10.00 to",
        ),
        ([0.1, -0.1, 0.2], "B was more accurate than c with 2 of 3 seeds, so no difference can be"),
    ],
)
def test_a_verdict_without_proof_says_what_was_seen(ahead: list[float], expected: str) -> None:
    sentence = verdict("b", "c", "9 images", Estimate(sum(ahead) / 3, -0.5, 0.7), ahead)
    assert sentence.startswith(expected)
    assert "on 9 images, over 3 seeds" in sentence
