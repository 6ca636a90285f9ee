"""What a comparison says in sentences, for two models and for more."""

from __future__ import annotations

import torch

from digitcnn.analysis.comparison import Comparison, compare
from digitcnn.analysis.comparison_words import conclusion
from digitcnn.analysis.predictions import Predictions

IMAGES = 200


def comparison(**wrong: range) -> Comparison:
    """Models by name, each with the images that it gets wrong; equal ranges: the same model."""
    labels = torch.zeros(IMAGES, dtype=torch.uint8)
    predictions = []
    for places in wrong.values():
        logits = torch.zeros(IMAGES, 10)
        logits[:, 0] = 1
        logits[list(places), 1] = 2
        predictions.append(Predictions("usps", "test", "f" * 64, str(places), logits, None, labels))
    return compare(list(wrong), predictions, [1.0] * len(wrong))


def test_of_two_models_the_better_one_is_named_with_its_lead() -> None:
    found = comparison(a=range(50), b=range(10))
    (pair,) = found.pairs
    low, high = pair.interval
    assert conclusion(found) == [
        "b is better than a on USPS test images, by 20.00 points "
        f"(95% interval {-high:.2f} to {-low:.2f}; p < 0.001)."
    ]


def test_two_models_that_are_close_are_not_ranked() -> None:
    heading, how_close = conclusion(comparison(a=range(12), b=range(12, 22)))
    assert heading == "No difference can be shown between a and b on USPS test images."
    assert how_close.startswith("b is ahead of a by 1.00 points (95% interval -")
    assert how_close.endswith("cannot be detected on these 200 images.")
    heading, how_close = conclusion(comparison(a=range(12), b=range(12, 24)))
    assert heading == "No difference can be shown between a and b on USPS test images."
    assert how_close.startswith("a and b are right equally often; a difference below")


def test_one_model_twice_is_no_comparison() -> None:
    assert conclusion(comparison(a=range(5), b=range(5))) == ["a and b are the same model."]


def test_of_more_models_the_heading_ranks_and_says_who_is_not_told_apart() -> None:
    assert conclusion(
        comparison(a=range(60), b=range(10), c=range(3, 15), d=range(60), e=range(61))
    ) == [
        "b and c are each better than a, d and e on USPS test images, by 24.00 to 25.50 points; "
        "no difference can be shown between b and c.",
        "No difference can be shown between a, d and e.",
    ]
    assert conclusion(comparison(a=range(100), b=range(60), c=range(20))) == [
        "c is better than b and a on USPS test images, by 20.00 to 40.00 points.",
        "b is better than a on USPS test images, by 20.00 points.",
    ]
    # The middle one is told apart from neither.
    assert conclusion(comparison(a=range(10), b=range(4), c=range(0))) == [
        "c is better than a on USPS test images, by 5.00 points; no difference can be shown "
        "between c and b.",
        "No difference can be shown between b and a.",
    ]


def test_many_models_without_a_difference_are_counted() -> None:
    found = comparison(a=range(3), b=range(4), c=range(5), d=range(6))
    assert conclusion(found)[0] == (
        "No difference can be shown between these 4 models on USPS test images."
    )
