from __future__ import annotations

import copy
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from digitcnn.analysis.predictions import PredictionCache, Predictions, predict
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.model import DigitCNN


@pytest.fixture
def network() -> DigitCNN:
    return DigitCNN(generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)


@pytest.fixture
def some(drawn: DigitSet) -> DigitSet:
    return drawn.take(slice(0, 60))


@pytest.fixture
def cache(tmp_path: Path) -> PredictionCache:
    return PredictionCache(tmp_path / "cache")


class Steps(list[tuple[int, int]]):
    """A progress callback that records its calls."""

    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))


def test_predictions_equal_the_networks_outputs(network: DigitCNN, drawn: DigitSet) -> None:
    steps = Steps()
    found = predict(network, drawn, digest="d", progress=steps)
    inputs = network.prepare(drawn.images)
    torch.testing.assert_close(found.logits, network(inputs), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.features, network.features(inputs), rtol=1e-4, atol=1e-5)
    assert (found.digits, found.split, found.digest) == ("synthetic", "train", "d")
    assert found.fingerprint == drawn.fingerprint
    assert steps[-1] == (480, 480)
    assert len(steps) > 1


def test_the_batch_size_does_not_change_the_logits(network: DigitCNN, some: DigitSet) -> None:
    by_seven, at_once = (predict(network, some, batch_size=size) for size in (7, 60))
    torch.testing.assert_close(by_seven.logits, at_once.logits, rtol=1e-4, atol=1e-5)


def test_a_single_image_works_and_features_can_be_left_out(
    network: DigitCNN, some: DigitSet
) -> None:
    found = predict(network, some.take(slice(3, 4)), keep_features=False)
    assert found.features is None
    torch.testing.assert_close(found.logits, predict(network, some).logits[3:4])


def test_predictions_and_probabilities_come_from_the_logits(
    network: DigitCNN, some: DigitSet
) -> None:
    found = predict(network, some)
    assert torch.equal(found.predicted, found.logits.argmax(1))
    assert torch.equal(found.right, found.logits.argmax(1) == some.labels.long())
    expected = torch.softmax(found.logits.double() / 2, 1)
    torch.testing.assert_close(found.probabilities(2.0), expected)
    assert len(found) == 60


