"""Dropped models may be large: all sessions together hold a limited number of bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from digitcnn.network.model import DigitCNN
from digitcnn.ui.dropped import DroppedModels


@pytest.mark.long
def test_the_oldest_models_make_room_for_the_bytes_of_the_latest(tmp_path: Path) -> None:
    paths = []
    for seed in range(4):
        network = DigitCNN(generator=torch.Generator().manual_seed(seed))
        paths.append(tmp_path / f"{seed}.pt")
        torch.save(network.state_dict(), paths[-1])
    dropped = DroppedModels(most_bytes=9_000_000)
    for number, path in enumerate(paths):
        list(dropped.receive([path], f"session {number}"))
    assert [len(dropped.of(f"session {n}")) for n in range(4)] == [0, 1, 1, 1]
