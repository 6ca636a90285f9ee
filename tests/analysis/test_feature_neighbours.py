import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from digitcnn.analysis.feature_neighbours import (
    FeatureIndex,
    FeatureIndexes,
    UnderWay,
    build_index,
)
from digitcnn.analysis.predictions import predict
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.errors import CheckpointError, DigitSetError
from digitcnn.network.checkpoint import load
from digitcnn.network.model import DigitCNN

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints" / "digitcnn-mnist.pt"


def no_sleep(seconds: float) -> None:
    assert seconds >= 0


@pytest.fixture(scope="module")
def network() -> DigitCNN:
    return DigitCNN(generator=torch.Generator().manual_seed(5)).eval().requires_grad_(False)


@pytest.fixture
def indexes(tmp_path: Path) -> FeatureIndexes:
    return FeatureIndexes(tmp_path / "features", sleep=no_sleep)


def wait_for(
    indexes: FeatureIndexes,
    network: DigitCNN,
    training: Callable[[], DigitSet],
    key: str = "a",
) -> FeatureIndex:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = indexes.ask(key, f"digest-{key}", network, training)
        if isinstance(found, FeatureIndex):
            return found
        time.sleep(0.01)
    raise AssertionError("the index was not built")


def test_the_nearest_agree_with_a_search_in_numpy(network: DigitCNN, drawn: DigitSet) -> None:
    training, queries = drawn.take(slice(0, 400)), drawn.take(slice(400, 420))
    index = build_index(network, training, sleep=no_sleep)
    features = predict(network, training).features
    for query in predict(network, queries).features:
        distances = np.linalg.norm(features.double().numpy() - query.double().numpy(), axis=1)
        expected = np.argsort(distances, kind="stable")[:9]
        places, found = index.nearest(query)
        np.testing.assert_allclose(found.numpy(), distances[expected], rtol=1e-5)
        np.testing.assert_allclose(distances[places.numpy()], distances[expected], rtol=1e-5)


def test_a_training_image_is_its_own_nearest(network: DigitCNN, drawn: DigitSet) -> None:
    index = build_index(network, drawn, sleep=no_sleep)
    query = predict(network, drawn.take(slice(17, 18))).features[0]
    places, distances = index.nearest(query)
    assert int(places[0]) == 17
    assert float(distances[0]) < 0.01 * float(query.norm())
    assert bool((distances.diff() >= 0).all())


def test_a_set_smaller_than_nine_is_returned_whole(network: DigitCNN, drawn: DigitSet) -> None:
    index = build_index(network, drawn.take(slice(0, 4)), sleep=no_sleep)
    places, distances = index.nearest(torch.zeros(320))
    assert sorted(places.tolist()) == [0, 1, 2, 3]
    assert len(distances) == 4


def test_building_sleeps_after_each_block_and_reports_progress(
    network: DigitCNN, drawn: DigitSet
) -> None:
    slept: list[float] = []
    steps: list[tuple[int, int]] = []
    build_index(
        network,
        drawn,
        block=200,
        progress=lambda *step: steps.append(step),
        sleep=slept.append,
    )
    assert steps == [(200, 480), (400, 480), (480, 480)]
    assert len(slept) == 3
    assert min(slept) > 0


def test_features_that_are_not_finite_are_refused(drawn: DigitSet) -> None:
    broken = DigitCNN(generator=torch.Generator().manual_seed(1)).eval().requires_grad_(False)
    broken.hidden.bias.fill_(torch.inf)
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        build_index(broken, drawn.take(slice(0, 5)), sleep=no_sleep)


def test_an_index_is_built_once_and_then_read_from_disk(
    indexes: FeatureIndexes, network: DigitCNN, drawn: DigitSet
) -> None:
    first = indexes.ask("a", "digest-a", network, lambda: drawn)
    assert isinstance(first, UnderWay)
    assert first.mine
    built = wait_for(indexes, network, lambda: drawn)
    (file,) = indexes.files.folder.iterdir()
    assert file.name == f"digest-a-{drawn.fingerprint}.features"
    assert file.stat().st_size < 4 * 320 * len(drawn) + 100

    def never(seconds: float) -> None:
        raise AssertionError("built again")

    read = wait_for(FeatureIndexes(indexes.files.folder, sleep=never), network, lambda: drawn)
    assert torch.equal(read.features, built.features)
    assert read.training is drawn


def test_the_least_recently_used_leave_memory_and_disk(
    tmp_path: Path, network: DigitCNN, drawn: DigitSet
) -> None:
    small = drawn.take(slice(0, 10))
    one = 4 * 320 * 10 + 200
    indexes = FeatureIndexes(tmp_path / "features", limit=2 * one, sleep=no_sleep)
    for key in ("a", "b"):
        wait_for(indexes, network, lambda: small, key)
    wait_for(indexes, network, lambda: small, "a")
    wait_for(indexes, network, lambda: small, "c")
    assert isinstance(indexes.ask("a", "digest-a", network, lambda: small), FeatureIndex)
    stored = sorted(path.name.split("-")[1] for path in (tmp_path / "features").iterdir())
    assert stored == ["b", "c"]
    assert isinstance(indexes.ask("b", "digest-b", network, lambda: small), UnderWay)
    wait_for(indexes, network, lambda: small, "b")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_one_index_is_built_at_a_time(
    indexes: FeatureIndexes, network: DigitCNN, drawn: DigitSet, gate: threading.Event
) -> None:
    opened: list[str] = []

    def slow() -> DigitSet:
        opened.append("a")
        gate.wait(20)
        return drawn

    def other() -> DigitSet:
        opened.append("b")
        return drawn

    for _ in range(3):
        assert indexes.ask("a", "digest-a", network, slow) == UnderWay(mine=True)
        assert indexes.ask("b", "digest-b", network, other) == UnderWay(mine=False)
    gate.set()
    wait_for(indexes, network, other, "b")
    assert opened == ["a", "b"]


def test_a_failure_is_reported_for_a_while_and_then_retried(
    tmp_path: Path, network: DigitCNN, drawn: DigitSet
) -> None:
    now = [100.0]
    indexes = FeatureIndexes(tmp_path, clock=lambda: now[0], sleep=no_sleep)
    tries: list[int] = []

    def absent() -> DigitSet:
        tries.append(1)
        raise DigitSetError("mnist (train) is not here; fetch it.")

    def error_of_ask() -> str:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                indexes.ask("a", "digest-a", network, absent)
            except DigitSetError as error:
                return str(error)
            time.sleep(0.01)
        raise AssertionError("ask did not raise")

    assert error_of_ask() == "mnist (train) is not here; fetch it."
    assert error_of_ask() == "mnist (train) is not here; fetch it."
    assert len(tries) == 1
    now[0] += 4
    assert isinstance(indexes.ask("a", "digest-a", network, lambda: drawn), UnderWay)
    wait_for(indexes, network, lambda: drawn)


def test_nearest_images_on_mnist_mostly_show_the_same_digit(real_data: Path) -> None:
    network = load(SHIPPED).network
    training, held_out = split_held_out(Catalog(real_data).open("mnist", "train"))
    index = build_index(network, training.take(slice(0, 3000)), sleep=no_sleep)
    queries = held_out.take(slice(0, 200))
    found = torch.stack([index.nearest(query)[0] for query in predict(network, queries).features])
    agree = training.labels[found] == queries.labels[:, None]
    assert agree.float().mean() > 0.97
