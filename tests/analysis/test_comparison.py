"""Paired comparisons against scipy and statsmodels, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from digitcnn.analysis.comparison import Comparison, Counts, compare, unique_names
from digitcnn.analysis.comparison_words import difference_text, p_text, verdict
from digitcnn.analysis.predictions import Predictions
from digitcnn.analysis.recipes import seeds_of_one_recipe, settings_side_by_side
from digitcnn.analysis.settings_text import setting_text
from digitcnn.analysis.significance import detectable_difference, holm, mcnemar
from digitcnn.errors import ConfigError
from digitcnn.network.details import Details
from digitcnn.training.config import TrainingConfig


def answering(answers: Sequence[int], labels: Sequence[int], digest: str = "") -> Predictions:
    """The predictions of a network with these answers; later images are answered more surely."""
    logits = torch.zeros(len(answers), 10)
    logits[range(len(answers)), list(answers)] = torch.arange(1, len(answers) + 1) / 10
    return Predictions(
        "small", "test", "f" * 64, digest, logits, None, torch.tensor(labels, dtype=torch.uint8)
    )


def with_counts(both: int, only_a: int, only_b: int, neither: int) -> Comparison:
    """The comparison of two networks on images of a 0, with answers that give these counts."""
    a = [0] * (both + only_a) + [1] * (only_b + neither)
    b = [0] * both + [1] * only_a + [0] * only_b + [1] * neither
    labels = [0] * len(a)
    found = [answering(a, labels, "a"), answering(b, labels, "b")]
    return compare(["first", "second"], found, [1.0, 1.0])


def test_a_pair_has_counts_and_the_better_model() -> None:
    found = with_counts(900, 5, 30, 65)
    (pair,) = found.pairs
    counted = (pair.both_right, pair.only_a_right, pair.only_b_right, pair.both_wrong)
    assert counted == (900, 5, 30, 65)
    assert pair.n == 1000
    assert pair.difference == pytest.approx(-2.5)
    assert pair.better == 1
    assert pair.p_holm == pair.p_value == mcnemar(5, 30)
    assert verdict(found, pair) == "second is better than first on small test images (p < 0.001)"
    assert found.among_the_best == (False, True)


def test_without_evidence_the_verdict_names_the_detectable_difference() -> None:
    found = with_counts(930, 12, 10, 48)
    (pair,) = found.pairs
    assert pair.better is None
    assert pair.detectable == pytest.approx(100 * detectable_difference(1000, 22))
    assert verdict(found, pair) == (
        "no difference can be shown: a difference below 1.31 points cannot be detected on these "
        "1,000 images"
    )
    assert found.among_the_best == (True, True)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((90, 0, 0, 10), "first and second get the same 90 of these 100 images right"),
        ((90, 1, 0, 9), "only one of first and second is right on just 1 of these 100 images"),
        ((90, 3, 2, 5), "only one of first and second is right on just 5 of these 100 images"),
    ],
)
def test_the_verdict_mentions_too_few_discordant_images(
    counts: tuple[int, int, int, int], words: str
) -> None:
    found = with_counts(*counts)
    text = verdict(found, found.pairs[0])
    assert text.startswith(f"no difference can be shown: {words}")


def test_the_same_network_twice_is_named_as_such() -> None:
    same = answering([0, 1], [0, 0], "d" * 64)
    found = compare(["a", "b"], [same, same], [1.0, 1.0])
    assert verdict(found, found.pairs[0]) == "a and b are the same model"


def test_holm_covers_all_pairs_and_only_the_significantly_worse_are_unmarked() -> None:
    labels = [0] * 200
    networks = [[0] * 199 + [1], [0] * 198 + [1] * 2, [0] * 150 + [1] * 50]
    found = compare("abc", [answering(answers, labels, str(answers)) for answers in networks],
                    [1.0] * 3)  # fmt: skip
    assert [(pair.a, pair.b) for pair in found.pairs] == [(0, 1), (0, 2), (1, 2)]
    assert [pair.p_holm for pair in found.pairs] == holm([pair.p_value for pair in found.pairs])
    assert found.among_the_best == (True, True, False)
    assert found.pair(1, 2) == found.pairs[2]
    assert verdict(found, found.pairs[1]).endswith("(p < 0.001, Holm-adjusted)")


def test_disagreements_come_with_the_surest_mistakes_first() -> None:
    labels = [0, 1, 2, 3, 4, 5]
    a = answering([0, 1, 2, 3, 0, 5], labels)
    b = answering([9, 1, 9, 9, 4, 9], labels)
    found = compare(["a", "b"], [a, b], [1.0, 0.5])
    assert found.only(0, 1).tolist() == [5, 3, 2, 0]
    assert found.only(1, 0).tolist() == [4]


def test_the_digits_add_up_to_the_pair() -> None:
    labels = [i % 9 for i in range(90)]
    generator = torch.Generator().manual_seed(5)
    answers = [torch.randint(10, (90,), generator=generator).tolist() for _ in range(2)]
    found = compare(["a", "b"], [answering(each, labels, str(each)) for each in answers], [1, 1])
    digits = found.per_digit(0, 1)
    pair = found.pairs[0]
    for name in ("both_right", "only_a_right", "only_b_right", "both_wrong"):
        assert sum(getattr(counts, name) for counts in digits) == getattr(pair, name)
    for digit in range(9):
        hits = [sum(x == y == digit for x, y in zip(each, labels, strict=True)) for each in answers]
        assert digits[digit].difference == pytest.approx(100 * (hits[0] - hits[1]) / 10)
    assert digits[9].n == 0
    assert math.isnan(digits[9].difference)
    assert difference_text(digits[9]) == "–"


@pytest.mark.parametrize("number", [0, 1, 9])
def test_fewer_than_two_or_more_than_eight_models_are_refused(number: int) -> None:
    same = answering([0], [0])
    with pytest.raises(ConfigError, match=f"Models chosen: {number}; choose 2 to 8"):
        compare([str(i) for i in range(number)], [same] * number, [1.0] * number)


def test_predictions_of_other_images_are_not_compared() -> None:
    a, b = answering([0], [0]), answering([0], [0])
    object.__setattr__(b, "fingerprint", "0" * 64)
    with pytest.raises(ValueError, match="the same images"):
        compare(["a", "b"], [a, b], [1.0, 1.0])


CONFIG = {"digits": "small", "epochs": 2, "learning_rate": 0.01, "seed": 0}


def said(seed: int, **changes: Any) -> Details:
    values: dict[str, Any] = {
        "digits": "small", "epochs": 2, "planned_epochs": 2, "state": "finished", "seed": seed,
        "config": {**CONFIG, "seed": seed}, "fingerprints": {"train": "a" * 64},
    }  # fmt: skip
    return Details(**{**values, **changes})


def test_seeds_of_one_recipe_are_summarised() -> None:
    labels = [0] * 100
    right = [95, 97, 99, 50, 60, 70]
    found = compare(
        "abcdef",
        [answering([0] * k + [1] * (100 - k), labels, str(k)) for k in right],
        [1.0] * 6,
    )
    details = [
        said(0), said(1), said(2), said(2), Details(),
        said(3, config={**CONFIG, "learning_rate": 0.02, "seed": 3}),
    ]  # fmt: skip
    (recipe,) = seeds_of_one_recipe(details, found)
    assert recipe.seeds == (0, 1, 2)
    assert recipe.mean == pytest.approx(0.97)
    assert recipe.deviation == pytest.approx(0.02)
    assert recipe.text == "97.00% ± 2.00 points"


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprints": {"train": "b" * 64}},
        {"epochs": 1, "state": "stopped at epoch 1 of 2"},
        {"config": {**CONFIG, "seed": 1, "learning_rate": 0.02}},
        {"config": {}},
    ],
)
def test_models_that_differ_in_more_than_the_seed_are_not_grouped(changes: dict[str, Any]) -> None:
    assert seeds_of_one_recipe([said(0), said(1, **changes)], with_counts(1, 1, 1, 1)) == ()


def test_settings_side_by_side_mark_what_differs() -> None:
    rows = {one.name: (one.values, one.differs) for one in settings_side_by_side(
        [said(0, versions={"torch": "2.9"}), said(1), Details()]
    )}  # fmt: skip
    # What a file does not say is unknown, not different.
    assert rows["Seed"] == (["0", "1", "–"], True)
    assert rows["Temperature"] == (["–", "–", "–"], False)
    assert rows["Digest of the training images"] == (["a" * 12, "a" * 12, "–"], False)
    assert rows["Version of torch"] == (["2.9", "–", "–"], False)


def test_settings_are_worded_the_same_everywhere_and_unknown_ones_are_not_made_up() -> None:
    config = TrainingConfig(
        digits="mnist,synthetic", learning_rate=1e-5, batch_size=1024, seed=4096
    )
    texts = {key: setting_text(config.to_json(), key) for key in config.to_json()}
    assert texts["digits"] == "MNIST and synthetic digits"
    assert texts["learning_rate"] == "0.00001"
    assert (texts["batch_size"], texts["seed"]) == ("1,024", "4096")
    assert (texts["train_images"], texts["augmentation"]) == ("all", "on")
    assert setting_text({"train_images": 3000}, "train_images") == "3,000"
    assert setting_text({}, "train_images") == "–"


def test_names_are_made_different_by_their_digests() -> None:
    names = ["m", "m", "n", "m"]
    digests = ["1" * 64, "2" * 64, "3" * 64, "1" * 64]
    assert unique_names(names, digests) == ["m (11111111)", "m (22222222)", "n", "m (11111111) #2"]


def test_numbers_are_worded() -> None:
    assert [p_text(p) for p in (1.0, 0.0031, 0.00099, 0.0)] == [
        "p = 1.000", "p = 0.003", "p < 0.001", "p < 0.001",
    ]  # fmt: skip
    assert difference_text(Counts(940, 30, 10, 20)) == "+2.00 points (+0.76 to +3.35)"
