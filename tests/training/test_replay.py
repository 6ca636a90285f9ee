from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.network import checkpoint
from digitcnn.network.device import Compute
from digitcnn.network.model import DigitCNN
from digitcnn.training.config import PostTrainingConfig, TrainingConfig
from digitcnn.training.events import EpochEnd
from digitcnn.training.job import TrainingJob
from digitcnn.training.loop import train
from digitcnn.training.runs import RunStore
from digitcnn.training.view import MAX_FRAMES, TrainingReplay

SHORT = TrainingConfig(
    digits="small", epochs=2, batch_size=32, learning_rate=0.004, train_images=64
)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return DigitCNN(generator=torch.Generator().manual_seed(0)).state_dict()


def shown(epochs: range, weights: dict[str, Tensor]) -> list[int]:
    replay = TrainingReplay()
    for epoch in epochs:
        replay = replay.with_epoch(epoch, weights)
        assert len(replay.frames) <= MAX_FRAMES
        kept = [frame.epoch for frame in replay.frames]
        assert (kept[0], kept[-1]) == (epochs.start, epoch)
        gaps = {b - a for a, b in itertools.pairwise(kept[1:-1])}
        assert len(gaps) <= 1, "the epochs in between are evenly spread"
    return kept


def test_the_replay_has_every_epoch_of_a_default_training(weights: dict[str, Tensor]) -> None:
    assert shown(range(1, 13), weights) == list(range(1, 13))


def test_longest_training_is_thinned_evenly(weights: dict[str, Tensor]) -> None:
    assert shown(range(1, 201), weights) == [1, *range(16, 200, 16), 200]


def test_resumed_training_starts_at_its_first_epoch(weights: dict[str, Tensor]) -> None:
    assert shown(range(7, 48), weights) == [7, *range(8, 47, 4), 47]


def test_all_frames_take_at_most_100_megabytes(weights: dict[str, Tensor]) -> None:
    replay = TrainingReplay()
    for epoch in range(1, 20):
        replay = replay.with_epoch(epoch, {name: t.clone() for name, t in weights.items()})
    held = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for frame in replay.frames
        for tensor in frame.network.state_dict().values()
    }
    assert 19 * 4_000_000 < sum(held.values()) / len(replay.frames) * MAX_FRAMES < 100_000_000


def test_a_replay_frame_is_frozen_and_draws_no_random_number(weights: dict[str, Tensor]) -> None:
    before = torch.get_rng_state()
    network = TrainingReplay().with_epoch(1, weights).frames[0].network
    assert torch.equal(torch.get_rng_state(), before)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert checkpoint.digest(network.state_dict()) == checkpoint.digest(weights)


def test_last_frame_of_a_job_is_its_checkpoint(
    tmp_path: Path, data_dir: Path, cpu: Compute
) -> None:
    job = TrainingJob(
        Catalog(data_dir),
        RunStore(tmp_path / "outputs"),
        tmp_path / "checkpoints",
        cpu,
        PostTrainingConfig(figures=False, stability=False),
    )
    for name in ("first", "second"):
        assert job.start(SHORT, name) == name
        threads = [t for t in threading.enumerate() if t.name == "training"]
        for thread in threads:
            thread.join(60)
        view = job.view()
        assert view.ended is not None
        # The replay stays until the next training.
        assert [frame.epoch for frame in view.replay.frames] == [1, 2]
        assert checkpoint.digest(view.replay.frames[-1].network.state_dict()) == view.ended.digest
    digests = {checkpoint.digest(f.network.state_dict()) for f in view.replay.frames}
    assert len(digests) == 2


@pytest.mark.long
def test_replay_changes_no_bit_of_a_training(drawn: DigitSet, cpu: Compute) -> None:
    training, held_out = split_held_out(drawn)
    ends: list[list[str]] = []
    for replaying in (False, True):
        replay, digests = TrainingReplay(), []
        for step in train(SHORT, training, held_out, cpu):
            if isinstance(step, EpochEnd):
                if replaying:
                    replay = replay.with_epoch(step.snapshot.epoch, step.snapshot.averaged)
                    for frame in replay.frames:
                        frame.network(frame.network.prepare(held_out.images))
                digests.append(checkpoint.digest(step.snapshot.averaged))
        ends.append(digests)
    assert ends[0] == ends[1]
    assert [checkpoint.digest(f.network.state_dict()) for f in replay.frames] == ends[1]
