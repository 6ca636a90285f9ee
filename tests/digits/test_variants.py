from __future__ import annotations

from pathlib import Path

import pytest
import torch

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.errors import DigitSetError


@pytest.fixture
def catalog(data_dir: Path) -> Catalog:
    """Its set ``small`` has 480 training images, 440 to learn from."""
    return Catalog(data_dir)


def parts(catalog: Catalog, name: str) -> tuple[DigitSet, DigitSet]:
    return split_held_out(catalog.open(name, "train"))


def test_fewer_images_keep_a_twelfth_held_out(catalog: Catalog) -> None:
    whole, whole_held_out = parts(catalog, "small")
    training, held_out = parts(catalog, "small~120")
    assert (len(training), len(held_out)) == (110, 10)
    assert torch.equal(training.images, whole.images[:110])
    assert torch.equal(held_out.images, whole_held_out.images[-10:])


def test_wrong_labels_are_a_share_of_the_training_images_alone(catalog: Catalog) -> None:
    right, right_held_out = parts(catalog, "small")
    wrong, held_out = parts(catalog, "small~wrong-20")
    assert int((right.labels != wrong.labels).sum()) == 88
    assert int(wrong.labels.max()) <= 9
    assert torch.equal(right.images, wrong.images)
    assert torch.equal(right_held_out.labels, held_out.labels)
    again = Catalog(catalog.data_dir).open("small~wrong-20", "train")
    assert again.fingerprint == catalog.open("small~wrong-20", "train").fingerprint


def test_a_missing_digit_stays_in_the_held_out_images(catalog: Catalog) -> None:
    training, held_out = parts(catalog, "small~keep-7-3")
    whole, whole_held_out = parts(catalog, "small")
    assert int((training.labels == 7).sum()) == 3
    assert int((training.labels != 7).sum()) == int((whole.labels != 7).sum())
    assert torch.equal(held_out.images, whole_held_out.images[-len(held_out) :])


def test_changes_add_up_and_the_test_images_stay_as_they_are(catalog: Catalog) -> None:
    training, _ = parts(catalog, "small~240~keep-7-0~wrong-10")
    assert training.name == "small~240~keep-7-0~wrong-10"
    assert len(training) < 220
    assert catalog.open("small~240~keep-7-0", "test") is catalog.open("small", "test")


def test_a_variant_is_not_listed_and_has_an_entry(catalog: Catalog) -> None:
    entry = catalog.entry("small~120", "train")
    assert (entry.present, entry.n, entry.name) == (True, 120, "small~120")
    assert not [listed for listed in catalog.entries() if "~" in listed.name]
    assert not catalog.has("absent~120", "train")
    broken = catalog.entry("small~9999", "train")
    assert (broken.present, broken.n) == (False, None)
    assert "were requested; choose 1 to" in str(broken.problem)


@pytest.mark.parametrize(
    "name", ["small~", "small~0", "small~5", "small~wrong-x", "small~keep-7", "small~../x", "~12"]
)
def test_unknown_and_impossible_changes_are_refused_in_one_sentence(
    catalog: Catalog, name: str
) -> None:
    with pytest.raises(DigitSetError) as caught:
        catalog.open(name, "train")
    assert "\n" not in str(caught.value)
