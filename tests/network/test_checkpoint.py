"""Checkpoints: what was saved comes back, once written they stay, a folder is inspected once."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CheckpointError
from digitcnn.network.checkpoint import (
    INPUT_SCALINGS,
    Checkpoint,
    Details,
    choose_scaling,
    digest,
    load,
    save,
)
from digitcnn.network.checkpoint_folder import BadCheckpoint, CheckpointFolder
from digitcnn.network.model import DigitCNN

DETAILS = Details(
    digits="synthetic",
    epochs=12,
    planned_epochs=12,
    state="finished",
    seed=0,
    config={"digits": "synthetic", "learning_rate": 0.008, "augmentation": True},
    history=[{"epoch": 1, "loss": 0.5, "accuracy": 0.9, "seconds": 1.5}],
    fingerprints={"train": "ab" * 32, "held_out": "cd" * 32},
    metrics={"held_out": {"n": 40, "accuracy": 0.975}, "synthetic": {"n": 1000, "accuracy": 0.996}},
    temperature=1.25,
    created="2026-01-02T03:04:05+00:00",
    versions={"torch": "2.11", "digitcnn": "0.1.0"},
)


def network(seed: int = 0) -> DigitCNN:
    """Random weights, and statistics of batch norm that are not their defaults."""
    generator = torch.Generator().manual_seed(seed)
    made = DigitCNN(generator=generator)
    for norm in (made.norm1, made.norm2):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
    return made.eval()


def images(n: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(256, (n, 28, 28), generator=generator, dtype=torch.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


# --- save and load ------------------------------------------------------------------------------


def test_a_saved_network_comes_back_bit_for_bit_with_its_details(folder: Path) -> None:
    saved = network()
    written = save(folder / "first.pt", saved, DETAILS)
    loaded = load(folder / "first.pt")
    state = saved.state_dict()
    assert loaded.network.state_dict().keys() == state.keys()
    for name, tensor in loaded.network.state_dict().items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, state[name])
    with torch.inference_mode():
        assert torch.equal(
            loaded.network(loaded.network.prepare(images())), saved(saved.prepare(images()))
        )
    assert loaded.details == DETAILS
    assert loaded.digest == written == digest(state)
    assert (loaded.name, loaded.path) == ("first", folder / "first.pt")
    assert loaded.size == (folder / "first.pt").stat().st_size


def test_a_loaded_network_is_in_evaluation_mode_without_gradients(folder: Path) -> None:
    save(folder / "a.pt", network().train(), DETAILS)
    loaded = load(folder / "a.pt").network
    assert not any(module.training for module in loaded.modules())
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert {tensor.device.type for tensor in loaded.state_dict().values()} == {"cpu"}


def test_bytes_are_loaded_as_the_file_they_came_from(folder: Path) -> None:
    save(folder / "a.pt", network(), DETAILS)
    dropped = load((folder / "a.pt").read_bytes(), "my <b>best</b> network.pt")
    assert (dropped.name, dropped.path) == ("my <b>best</b> network", None)
    assert dropped.digest == load(folder / "a.pt").digest


def test_a_network_in_another_memory_format_is_the_same_checkpoint(folder: Path) -> None:
    plain, channels_last = network(), network().to(memory_format=torch.channels_last)
    assert not channels_last.conv2.weight.is_contiguous()
    first = save(folder / "a.pt", plain, DETAILS)
    assert save(folder / "b.pt", channels_last, DETAILS) == first == load(folder / "b.pt").digest


def test_loading_leaves_the_random_numbers_of_others_alone(folder: Path) -> None:
    save(folder / "a.pt", network(), DETAILS)
    before = torch.get_rng_state()
    load(folder / "a.pt")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("present", ["checkpoint", "text", "folder", "dangling link"])
def test_save_never_overwrites_an_existing_file(folder: Path, present: str) -> None:
    path = folder / "taken.pt"
    make: dict[str, Callable[[], Any]] = {
        "checkpoint": lambda: save(path, network(1), DETAILS),
        "text": lambda: path.write_text("mine"),
        "folder": path.mkdir,
        "dangling link": lambda: path.symlink_to(folder / "nowhere"),
    }

    def state() -> dict[str, Any]:
        found = os.lstat(path)
        # Not when it was read last: to look whether a link leads somewhere reads it.
        said = (part for part in dir(found) if part.startswith("st_") and "atime" not in part)
        return {part: getattr(found, part) for part in said}

    make[present]()
    before = state()
    content = path.read_bytes() if path.is_file() else b""
    with pytest.raises(CheckpointError, match=r"^taken\.pt already exists in "):
        save(path, network(), DETAILS)
    assert state() == before
    assert content == (path.read_bytes() if path.is_file() else b"")
    assert [entry.name for entry in folder.iterdir()] == ["taken.pt"]


def test_a_folder_that_cannot_be_written_gives_one_sentence(folder: Path) -> None:
    (folder / "file").write_text("in the way")
    for path in (folder / "file" / "a.pt", folder / "missing" / "a.pt"):
        with pytest.raises(CheckpointError, match=r"a\.pt cannot be written to .*choose another"):
            save(path, network(), DETAILS)


@pytest.mark.skipif(os.geteuid() == 0, reason="the root user may write everywhere")
def test_a_folder_without_write_permission_gives_one_sentence(folder: Path) -> None:
    folder.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match="Permission denied"):
            save(folder / "a.pt", network(), DETAILS)
    finally:
        folder.chmod(0o700)


def test_a_full_disk_gives_one_sentence_and_leaves_nothing(folder: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond 1 MB: the write then fails as on a full disk.
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    try:
        with pytest.raises(CheckpointError, match="free space"):
            save(folder / "a.pt", network(), DETAILS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(folder.iterdir()) == []


# --- digest -------------------------------------------------------------------------------------


def test_the_digest_is_sha256_over_name_dtype_shape_and_bytes_in_the_order_of_names() -> None:
    state = {
        "b": torch.tensor([[1.5, -2.0]]),
        "a": torch.tensor(3),
        "c": torch.zeros(0, dtype=torch.uint8),
    }
    by_hand = hashlib.sha256(
        b"a torch.int64 \n"
        + np.array(3, "<i8").tobytes()
        + b"b torch.float32 1x2\n"
        + np.array([1.5, -2.0], "<f4").tobytes()
        + b"c torch.uint8 0\n"
    )
    assert digest(state) == by_hand.hexdigest()


def test_the_digest_does_not_depend_on_order_layout_or_file(folder: Path) -> None:
    state = network().state_dict()
    assert digest(dict(reversed(state.items()))) == digest(state)
    turned = {**state, "output.weight": state["output.weight"].T.contiguous().T}
    assert digest(turned) == digest(state)
    save(folder / "a.pt", network(), DETAILS)
    save(folder / "b.pt", network(), dataclasses.replace(DETAILS, seed=1))
    safetensors.torch.save_file(state, folder / "c.safetensors")
    assert (folder / "a.pt").read_bytes() != (folder / "b.pt").read_bytes()
    assert {load(path).digest for path in folder.iterdir()} == {digest(state)}


@pytest.mark.parametrize(
    "change",
    [
        {"output.bias": torch.zeros(10)},
        {"output.bias": None, "output.bios": torch.ones(10)},
        {"output.bias": torch.ones(10, dtype=torch.float64)},
        {"output.bias": torch.ones(2, 5)},
    ],
    ids=["value", "name", "dtype", "shape"],
)
def test_the_digest_changes_with_value_name_dtype_and_shape(change: dict[str, Any]) -> None:
    state = {**network().state_dict(), "output.bias": torch.ones(10)}
    changed = {k: v for k, v in {**state, **change}.items() if v is not None}
    assert digest(changed) != digest(state)


@pytest.mark.parametrize("form", ["ours", "weights only"])
def test_finite_weights_whose_outputs_overflow_are_refused(folder: Path, form: str) -> None:
    overflowing = network()
    with torch.no_grad():
        overflowing.hidden.weight *= 1e30
        overflowing.output.weight *= 1e30
    save(folder / "large.pt", overflowing, DETAILS if form == "ours" else Details())
    with pytest.raises(
        CheckpointError,
        match=r"^large\.pt gives NaN or infinite numbers for images, because .*; train it again\.$",
    ):
        load(folder / "large.pt")


# --- details and verdict ------------------------------------------------------------------------


def test_nan_becomes_none_in_json() -> None:
    details = dataclasses.replace(
        DETAILS, metrics={"synthetic": {"n": 10, "accuracy": 0.5, "macro_f1": math.nan}}
    )
    assert details.metrics["synthetic"]["macro_f1"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": -1},
        {"epochs": True},
        {"seed": 1.5},
        {"digits": ""},
        {"digits": "two\nlines"},
        {"state": "stopped at epoch 3 of 12"},
        {"temperature": math.inf},
        {"created": "2026-01-02T03:04:05"},
        {"created": "2026-01-02T03:04:05+02:00"},
        {"history": [{"epoch": 1, "loss": math.nan, "accuracy": 0.5}]},
        {"metrics": {"synthetic": {"accuracy": 0.5}}},
        {"fingerprints": {"train": "AB" * 32}},
        {"config": {"rate": {1, 2}}},
    ],
    ids=str,
)
def test_details_that_cannot_be_read_back_are_refused_on_creation(
    change: dict[str, Any],
) -> None:
    with pytest.raises(CheckpointError, match=r"^A checkpoint that .* would not be read back\.$"):
        dataclasses.replace(DETAILS, **change)


@pytest.mark.parametrize(
    ("details", "verdict"),
    [
        (
            DETAILS,
            "digitcnn network, trained on synthetic digits for 12 epochs, seed 0, "
            "99.60% (98.98 to 99.84) on synthetic digits test images (claimed by its file)",
        ),
        (
            dataclasses.replace(
                DETAILS,
                epochs=1,
                state="stopped at epoch 1 of 12",
                metrics={"held_out": {"n": 40, "accuracy": 0.975}},
            ),
            "digitcnn network, trained on synthetic digits for 1 epoch, seed 0, "
            "stopped at epoch 1 of 12, 97.50% (87.12 to 99.56) on held-out synthetic digits images "
            "(claimed by its file)",
        ),
        (
            dataclasses.replace(DETAILS, metrics={}),
            "digitcnn network, trained on synthetic digits for 12 epochs, seed 0",
        ),
    ],
    ids=["finished", "stopped", "without metrics"],
)
def test_the_verdict_describes_the_network_and_marks_claims(
    folder: Path, details: Details, verdict: str
) -> None:
    save(folder / "a.pt", network(), details)
    assert load(folder / "a.pt").verdict == verdict


def test_probabilities_are_the_softmax_of_logits_over_the_temperature(folder: Path) -> None:
    save(folder / "warm.pt", network(), DETAILS)
    save(folder / "plain.pt", network(), dataclasses.replace(DETAILS, temperature=None))
    with torch.no_grad():
        logits = network()(network().prepare(images()))
    for name, temperature in (("warm", 1.25), ("plain", 1.0)):
        powers = (logits.double() / temperature).exp()
        expected = powers / powers.sum(1, keepdim=True)
        answer = load(folder / f"{name}.pt").probabilities(images())
        assert answer.dtype == torch.float32
        torch.testing.assert_close(answer.double(), expected, rtol=1e-4, atol=1e-6)


# --- bare weights -------------------------------------------------------------------------------


def stranger(bias: bool) -> nn.Sequential:
    """The same network as somebody else would write it."""
    torch.manual_seed(3)
    made = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=bias), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=bias), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 320), nn.ReLU(), nn.Dropout(0.4), nn.Linear(320, 10),
    )  # fmt: skip
    made(torch.randn(8, 1, 28, 28))  # moves the statistics of batch norm
    return made.eval()


def without_counters(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if "num_batches" not in name}


BARE: dict[str, Callable[[nn.Sequential, Path], Any]] = {
    "state dict": lambda net, path: torch.save(net.state_dict(), path),
    "without counters": lambda net, path: torch.save(without_counters(net.state_dict()), path),
    "in another order": lambda net, path: torch.save(
        dict(reversed(net.state_dict().items())), path
    ),
    "in a wrapper's names": lambda net, path: torch.save(
        {f"module.net.{name}": value for name, value in net.state_dict().items()}, path
    ),
    "beside an optimiser": lambda net, path: torch.save(
        {
            "epoch": 3,
            "model_state_dict": net.state_dict(),
            "optimizer": torch.optim.Adam(net.parameters()).state_dict(),
        },
        path,
    ),
    "as parameters": lambda net, path: torch.save(
        {**dict(net.named_buffers()), **dict(net.named_parameters())}, path
    ),
    "safetensors": lambda net, path: safetensors.torch.save_file(net.state_dict(), path),
    "safetensors with a word": lambda net, path: safetensors.torch.save_file(
        net.state_dict(), path, {"format": "pt"}
    ),
}


@pytest.mark.parametrize("bias", [True, False], ids=["with bias", "without bias"])
@pytest.mark.parametrize("form", BARE)
def test_weights_only_predict_as_the_network_they_were_taken_from(
    form: str, bias: bool, folder: Path
) -> None:
    theirs = stranger(bias)
    path = folder / ("a.safetensors" if form.startswith("safetensors") else "a.pt")
    BARE[form](theirs, path)
    loaded = load(path)
    prepared = loaded.network.prepare(images())
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(prepared), theirs(prepared))
    assert loaded.details == Details()
    assert loaded.verdict == "digitcnn weights only, no training details"


@pytest.mark.parametrize("name", INPUT_SCALINGS)
def test_the_input_scaling_of_weights_only_is_detected(name: str, drawn: DigitSet) -> None:
    learner = DigitCNN(*INPUT_SCALINGS[name], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        learner.conv1.weight[0] = 0  # a dead channel
    optimiser = torch.optim.SGD(learner.parameters(), 0.02)
    for picked in torch.arange(240).repeat(2).split(12):
        logits = learner(learner.prepare(drawn.images[picked]))
        optimiser.zero_grad()
        functional.cross_entropy(logits, drawn.labels[picked].long()).backward()
        optimiser.step()
    others = drawn.take(slice(240, None))
    assert choose_scaling(learner.state_dict(), others) == (*INPUT_SCALINGS[name], name)


def test_another_scaling_changes_the_digest_and_is_described(folder: Path) -> None:
    torch.save(network().state_dict(), folder / "a.pt")
    plain = load(folder / "a.pt")
    scaled = plain.scaled(0.5, 0.5, "-1 to 1")
    expected = network()(images().unsqueeze(1) / 127.5 - 1)
    answer = scaled.network(scaled.network.prepare(images()))
    torch.testing.assert_close(answer, expected.detach(), rtol=1e-4, atol=1e-4)
    assert scaled.digest != plain.digest
    assert scaled.verdict.endswith("training details, detected input scaling -1 to 1")
    same = plain.scaled(*INPUT_SCALINGS["MNIST mean and deviation"], "MNIST mean and deviation")
    assert same.digest == plain.digest


@pytest.mark.long
def test_weights_only_in_a_folder_are_fitted_and_predict_the_same_when_reread(
    folder: Path, drawn: DigitSet
) -> None:
    learner = DigitCNN(0.5, 0.5, generator=torch.Generator().manual_seed(1)).train()
    with torch.no_grad():
        for _ in range(40):  # moves the statistics of batch norm to those of this scaling
            learner(learner.prepare(drawn.images[:100]))
    save(folder / "bare.pt", learner, Details())
    checkpoints = CheckpointFolder(folder)
    (listed,) = checkpoints.list()
    assert isinstance(listed, Checkpoint)
    assert listed.scaling == "-1 to 1"
    assert listed.details == Details()
    assert (listed.network.input_mean, listed.network.input_std) == (0.5, 0.5)
    assert checkpoints.get("bare").digest == listed.digest
    assert load(folder / "bare.pt").fitted().digest == listed.digest


def test_a_second_folder_adds_what_the_first_does_not_hide(folder: Path, tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    save(shipped / "a.pt", network(), DETAILS)
    save(shipped / "b.pt", network(), DETAILS)
    both = CheckpointFolder(tmp_path / "not-there-yet", also=shipped)
    assert {entry.name for entry in both.list()} == {"a", "b"}
    save(folder / "a.pt", network(), Details())
    both = CheckpointFolder(folder, also=shipped)
    assert {entry.name for entry in both.list()} == {"a", "b"}
    assert both.get("a").details == Details()
    assert both.get("b").details == DETAILS


def test_a_checkpoint_with_a_stored_scaling_is_not_fitted(folder: Path) -> None:
    save(folder / "a.pt", network(), DETAILS)
    loaded = load(folder / "a.pt")
    assert loaded.fitted() is loaded


def test_a_network_with_a_scaling_can_be_saved_as_a_checkpoint(folder: Path) -> None:
    torch.save(network().state_dict(), folder / "a.pt")
    scaled = load(folder / "a.pt").scaled(0.0, 1.0, "0 to 1")
    assert save(folder / "kept.pt", scaled.network, DETAILS) == scaled.digest
    kept = load(folder / "kept.pt")
    assert kept.digest == scaled.digest
    assert (kept.network.input_mean, kept.network.input_std) == (0.0, 1.0)


# --- folders ------------------------------------------------------------------------------------


def set_age(path: Path, seconds: int) -> None:
    os.utime(path, (1_000_000_000 - seconds,) * 2)


def test_a_folder_lists_the_newest_first_and_bad_files_with_their_sentence(folder: Path) -> None:
    save(folder / "old.pt", network(1), DETAILS)
    save(folder / "new.pt", network(2), DETAILS)
    (folder / "broken.pt").write_text("these are not weights")
    safetensors.torch.save_file(network(3).state_dict(), folder / "new.safetensors")
    for age, name in enumerate(("new.pt", "broken.pt", "new.safetensors", "old.pt")):
        set_age(folder / name, age)
    found = CheckpointFolder(folder).list()
    assert [entry.name for entry in found] == ["new", "broken", "new.safetensors", "old"]
    assert [type(entry) for entry in found] == [Checkpoint, BadCheckpoint, Checkpoint, Checkpoint]
    broken = found[1]
    assert isinstance(broken, BadCheckpoint)
    assert broken.path == folder / "broken.pt"
    assert broken.reason.startswith("broken.pt is a text file")


def test_files_without_a_checkpoint_name_are_not_listed(folder: Path) -> None:
    for name in (".a.pt.x1.tmp", ".hidden.pt", "notes.txt", "weights.bin"):
        (folder / name).write_text("x")
    assert CheckpointFolder(folder).list() == []
    assert CheckpointFolder(folder / "missing").list() == []


def test_a_file_is_inspected_again_only_when_it_changed(folder: Path) -> None:
    save(folder / "a.pt", network(1), DETAILS)
    (folder / "b.pt").write_text("broken")
    set_age(folder / "a.pt", 10)
    asked = CheckpointFolder(folder)
    first = {entry.name: entry for entry in asked.list()}
    assert all(entry is first[entry.name] for entry in asked.list())
    (folder / "b.pt").unlink()
    save(folder / "b.pt", network(2), DETAILS)
    second = {entry.name: entry for entry in asked.list()}
    assert second["a"] is first["a"]
    assert isinstance(second["b"], Checkpoint)
    (folder / "a.pt").unlink()
    assert [entry.name for entry in asked.list()] == ["b"]


def test_a_listing_holds_no_networks_and_get_caches_the_last_eight(folder: Path) -> None:
    for seed in range(9):
        save(folder / f"n{seed}.pt", network(seed), DETAILS)
    asked = CheckpointFolder(folder)
    listed = asked.list()
    assert all(isinstance(entry, Checkpoint) and entry.held is None for entry in listed)
    first = asked.get("n0").network
    assert asked.get("n0").network is first
    for seed in range(1, 8):
        asked.get(f"n{seed}")
    assert asked.get("n0").network is first
    for seed in range(1, 9):
        asked.get(f"n{seed}")
    assert asked.get("n0").network is not first
    state = asked.get("n0").network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in first.state_dict().items())


def test_a_listed_network_is_read_on_use_and_must_be_unchanged(
    folder: Path,
) -> None:
    save(folder / "a.pt", network(1), DETAILS)
    (entry,) = CheckpointFolder(folder).list()
    assert isinstance(entry, Checkpoint)
    assert digest(entry.network.state_dict()) == entry.digest
    (folder / "a.pt").unlink()
    with pytest.raises(CheckpointError, match=r"a\.pt does not exist"):
        _ = entry.network
    save(folder / "a.pt", network(2), DETAILS)
    with pytest.raises(CheckpointError, match=r"a\.pt now contains another model"):
        _ = entry.network


def test_get_lists_the_available_checkpoints_for_an_unknown_name(folder: Path) -> None:
    asked = CheckpointFolder(folder)
    with pytest.raises(CheckpointError, match="There is no checkpoint a; train one"):
        asked.get("a")
    save(folder / "known.pt", network(), DETAILS)
    (folder / "broken.pt").write_text("these are not weights")
    for name in ("unknown", "known.pt", "../checkpoints/known", str(folder / "known")):
        with pytest.raises(CheckpointError, match=r"available: known\.$"):
            asked.get(name)
    with pytest.raises(CheckpointError, match=r"broken\.pt is a text file"):
        asked.get("broken")


def test_many_threads_may_ask_while_files_come_and_go(folder: Path) -> None:
    save(folder / "stays.pt", network(1), DETAILS)
    asked = CheckpointFolder(folder)
    done, errors = threading.Event(), []

    def watch() -> None:
        try:
            while not done.is_set():
                names = {entry.name for entry in asked.list()}
                assert "stays" in names
                assert names <= {"stays", "comes"}
                assert asked.get("stays").details == DETAILS
        except BaseException as error:
            errors.append(error)
            raise

    watchers = [threading.Thread(target=watch) for _ in range(4)]
    for watcher in watchers:
        watcher.start()
    for seed in range(4):
        save(folder / "comes.pt", network(seed), DETAILS)
        (folder / "comes.pt").unlink()
    done.set()
    for watcher in watchers:
        watcher.join(30)
    assert errors == []


def test_the_shipped_checkpoint_is_accepted() -> None:
    shipped = Path(__file__).parents[2] / "checkpoints" / "digitcnn-mnist.pt"
    if not shipped.exists():
        pytest.skip("no model ships with this tree")
    loaded = load(shipped)
    assert loaded.details.digits == "mnist"
    assert loaded.details.state == "finished"
