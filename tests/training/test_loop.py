from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from digitcnn.digits.augment import Augmentation
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.errors import TrainingError
from digitcnn.network.device import Compute
from digitcnn.network.model import DigitCNN
from digitcnn.training.config import TrainingConfig
from digitcnn.training.events import EpochEnd, Snapshot, StepProgress
from digitcnn.training.loop import train
from digitcnn.training.step import averaged_share, distorted_at

SHORT = TrainingConfig(digits="synthetic", epochs=3, batch_size=64, learning_rate=0.004)


def snapshots(progress: Iterable[StepProgress | EpochEnd]) -> list[Snapshot]:
    return [item.snapshot for item in progress if isinstance(item, EpochEnd)]


def assert_same_weights(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.fixture(scope="module")
def sets(drawn: DigitSet) -> tuple[DigitSet, DigitSet]:
    return split_held_out(drawn)


@pytest.fixture(scope="module")
def uninterrupted(sets: tuple[DigitSet, DigitSet], cpu: Compute) -> list[Snapshot]:
    return snapshots(train(SHORT, *sets, cpu))


def test_training_learns(uninterrupted: list[Snapshot]) -> None:
    history = uninterrupted[-1].history
    assert [result.epoch for result in history] == [1, 2, 3]
    assert history[-1].loss < 0.7 * history[0].loss
    assert history[-1].training_accuracy > 2 * history[0].training_accuracy
    assert history[-1].held_out == 40


def test_progress_counts_every_step_and_carries_every_loss(
    sets: tuple[DigitSet, DigitSet], cpu: Compute
) -> None:
    steps = [item for item in train(SHORT, *sets, cpu) if isinstance(item, StepProgress)]
    assert sum(len(item.losses) for item in steps) == steps[-1].step == steps[-1].steps == 3 * 6
    assert [item.step for item in steps] == sorted(item.step for item in steps)
    assert 0 < steps[-1].seconds_left < steps[0].seconds_left  # the last evaluation is left
    assert all(item.images_per_second > 0 for item in steps)


def test_same_seed_gives_same_weights_bit_for_bit(
    uninterrupted: list[Snapshot], sets: tuple[DigitSet, DigitSet], cpu: Compute
) -> None:
    torch.rand(7)  # other code draws from the process-wide generator
    again = snapshots(train(SHORT, *sets, cpu))
    assert_same_weights(again[-1].averaged, uninterrupted[-1].averaged)
    assert_same_weights(again[-1].weights, uninterrupted[-1].weights)


def test_other_seed_gives_other_weights(
    uninterrupted: list[Snapshot], sets: tuple[DigitSet, DigitSet], cpu: Compute
) -> None:
    other = snapshots(train(dataclasses.replace(SHORT, seed=1, epochs=1), *sets, cpu))
    assert not torch.equal(
        other[0].weights["hidden.weight"], uninterrupted[0].weights["hidden.weight"]
    )


def test_resumed_training_ends_with_the_weights_of_an_uninterrupted_one(
    uninterrupted: list[Snapshot], sets: tuple[DigitSet, DigitSet], cpu: Compute
) -> None:
    resumed = snapshots(train(SHORT, *sets, cpu, resume=uninterrupted[0]))
    assert len(resumed) == 2
    assert_same_weights(resumed[-1].averaged, uninterrupted[-1].averaged)
    assert [r.loss for r in resumed[-1].history] == [r.loss for r in uninterrupted[-1].history]


def test_stopped_training_ends_before_the_next_batch(
    sets: tuple[DigitSet, DigitSet], cpu: Compute
) -> None:
    asked = iter([False, False, True])
    done = list(train(SHORT, *sets, cpu, stopped=lambda: next(asked, True)))
    assert not any(isinstance(item, EpochEnd) for item in done)


def test_diverging_loss_raises_a_training_error(
    sets: tuple[DigitSet, DigitSet], cpu: Compute, uninterrupted: list[Snapshot]
) -> None:
    broken = {name: value.clone() for name, value in uninterrupted[0].weights.items()}
    broken["output.weight"].fill_(float("inf"))
    start = dataclasses.replace(uninterrupted[0], weights=broken)
    with pytest.raises(TrainingError, match=r"use a learning rate below 0\.004"):
        list(train(SHORT, *sets, cpu, resume=start))


def test_batch_larger_than_the_set_shrinks_to_it(drawn: DigitSet, cpu: Compute) -> None:
    few = split_held_out(drawn.take(slice(0, 24)))
    config = dataclasses.replace(SHORT, epochs=1, batch_size=1024)
    assert len(snapshots(train(config, *few, cpu))) == 1


def test_batch_norm_statistics_of_averaged_weights_match_the_training_images(
    sets: tuple[DigitSet, DigitSet], cpu: Compute
) -> None:
    plain = dataclasses.replace(SHORT, augmentation=False, epochs=1)
    network = DigitCNN()
    network.load_state_dict(snapshots(train(plain, *sets, cpu))[-1].averaged)
    with torch.no_grad():
        maps = network.conv1(network.prepare(sets[0].images))
    assert isinstance(network.norm1, nn.BatchNorm2d)
    # Batch norm sums 345,000 float32 values in sequence: three digits remain.
    torch.testing.assert_close(
        network.norm1.running_mean, maps.mean((0, 2, 3)), rtol=0.01, atol=1e-4
    )
    torch.testing.assert_close(network.norm1.running_var, maps.var((0, 2, 3)), rtol=0.01, atol=1e-4)


@pytest.mark.parametrize(("steps_per_epoch", "updates"), [(6, 6), (99, 99), (214, 53), (859, 50)])
def test_the_average_of_some_steps_is_that_of_all_steps_of_an_epoch(
    steps_per_epoch: int, updates: int
) -> None:
    shares = [averaged_share(step, steps_per_epoch) for step in range(20 * steps_per_epoch)]
    assert sum(share > 0 for share in shares[:steps_per_epoch]) == updates
    assert shares[next(step for step, share in enumerate(shares) if share)] == 0.9
    average = every = 0.0
    for step, share in enumerate(shares):
        weight = math.sin(step / steps_per_epoch)
        average += share * (weight - average)
        decay = min(1 - 1 / max(10, steps_per_epoch), (1 + step) / (10 + step))
        every += (1 - decay) * (weight - every)
    assert average == pytest.approx(every, abs=0.01)


def test_the_share_of_distorted_images_falls_over_the_last_quarter() -> None:
    augmentation = Augmentation(distorted=0.4, distorted_last=0.2)
    shares = [distorted_at(augmentation, step, 200) for step in (0, 150, 175, 200)]
    assert shares == pytest.approx([0.4, 0.4, 0.3, 0.2])


@pytest.mark.parametrize("dropout", [True, False])
def test_first_step_matches_plain_torch(drawn: DigitSet, cpu: Compute, dropout: bool) -> None:
    """One step without augmentation against torch's own network, dropout mask and AdamW."""
    sets = split_held_out(drawn.take(slice(0, 70)))
    config = TrainingConfig(
        digits="synthetic", epochs=1, batch_size=64, augmentation=False, seed=5, dropout=dropout
    )
    ours = snapshots(train(config, *sets, cpu))[0].weights

    plain = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 320), nn.ReLU(),
    )  # fmt: skip
    head = nn.Linear(320, 10)
    start = DigitCNN(generator=torch.Generator().manual_seed(5)).state_dict()
    plain.load_state_dict(dict(zip(plain.state_dict(), list(start.values())[:-2], strict=True)))
    head.load_state_dict({"weight": start["output.weight"], "bias": start["output.bias"]})
    optimizer = torch.optim.AdamW(
        [*plain.parameters(), *head.parameters()], lr=0.008 / 25, weight_decay=0.01
    )
    generator = torch.Generator().manual_seed(5001)
    order = torch.randperm(len(sets[0]), generator=generator)[:64]
    images = (sets[0].images[order].unsqueeze(1) / 255 - 0.1307) / 0.3081
    features = plain(images)
    mask = torch.ones_like(features)
    if dropout:
        mask = (torch.rand(features.shape, generator=generator) < 0.6) / 0.6
    nn.functional.cross_entropy(
        head(features * mask), sets[0].labels[order].long(), label_smoothing=0.1
    ).backward()
    optimizer.step()

    # Adam's first step is the sign of the gradient: tiny gradients may differ in sign.
    close = torch.isclose(ours["output.weight"], head.weight.detach(), atol=1e-5)
    assert close.float().mean() > 0.99
    torch.testing.assert_close(ours["norm1.running_mean"], plain[1].running_mean)
