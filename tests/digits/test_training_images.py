"""The images of a training on several digit sets: proportions, held-out images, and refusals."""

from __future__ import annotations

import pytest
import torch

from digitcnn.digits import synthetic
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out, union
from digitcnn.digits.idx import write_idx
from digitcnn.digits.names import listed, set_names
from digitcnn.digits.training_images import missing_sets, open_training_images
from digitcnn.errors import DigitSetError


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory, drawn: DigitSet) -> Catalog:
    """``small`` has 480 images, ``smaller`` 120."""
    folder = tmp_path_factory.mktemp("two")
    other = synthetic.draw("synthetic-other-writers", "train", images=120)
    for name, digits in (("small", drawn), ("smaller", other)):
        (folder / name).mkdir()
        write_idx(folder / name / "train-images-idx3-ubyte.gz", digits.images)
        write_idx(folder / name / "train-labels-idx1-ubyte.gz", digits.labels)
    return Catalog(folder)


def rows(digits: DigitSet) -> list[bytes]:
    return [image.numpy().tobytes() for image in digits.images]


def test_several_sets_are_all_of_them_and_each_holds_out_its_own(catalog: Catalog) -> None:
    images = open_training_images(catalog, "small,smaller")
    halves = [split_held_out(catalog.open(name, "train")) for name in ("small", "smaller")]
    assert images.training.name == "small,smaller"
    assert sorted(rows(images.training)) == sorted(
        row for training, _ in halves for row in rows(training)
    )
    assert [part.fingerprint for part in images.held_out_of] == [
        held_out.fingerprint for _, held_out in halves
    ]
    assert len(images.held_out) == 40 + 10
    assert not set(rows(images.held_out)) & set(rows(images.training))


@pytest.mark.parametrize("count", [5, 50, 333])
def test_fewer_training_images_keep_the_proportions(catalog: Catalog, count: int) -> None:
    images = open_training_images(catalog, "small,smaller", count)
    small = set(rows(catalog.open("small", "train")))
    assert len(images.training) == count
    assert abs(sum(row in small for row in rows(images.training)) - 0.8 * count) <= 1
    assert len(images.held_out) == 50


def test_labels_stay_with_their_images(catalog: Catalog) -> None:
    images = open_training_images(catalog, "smaller,small").training
    labels = {
        row: int(label)
        for name in ("small", "smaller")
        for row, label in zip(
            rows(catalog.open(name, "train")), catalog.open(name, "train").labels, strict=True
        )
    }
    assert [labels[row] for row in rows(images)] == images.labels.tolist()


def test_a_single_set_keeps_its_own_split(catalog: Catalog, drawn: DigitSet) -> None:
    images = open_training_images(catalog, "small")
    training, held_out = split_held_out(drawn)
    assert images.training.fingerprint == training.fingerprint
    assert images.held_out.fingerprint == held_out.fingerprint
    assert union([drawn]) is drawn
    assert torch.equal(open_training_images(catalog, "small", 9).training.images, drawn.images[:9])


def test_too_many_images_and_missing_sets_give_one_sentence(catalog: Catalog) -> None:
    with pytest.raises(DigitSetError, match=r"^small and smaller .*; choose 1 to 550\.$"):
        open_training_images(catalog, "small,smaller", 551)
    with pytest.raises(DigitSetError, match="nothing"):
        open_training_images(catalog, "small,nothing")
    assert missing_sets(catalog, "small,mnist,synthetic") == ["mnist"]


def test_names_are_read_with_spaces_and_repetitions_and_listed_for_people() -> None:
    assert set_names(" mnist, synthetic ,,mnist") == ["mnist", "synthetic"]
    assert listed("a,b,c") == "a, b and c"
    assert listed("mnist") == "MNIST"
