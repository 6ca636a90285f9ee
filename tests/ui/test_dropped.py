"""Dropped models: whose they are, how long they are held, and how one is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sample_networks import random_detector

from digitcnn.digits import synthetic
from digitcnn.errors import CheckpointError
from digitcnn.network.checkpoint import load, save
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN
from digitcnn.ui.drop_results import MOST_LINES, results_html, with_new
from digitcnn.ui.dropped import (
    HELD,
    PER_SESSION,
    SECONDS_HELD,
    DroppedFile,
    DroppedModels,
    save_dropped,
)
from digitcnn.ui.models import Models
from digitcnn.workspace import Workspace


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dropped(clock: Clock) -> DroppedModels:
    return DroppedModels(clock)


def network_file(folder: Path, seed: int = 0, name: str = "mine.pt") -> Path:
    folder.mkdir(exist_ok=True)
    network = DigitCNN(generator=torch.Generator().manual_seed(seed)).eval()
    save(folder / name, network, Details(digits="synthetic", epochs=1, seed=seed))
    return folder / name


def test_one_bad_file_does_not_stop_the_others(dropped: DroppedModels, tmp_path: Path) -> None:
    good = network_file(tmp_path)
    (tmp_path / "notes.pt").write_text("these are not weights")
    (tmp_path / "empty.safetensors").touch()
    bad, first, empty = dropped.receive(
        [tmp_path / "notes.pt", good, tmp_path / "empty.safetensors"], "page"
    )
    assert bad.key is None
    assert empty.key is None
    assert "text file" in bad.sentence
    assert "digitcnn network" in first.sentence.lower()
    assert first.key is not None
    held = dropped.get(first.key)
    assert held is not None
    assert held.path is None


def test_a_dropped_model_is_held_in_memory_when_its_file_is_gone(
    dropped: DroppedModels, tmp_path: Path
) -> None:
    path = network_file(tmp_path)
    (verdict,) = dropped.receive([path], "page")
    path.unlink()
    assert verdict.key is not None
    held = dropped.get(verdict.key)
    assert held is not None
    assert held.probabilities(torch.zeros(1, 28, 28)).shape == (1, 10)


def test_two_visitors_with_the_same_name_and_content_never_cross(
    dropped: DroppedModels, tmp_path: Path
) -> None:
    same = [network_file(tmp_path / "a", seed=1), network_file(tmp_path / "b", seed=2)]
    (mine,) = dropped.receive([same[0]], "me")
    (yours,) = dropped.receive([same[1]], "you")
    (copy,) = dropped.receive([same[0]], "you")
    assert len({mine.key, yours.key, copy.key}) == 3
    assert [found.digest for _, found in dropped.of("me")] == [load(same[0]).digest]
    assert [key for key, _ in dropped.of("you")] == [copy.key, yours.key]
    dropped.forget("you")
    assert dropped.of("you") == []
    assert [key for key, _ in dropped.of("me")] == [mine.key]


def test_a_model_expires_seventy_minutes_after_its_last_use(
    dropped: DroppedModels, clock: Clock, tmp_path: Path
) -> None:
    (verdict,) = dropped.receive([network_file(tmp_path)], "page")
    assert verdict.key is not None
    clock.now = SECONDS_HELD - 1
    assert dropped.of("page")
    clock.now = 2 * SECONDS_HELD - 2
    assert dropped.get(verdict.key) is not None
    clock.now = 2 * SECONDS_HELD + 1
    assert dropped.get(verdict.key) is None
    assert SECONDS_HELD <= 70 * 60


def test_every_change_is_counted(dropped: DroppedModels, clock: Clock, tmp_path: Path) -> None:
    path = network_file(tmp_path)
    counts = [dropped.changes]
    list(dropped.receive([path], "page"))
    counts.append(dropped.changes)
    dropped.forget("page")
    counts.append(dropped.changes)
    list(dropped.receive([path], "other"))
    counts.append(dropped.changes)
    clock.now = SECONDS_HELD + 1
    counts.append(dropped.changes)
    assert counts == sorted(set(counts))
    assert dropped.changes == counts[-1]


def test_a_page_holds_eight_and_all_pages_together_a_bounded_number(
    dropped: DroppedModels, tmp_path: Path
) -> None:
    files = [network_file(tmp_path / str(seed), seed) for seed in range(PER_SESSION + 1)]
    _, *held, removed = dropped.receive(files, "page")
    keys = [key for key, _ in dropped.of("page")]
    assert keys == [verdict.key for verdict in reversed(held)]
    assert (removed.file, removed.key) == ("mine.pt", None)
    assert "removed to make room" in removed.sentence
    *_, removed = dropped.receive([network_file(tmp_path / "more", 99, "more.pt")], "page")
    assert (removed.file, removed.key) == ("mine", None)
    for number in range(HELD):
        list(dropped.receive([files[0]], f"page {number}"))
    assert dropped.of("page") == []


def test_the_same_model_again_says_so_and_leaves_the_first(
    dropped: DroppedModels, tmp_path: Path
) -> None:
    first, *others = [network_file(tmp_path, name=f"{name}.pt") for name in "abc"]
    one, two = dropped.receive([first, others[0]], "page")
    (three,) = dropped.receive([others[1]], "page")
    assert [key for key, _ in dropped.of("page")] == [one.key] == [two.key] == [three.key]
    assert (one.same_as, two.same_as, three.same_as) == ("", "a", "a")
    html = results_html([two], "compared")
    assert "<strong>b.pt</strong> holds the same model as a, which is already compared." in html


def test_a_file_dropped_again_has_no_second_line_about_its_refusal() -> None:
    refused = DroppedFile("a.pt", "a.pt is truncated.", None)
    other = DroppedFile("b.pt", "b.pt is empty.", None)
    read = DroppedFile("a.pt", "DigitCNN.", "dropped-1")
    twin = DroppedFile("c.pt", "DigitCNN.", "dropped-1", same_as="a")
    assert with_new((refused, other), (read,)) == (other, read)
    assert with_new((read,), (twin,)) == (read, twin)
    assert with_new((read,), (refused,)) == (read, refused)
    assert len(with_new((), [other] * 100)) == MOST_LINES


def test_saving_a_rebuilt_network_never_overwrites_a_file(
    tmp_path: Path, dropped: DroppedModels
) -> None:
    (verdict,) = dropped.receive([network_file(tmp_path / "mine")], "page")
    assert verdict.key is not None
    found = dropped.get(verdict.key)
    assert found is not None
    folder = tmp_path / "checkpoints"
    first, second = save_dropped(found, folder), save_dropped(found, folder)
    assert [first.name, second.name] == ["mine.pt", "mine-2.pt"]
    assert load(first).digest == load(second).digest == found.digest
    assert load(first).details == found.details


def test_a_saved_model_still_rejects_non_digits(tmp_path: Path, dropped: DroppedModels) -> None:
    detector = random_detector().with_threshold(1.0)
    save(tmp_path / "tells.pt", DigitCNN().eval(), Details(digits="synthetic"), detector)
    (verdict,) = dropped.receive([tmp_path / "tells.pt"], "page")
    found = dropped.get(verdict.key or "")
    assert found is not None
    kept = load(save_dropped(found, tmp_path / "checkpoints"))
    assert kept.ood is not None
    assert kept.ood.threshold == 1.0


def test_weights_only_are_saved_as_weights_only(tmp_path: Path, dropped: DroppedModels) -> None:
    bare = tmp_path / "bare.pt"
    torch.save(DigitCNN(generator=torch.Generator().manual_seed(3)).state_dict(), bare)
    (verdict,) = dropped.receive([bare], "page")
    assert "weights only" in verdict.sentence.lower()
    assert verdict.key is not None
    found = dropped.get(verdict.key)
    assert found is not None
    path = save_dropped(found, tmp_path / "checkpoints")
    assert load(path).fitted().digest == found.digest


def test_a_dropped_model_serves_by_its_key_and_is_listed_to_its_page_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, tmp_path / "outputs", tmp_path / "ck", tmp_path / "f.sqlite3")
    models = Models(workspace)
    (verdict,) = models.receive([network_file(tmp_path / "mine")], "me")
    assert verdict.key is not None
    assert models.get(verdict.key).name == "mine"
    assert [key for _, key in models.choices("me")] == [verdict.key]
    assert models.choices("you") == []
    assert models.choices() == []
    models.dropped.forget("me")
    with pytest.raises(CheckpointError, match="drop the file again"):
        models.get(verdict.key)


def test_too_many_files_at_a_time_give_one_sentence(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, tmp_path / "outputs", tmp_path / "ck", tmp_path / "f.sqlite3")
    with pytest.raises(CheckpointError, match="9 files were dropped"):
        Models(workspace).receive([Path("x.pt")] * 9, "me")


def test_file_names_are_shown_as_text(dropped: DroppedModels, tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.pt"
    path.write_text("no network")
    shown = results_html(list(dropped.receive([path], "page")), "open")
    assert "<img" not in shown
    assert "&lt;img" in shown


def test_a_strangers_network_is_rebuilt_compared_and_saved_in_our_format(
    dropped: DroppedModels, tmp_path: Path
) -> None:
    digits = synthetic.draw("synthetic", "train", images=1000)
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(784, 24), torch.nn.ReLU(), torch.nn.Linear(24, 10)
    )
    optimizer = torch.optim.Adam(network.parameters(), 0.003)
    pixels, labels = digits.images.flatten(1).float() / 255, digits.labels.long()
    for _ in range(80):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(pixels), labels).backward()
        optimizer.step()
    torch.save({"epoch": 1, "state_dict": network.state_dict()}, tmp_path / "theirs.ckpt")
    (verdict,) = dropped.receive([tmp_path / "theirs.ckpt"], "page")
    assert verdict.sentence.startswith("Perceptron: linear 784-24-10, 19,090 parameters; ")
    model = dropped.get(verdict.key or "")
    assert model is not None
    kept = load(save_dropped(model, tmp_path / "checkpoints"))
    assert kept.name == "theirs"
    assert (kept.digest, kept.verdict) == (model.digest, model.verdict)