def test_the_networks_own_input_scaling_is_used(some: DigitSet) -> None:
    network = DigitCNN(0.5, 0.5, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        expected = network(network.prepare(some.images))
    torch.testing.assert_close(predict(network, some).logits, expected, rtol=1e-4, atol=1e-5)


def test_a_network_in_training_mode_is_refused_and_not_switched(some: DigitSet) -> None:
    network = DigitCNN()
    with pytest.raises(ValueError, match="evaluation mode"):
        predict(network, some)
    assert network.training


def test_a_shared_network_is_not_changed(network: DigitCNN, some: DigitSet) -> None:
    before = copy.deepcopy(network.state_dict())
    strides = [weight.stride() for weight in network.parameters()]
    predict(network, some)
    assert [weight.stride() for weight in network.parameters()] == strides
    assert all(torch.equal(network.state_dict()[name], kept) for name, kept in before.items())


def test_logits_are_read_from_disk_the_second_time(
    network: DigitCNN, some: DigitSet, cache: PredictionCache
) -> None:
    first = cache.get(network, "d", some)
    steps = Steps()
    again = PredictionCache(cache.files.folder).get(network, "d", some, progress=steps)
    assert torch.equal(again.logits, first.logits)
    assert torch.equal(again.labels, some.labels)
    assert again.features is None
    assert steps == []


def test_missing_features_are_computed_and_the_stored_logits_stay(
    network: DigitCNN, some: DigitSet, cache: PredictionCache
) -> None:
    first = cache.get(network, "d", some)
    other = PredictionCache(cache.files.folder)
    again = other.get(network, "d", some, features=True)
    assert again.features is not None
    assert torch.equal(again.logits, first.logits)
    steps = Steps()
    assert other.get(network, "d", some, features=True, progress=steps).features is not None
    assert steps == []


def test_memory_is_bounded_and_the_oldest_features_go_first(
    network: DigitCNN, drawn: DigitSet, tmp_path: Path
) -> None:
    sets = [drawn.take(slice(i, i + 5)) for i in range(4)]
    one = predict(network, sets[0]).size
    cache = PredictionCache(tmp_path / "cache", memory_limit=3 * one)
    for digits in sets:
        cache.get(network, "d", digits)
    assert cache.get(network, "d", sets[0]).features is None  # read from disk
    assert all(cache.get(network, "d", digits).features is not None for digits in sets[2:])


def test_predictions_larger_than_the_memory_limit_are_returned(
    network: DigitCNN, some: DigitSet, tmp_path: Path
) -> None:
    cache = PredictionCache(tmp_path / "cache", memory_limit=1)
    assert torch.equal(cache.get(network, "d", some).logits, predict(network, some).logits)


def test_networks_and_sets_are_cached_separately(
    network: DigitCNN, drawn: DigitSet, cache: PredictionCache
) -> None:
    other = DigitCNN(generator=torch.Generator().manual_seed(1)).eval()
    one, two = drawn.take(slice(0, 5)), drawn.take(slice(5, 10))
    assert not torch.equal(cache.get(network, "a", one).logits, cache.get(other, "b", one).logits)
    assert not torch.equal(cache.get(network, "a", one).logits, cache.get(network, "a", two).logits)
    assert len(list(cache.files.folder.iterdir())) == 3


def test_the_same_images_under_another_name_are_found_and_renamed(
    network: DigitCNN, some: DigitSet, cache: PredictionCache
) -> None:
    cache.get(network, "d", some)
    steps = Steps()
    renamed = cache.get(network, "d", replace(some, name="copy", split="test"), progress=steps)
    assert (renamed.digits, renamed.split, steps) == ("copy", "test", [])


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "longer"])
def test_a_damaged_file_is_computed_again(
    network: DigitCNN,
    some: DigitSet,
    cache: PredictionCache,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    first = cache.get(network, "d", some)
    (file,) = cache.files.folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(
        {
            "truncated": whole[:-4],
            "flipped": whole[:-1] + bytes([whole[-1] ^ 1]),
            "empty": b"",
            "foreign": b"<html>" * 500,
            "longer": whole + b"\0\0\0\0",
        }[damage]
    )
    with caplog.at_level(logging.WARNING):
        again = PredictionCache(cache.files.folder).get(network, "d", some)
    assert torch.equal(again.logits, first.logits)
    assert file.read_bytes() == whole
    assert "damaged" in caplog.text


def test_the_oldest_files_are_deleted_when_the_folder_is_full(
    network: DigitCNN, drawn: DigitSet, cache: PredictionCache
) -> None:
    size = 18 + 32 + 5 * 40
    cache.files.limit = 2 * size
    for i in range(4):
        cache.get(network, f"d{i}", drawn.take(slice(0, 5)))
    names = sorted(file.name[:2] for file in cache.files.folder.iterdir())
    assert names == ["d2", "d3"]


def test_a_read_only_folder_does_not_prevent_a_result(
    network: DigitCNN, some: DigitSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        found = PredictionCache(tmp_path / "taken").get(network, "d", some)
    assert torch.equal(found.logits, predict(network, some).logits)
    assert "cannot be stored" in caplog.text


def test_a_network_without_a_digest_is_refused(
    network: DigitCNN, some: DigitSet, cache: PredictionCache
) -> None:
    with pytest.raises(ValueError, match="digest"):
        cache.get(network, "", some)


def test_concurrent_requests_share_one_pass_and_its_progress(
    network: DigitCNN, drawn: DigitSet, cache: PredictionCache
) -> None:
    under_way, second_asked = threading.Event(), threading.Event()
    passes = Steps()

    def first_progress(done: int, total: int) -> None:
        passes(done, total)
        under_way.set()
        assert second_asked.wait(20)

    second_steps = Steps()
    second_threads = set()

    def second_progress(done: int, total: int) -> None:
        second_threads.add(threading.get_ident())
        second_steps(done, total)
        second_asked.set()

    def second() -> tuple[int, Predictions]:
        assert under_way.wait(20)
        return threading.get_ident(), cache.get(network, "d", drawn, progress=second_progress)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(cache.get, network, "d", drawn, progress=first_progress)
        two = pool.submit(second)
        thread, found = two.result()
        assert found.logits is one.result().logits
    assert passes[-1] == (480, 480)
    assert [step for step in passes if step[0] == 480] == [(480, 480)]
    assert second_steps
    assert second_threads == {thread}


def test_a_waiting_request_computes_what_the_first_abandons(
    network: DigitCNN, drawn: DigitSet, cache: PredictionCache
) -> None:
    under_way, second_asked = threading.Event(), threading.Event()

    class Abandoned(Exception):
        pass

    def first_progress(done: int, total: int) -> None:
        under_way.set()
        assert second_asked.wait(20)
        raise Abandoned

    def second() -> Predictions:
        assert under_way.wait(20)
        return cache.get(network, "d", drawn, progress=lambda *_: second_asked.set())

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(cache.get, network, "d", drawn, progress=first_progress)
        two = pool.submit(second)
        assert torch.equal(two.result().logits, predict(network, drawn).logits)
        with pytest.raises(Abandoned):
            one.result()
