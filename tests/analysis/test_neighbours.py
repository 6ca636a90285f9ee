from __future__ import annotations

from pathlib import Path

import pytest
import torch

from digitcnn.analysis.neighbours import label_suspects, near_duplicates, nearest
from digitcnn.analysis.predictions import Predictions
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.framing import frame_emnist, frame_mnist


def random_images(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=generator)


def test_neighbours_are_scikit_learns_across_all_blocks() -> None:
    from sklearn.neighbors import NearestNeighbors

    # More than one block of queries and of references.
    generator = torch.Generator().manual_seed(0)
    queries = torch.rand(620, 6, generator=generator)
    references = torch.rand(5300, 6, generator=generator)
    places, cosines = nearest(queries, references, 3)
    distances, indices = (
        NearestNeighbors(n_neighbors=3, metric="cosine", algorithm="brute")
        .fit(references.double().numpy())
        .kneighbors(queries.double().numpy())
    )
    torch.testing.assert_close(cosines.double(), torch.from_numpy(1 - distances), atol=1e-6, rtol=0)
    # Indices may differ only where two cosines are equal to a float32.
    assert float((places == torch.from_numpy(indices)).float().mean()) > 0.999


def test_brightness_does_not_matter_and_a_blank_is_near_nothing() -> None:
    images = random_images(5, 1)
    places, _ = nearest(images // 2, images)
    assert places[:, 0].tolist() == [0, 1, 2, 3, 4]
    _, cosine = nearest(torch.zeros(1, 28, 28, dtype=torch.uint8), images)
    assert float(cosine) == 0


def test_progress_counts_queries_and_an_empty_search_is_valid() -> None:
    steps: list[tuple[int, int]] = []
    nearest(torch.ones(501, 2), torch.ones(3, 2), progress=lambda *step: steps.append(step))
    assert steps == [(500, 501), (501, 501)]
    assert nearest(torch.ones(0, 2), torch.ones(3, 2), 2)[0].shape == (0, 2)


@pytest.mark.parametrize("k", [0, 4])
def test_more_neighbours_than_references_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"references, got k = {k}"):
        nearest(torch.ones(1, 2), torch.ones(3, 2), k)


def test_a_near_duplicate_is_much_nearer_to_one_image_than_to_any_other() -> None:
    training = random_images(40, 2)
    noisy = (training[:3].float() + 10).clamp(max=255).to(torch.uint8)
    queries = torch.cat([noisy, random_images(3, 3), torch.zeros(1, 28, 28, dtype=torch.uint8)])
    assert near_duplicates(queries, training).tolist() == [True] * 3 + [False] * 4


def test_an_image_that_is_twice_among_the_training_images_is_a_near_duplicate() -> None:
    training = random_images(10, 4)
    twice = torch.cat([training, training[:1]])
    assert near_duplicates(training[:1], twice).tolist() == [True]


def test_a_label_is_suspect_when_network_and_all_nearest_digits_agree_against_it() -> None:
    base = random_images(2, 5)
    training = DigitSet(
        base.repeat_interleave(6, dim=0),
        torch.tensor([4] * 6 + [7] * 5 + [1], dtype=torch.uint8),
        "small",
        "train",
    )
    # Like the first: labelled 9, answered 4, agreed. Like the second: answered 7 with one of the
    # six nearest against it. Rightly answered; and answered otherwise than its neighbours.
    test = DigitSet(
        base[[0, 1, 0, 0]], torch.tensor([9, 9, 4, 9], dtype=torch.uint8), "small", "test"
    )
    logits = torch.eye(10)[[4, 7, 4, 2]] * 3
    predictions = Predictions("small", "test", "", "", logits, None, test.labels)
    assert label_suspects(predictions, test, training, k=6) == [0]


def test_suspects_are_sorted_by_confidence_and_may_be_empty() -> None:
    images = random_images(1, 6).repeat(8, 1, 1)
    training = DigitSet(images, torch.full((8,), 3, dtype=torch.uint8), "small", "train")
    test = DigitSet(images[:3], torch.full((3,), 5, dtype=torch.uint8), "small", "test")
    logits = torch.eye(10)[[3, 3, 3]] * torch.tensor([[1.0], [3.0], [2.0]])
    predictions = Predictions("small", "test", "", "", logits, None, test.labels)
    assert label_suspects(predictions, test, training) == [1, 2, 0]
    right = Predictions("small", "test", "", "", torch.eye(10)[[5, 5, 5]], None, test.labels)
    assert label_suspects(right, test, training) == []


def test_digits_framed_and_back_are_near_duplicates_and_others_are_not(
    real_data: Path,
) -> None:
    digits = Catalog(real_data).open("mnist", "test")
    known, unknown = digits.images[:200], digits.images[200:400]
    references = torch.cat([known, digits.images[400:3000]])
    remade = frame_mnist(frame_emnist(torch.cat([known, unknown])))
    found = near_duplicates(remade, references)
    assert float(found[:200].float().mean()) > 0.4
    assert float(found[200:].float().mean()) < 0.03
