from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from dropout_passes import measure
from scipy import stats

from digitcnn.analysis.predictions import Predictions, predict
from digitcnn.analysis.stability import PassResult, Stability, passes
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import ConfigError
from digitcnn.network.model import DigitCNN


@pytest.fixture(scope="module")
def network() -> DigitCNN:
    """Untrained but for its last step, so that answers are uncertain and differ by image."""
    network = DigitCNN(generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    network.output.weight.mul_(20)
    return network


@pytest.fixture(scope="module")
def predictions(network: DigitCNN, drawn: DigitSet) -> Predictions:
    """Labels are the network's own answers for two thirds of the images: an accuracy of 0.7."""
    found = predict(network, drawn.take(slice(0, 200)))
    labels = found.predicted.to(torch.uint8)
    labels[::3] = (labels[::3] + 1) % 10
    return Predictions("small", "test", "", "", found.logits, found.features, labels)


def naive_answers(network: DigitCNN, images: torch.Tensor, n: int) -> torch.Tensor:
    """The answers of the whole network with dropout on and batch norm off: [n, N]."""
    noisy = copy.deepcopy(network).to(memory_format=torch.channels_last)
    noisy.dropout.train()
    noisy.dropout.generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        return torch.stack([noisy(noisy.prepare(images)).argmax(1) for _ in range(n)])


def test_independent_passes_are_distributed_as_a_loop_over_the_whole_network(
    network: DigitCNN, predictions: Predictions, drawn: DigitSet
) -> None:
    n, size = 50, len(predictions)
    naive = naive_answers(network, drawn.images[:size], n)
    ours = measure(network, predictions, n, seed=3)
    right = (naive == predictions.labels.long()).float().mean(1)
    # Two samples of accuracies with one mean and one spread.
    assert stats.ttest_ind(right.numpy(), ours.accuracies).pvalue > 0.01
    assert stats.levene(right.numpy(), ours.accuracies).pvalue > 0.01
    # Image by image, too: how often each keeps its answer differs by no more than chance does.
    kept_naive = (naive == predictions.predicted).sum(0).double()
    kept_ours = ours.votes.gather(1, predictions.predicted[:, None]).squeeze(1).double()
    p = (kept_naive + kept_ours) / (2 * n)
    uncertain = (p > 0.05) & (p < 0.95)
    assert uncertain.sum() > 50
    z = (kept_naive - kept_ours)[uncertain] / (2 * n * p * (1 - p))[uncertain].sqrt()
    assert float(z.square().mean()) == pytest.approx(1, abs=0.3)


def test_shared_passes_are_thinned_networks(network: DigitCNN, predictions: Predictions) -> None:
    n = 120
    assert predictions.features is not None
    generator = torch.Generator().manual_seed(11)
    loop = []
    for _ in range(n):
        mask = torch.empty(320).bernoulli_(0.6, generator=generator) / 0.6
        logits = network.output(predictions.features * mask)
        loop.append(float((logits.argmax(1) == predictions.labels).float().mean()))
    ours = measure(network, predictions, n, masks="shared", seed=3)
    assert stats.ttest_ind(loop, ours.accuracies).pvalue > 0.01
    assert stats.levene(loop, ours.accuracies).pvalue > 0.01
    assert ours.std > 3 * measure(network, predictions, n, seed=3).std


def test_each_value_is_dropped_with_the_networks_own_chance() -> None:
    network = DigitCNN(generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    network.output.weight.zero_()
    network.output.bias.zero_()
    network.output.bias[1] = 0.5  # answered unless the one value that votes for 0 is kept
    network.output.weight[0, 5] = 1
    features = torch.zeros(4000, 320)
    features[:, 5] = 1
    labels = torch.zeros(4000, dtype=torch.uint8)
    made = Predictions("small", "test", "", "", torch.eye(10)[[0] * 4000], features, labels)
    found = measure(network, made, 25, seed=1)
    assert found.mean == pytest.approx(0.6, abs=4 * math.sqrt(0.24 / 100_000))
    assert found.std == pytest.approx(math.sqrt(0.24 / 4000), rel=0.5)
    shared = measure(network, made, 25, masks="shared", seed=1)
    assert set(shared.accuracies) == {0.0, 1.0}


def test_the_numbers_are_those_of_numpy(network: DigitCNN, predictions: Predictions) -> None:
    *results, found = passes(network, predictions, 9, seed=5)
    assert isinstance(found, Stability)
    assert [(r.index, r.passes) for r in results if isinstance(r, PassResult)] == [
        (i, 9) for i in range(1, 10)
    ]
    assert tuple(r.accuracy for r in results if isinstance(r, PassResult)) == found.accuracies
    assert found.mean == pytest.approx(np.mean(found.accuracies))
    assert found.std == pytest.approx(np.std(found.accuracies, ddof=1))
    assert (found.min, found.max) == (min(found.accuracies), max(found.accuracies))
    assert found.accuracy == pytest.approx(float(predictions.right.float().mean()))
    assert found.bound == pytest.approx(0.5 / math.sqrt(200))
    assert found.votes.sum(1).tolist() == [9] * 200
    assert sum(found.accuracies) * 200 == pytest.approx(
        int(found.votes.gather(1, predictions.labels.long()[:, None]).sum())
    )


def test_chance_alone_explains_the_deviation_of_independent_masks(
    network: DigitCNN, predictions: Predictions
) -> None:
    found = measure(network, predictions, 200)
    # The relative deviation of a sample deviation from 200 is about 1 / sqrt(400).
    assert found.std == pytest.approx(found.chance, rel=0.15)
    assert found.std < found.bound
    # Few passes estimate the same, without bias.
    few = [measure(network, predictions, 2, seed=seed).chance ** 2 for seed in range(40)]
    assert np.mean(few) == pytest.approx(found.chance**2, rel=0.1)


def test_flips_are_images_that_any_pass_predicts_otherwise(
    network: DigitCNN, predictions: Predictions
) -> None:
    found = measure(network, predictions, 6)
    flips = [
        int(votes[answer]) < 6
        for votes, answer in zip(found.votes, predictions.predicted, strict=True)
    ]
    assert found.flipped == pytest.approx(np.mean(flips))
    labels = predictions.labels.tolist()
    for digit, share in enumerate(found.flipped_by_digit):
        of_digit = [flip for flip, label in zip(flips, labels, strict=True) if label == digit]
        assert share == pytest.approx(np.mean(of_digit)) if of_digit else math.isnan(share)


def test_the_least_stable_images_come_first_with_their_votes(
    network: DigitCNN, predictions: Predictions
) -> None:
    found = measure(network, predictions, 20)
    places = found.least_stable(15)
    majorities = found.votes[places].max(1).values.tolist()
    assert majorities == sorted(majorities)
    assert majorities[-1] < 20
    assert majorities[0] == int(found.votes.max(1).values.min())
    assert found.votes[places].sum(1).tolist() == [20] * 15
    assert torch.equal(found.labels, predictions.labels.long())
    for place in places:
        entropy, mutual = found.predictive_entropy[place], found.mutual_information[place]
        assert 0 <= mutual <= entropy <= math.log(10)
    assert len(found.least_stable(10**6)) == int((found.votes.max(1).values < 20).sum())


def test_mutual_information_is_the_part_of_doubt_on_which_passes_disagree(
    network: DigitCNN, predictions: Predictions
) -> None:
    # One pass cannot disagree with itself, and has no deviation.
    one = measure(network, predictions, 1)
    assert float(one.mutual_information.max()) < 1e-5
    assert math.isnan(one.std)
    assert math.isnan(one.chance)
    # Two opposite sure answers share a doubt of ln 2, all of it disagreement.
    switch = DigitCNN().eval().requires_grad_(False)
    switch.output.weight.zero_()
    switch.output.bias.copy_(torch.tensor([0.0, 50.0] + [-50.0] * 8))
    switch.output.weight[0, 0] = 100
    features = torch.zeros(1, 320)
    features[0, 0] = 1
    labels = torch.zeros(1, dtype=torch.uint8)
    made = Predictions("one", "test", "", "", torch.eye(10)[:1], features, labels)
    found = measure(switch, made, 100, masks="shared")
    share = found.mean
    assert 0.4 < share < 0.8
    expected = stats.entropy([share, 1 - share])
    assert float(found.predictive_entropy) == pytest.approx(expected, abs=1e-6)
    assert float(found.mutual_information) == pytest.approx(expected, abs=1e-6)


def test_temperature_changes_uncertainty_but_no_vote(
    network: DigitCNN, predictions: Predictions
) -> None:
    cold, hot = (measure(network, predictions, 5, temperature=t) for t in (1.0, 3.0))
    assert torch.equal(cold.votes, hot.votes)
    assert float(hot.predictive_entropy.mean()) > float(cold.predictive_entropy.mean())


def test_a_seed_gives_the_same_passes_and_leaves_other_random_numbers_alone(
    network: DigitCNN, predictions: Predictions
) -> None:
    state = torch.get_rng_state()
    one, same, other = (measure(network, predictions, 4, seed=seed) for seed in (1, 1, 2))
    assert one.accuracies == same.accuracies != other.accuracies
    assert torch.equal(torch.get_rng_state(), state)


def test_the_network_is_neither_switched_nor_changed(
    network: DigitCNN, predictions: Predictions
) -> None:
    before = copy.deepcopy(network.state_dict())
    for masks in ("independent", "shared"):
        measure(network, predictions, 3, masks=masks)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(network.state_dict()[name], kept) for name, kept in before.items())


def test_a_small_set_of_one_image_has_a_summary(
    network: DigitCNN, predictions: Predictions
) -> None:
    assert predictions.features is not None
    one = Predictions(
        "one", "test", "", "", predictions.logits[:1], predictions.features[:1],
        predictions.labels[:1],
    )  # fmt: skip
    found = measure(network, one, 3)
    assert set(found.accuracies) <= {0.0, 1.0}
    assert sum(math.isnan(share) for share in found.flipped_by_digit) == 9
    assert list(found.to_json()) == [
        "passes", "masks", "accuracies", "mean", "std", "min", "max",
    ]  # fmt: skip
    assert measure(network, one, 1).to_json()["std"] is None


@pytest.mark.parametrize(
    ("std", "verdict"),
    [
        (0.0099, "stable"),
        (0.015, "borderline"),
        (0.0201, "depends on single neurons"),
        (math.nan, ""),
    ],
)
def test_only_thinned_networks_get_a_verdict(
    network: DigitCNN, predictions: Predictions, std: float, verdict: str
) -> None:
    found = measure(network, predictions, 2, masks="shared")
    object.__setattr__(found, "std", std)
    assert found.verdict == verdict
    object.__setattr__(found, "masks", "independent")
    assert found.verdict == ""


@pytest.mark.parametrize("count", [0, 201, True])
def test_invalid_requests_are_refused_before_the_first_pass(
    network: DigitCNN, predictions: Predictions, count: int
) -> None:
    with pytest.raises(ConfigError, match="1 to 200"):
        next(passes(network, predictions, count))


def test_predictions_without_features_are_refused(network: DigitCNN, drawn: DigitSet) -> None:
    bare = predict(network, drawn.take(slice(0, 5)), keep_features=False)
    with pytest.raises(ValueError, match="features"):
        next(passes(network, bare, 3))
