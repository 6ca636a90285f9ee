"""``data list`` and ``data add`` from end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sample_feedback import sample

from digitcnn.cli import main
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import write_idx
from digitcnn.feedback.store import FeedbackStore
from digitcnn.network import checkpoint
from digitcnn.network.checkpoint import Details
from digitcnn.network.model import DigitCNN


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_an_added_set_is_listed_and_evaluated(
    tmp_path: Path, drawn: DigitSet, capsys: pytest.CaptureFixture[str]
) -> None:
    few = drawn.take(slice(0, 30))
    source = tmp_path / "digits.npz"
    np.savez(source, images=255 - few.images.numpy(), labels=few.labels.numpy())
    data = ["--data-dir", str(tmp_path / "data"), "--json"]
    status, out, _ = run(capsys, "data", "add", str(source), "--name", "mine", *data)
    assert status == 0
    assert json.loads(out) == {
        "name": "mine",
        "split": "test",
        "n": 30,
        "per_digit": np.bincount(few.labels.numpy(), minlength=10).tolist(),
        "frame": "none",
        "inverted": True,
        "fingerprint": few.fingerprint,
        "path": str(tmp_path / "data" / "mine"),
        "advice": None,
    }
    rows = json.loads(run(capsys, "data", "list", *data)[1])["sets"]
    shown = {key: rows[-1][key] for key in ("name", "split", "n", "present")}
    assert shown == {"name": "mine", "split": "test", "n": 30, "present": True}
    network = tmp_path / "network.pt"
    torch.manual_seed(0)
    checkpoint.save(network, DigitCNN(), Details(digits="synthetic"))
    status, out, _ = run(
        capsys, "evaluate", "--checkpoint", str(network), "--digits", "mine", *data
    )
    assert (status, json.loads(out)["mine"]["n"]) == (0, 30)


def test_feedback_is_listed_and_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "feedback.sqlite3"
    for digit in (7, 1):
        FeedbackStore(place).record(sample(sketch_id=str(digit), true_digit=digit))
    monkeypatch.setenv("DIGITCNN_FEEDBACK_URL", f"sqlite:///{place}")
    data = ["--data-dir", str(tmp_path / "data"), "--json"]
    rows = json.loads(run(capsys, "data", "list", *data)[1])["sets"]
    (row,) = [row for row in rows if row["name"] == "feedback"]
    assert (row["split"], row["n"], row["present"], row["path"]) == ("test", 2, True, None)
    network = tmp_path / "network.pt"
    checkpoint.save(network, DigitCNN(), Details(digits="synthetic"))
    command = ["evaluate", "--checkpoint", str(network), "--digits", "feedback", *data]
    status, out, _ = run(capsys, *command)
    assert (status, json.loads(out)["feedback"]["n"]) == (0, 2)


@pytest.fixture
def damaged(tmp_path: Path, drawn: DigitSet) -> Path:
    """A data folder whose MNIST files are truncated (train) and mismatched (test)."""
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for stem, labels in (("train", 30), ("t10k", 29)):
        write_idx(folder / f"{stem}-images-idx3-ubyte", drawn.images[:30])
        write_idx(folder / f"{stem}-labels-idx1-ubyte", drawn.labels[:labels])
    images = folder / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-100])
    return folder.parent


def test_a_damaged_set_is_listed_as_damaged(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["data", "list", "--data-dir", str(damaged)]
    rows = json.loads(run(capsys, *where, "--json")[1])["sets"]
    problems = {row["split"]: row["problem"] for row in rows if row["name"] == "mnist"}
    assert "train-images-idx3-ubyte is truncated" in problems["train"]
    assert "30 images but t10k-labels-idx1-ubyte has 29 labels" in problems["test"]
    assert not any(row["present"] for row in rows if row["name"] == "mnist")
    assert all(row["problem"] is None for row in rows if row["name"] != "mnist")
    lines = run(capsys, *where)[1].splitlines()
    for line, split in zip(lines, ("train", "test"), strict=False):
        assert line.split()[:3] == ["mnist", split, "damaged"]
        assert line.endswith(problems[split])


@pytest.mark.parametrize("command", ["train", "evaluate", "stability", "figures"])
def test_a_damaged_default_set_is_never_replaced_by_another(
    tmp_path: Path, damaged: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    network = tmp_path / "network.pt"
    checkpoint.save(network, DigitCNN(), Details(digits="synthetic"))
    options = (
        ["--output-dir", str(tmp_path / "runs"), "--no-save"]
        if command == "train"
        else ["--checkpoint", str(network)]
    )
    status, out, err = run(capsys, command, *options, "--data-dir", str(damaged))
    assert (status, out) == (2, "")
    assert f"mnist ({'train' if command == 'train' else 'test'}) cannot be used: " in err
    assert "synthetic" not in err


def test_a_bad_address_of_feedback_gives_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DIGITCNN_FEEDBACK_URL", "mysql://host/db")
    status, out, err = run(capsys, "data", "list", "--data-dir", str(tmp_path))
    assert (status, out) == (2, "")
    assert err.startswith("DIGITCNN_FEEDBACK_URL starts with 'mysql'")
    assert err.count("\n") == 1


def test_image_files_become_training_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for digit in (0, 1):
        (tmp_path / "images" / str(digit)).mkdir(parents=True)
        for number in range(3):
            page = Image.new("L", (90, 60), 240)
            page.paste(20, (30, 10, 35 + 10 * digit + number, 50))
            page.save(tmp_path / "images" / str(digit) / f"{number}.jpg")
    data = tmp_path / "data"
    command = ["data", "add", str(tmp_path / "images"), "--name", "mine", "--split", "train"]
    status, out, _ = run(capsys, *command, "--frame", "mnist", "--data-dir", str(data))
    assert (status, out) == (0, f"mine (train): 6 images in {data / 'mine'}.\n")
    assert Catalog(data).open("mine", "train").labels.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["gone.npz", "--name", "mine"], "Nothing was found at gone.npz"),
        (["gone.npz", "--name", "mnist"], "is a built-in set"),
        (["gone.npz", "--name", "../up"], "cannot be a folder's"),
        (["gone.npz", "--name", "small"], "has test digits already"),
    ],
)
def test_a_refused_set_gives_one_sentence(
    data_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    status, out, err = run(capsys, "data", "add", *arguments, "--data-dir", str(data_dir))
    assert (status, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", [["--split", "other"], ["--frame", "square"], []])
def test_unusable_options_give_one_sentence(
    capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    name = ["--name", "mine"] if option else []
    with pytest.raises(SystemExit) as leaving:
        main(["data", "add", "x.npz", *name, *option])
    assert leaving.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_sideways_set_is_reported_and_added_as_it_is(
    tmp_path: Path, drawn: DigitSet, capsys: pytest.CaptureFixture[str]
) -> None:
    few = drawn.take(slice(0, 100))
    source = tmp_path / "digits.npz"
    np.savez(source, images=few.images.transpose(1, 2).numpy(), labels=few.labels.numpy())
    data = ["--data-dir", str(tmp_path / "data"), "--json"]
    status, out, err = run(capsys, "data", "add", str(source), "--name", "sideways", *data)
    assert status == 0
    advice = json.loads(out)["advice"]
    assert re.fullmatch(r"\d+% as it is, \d+% transposed: add it with --transpose\.", advice)
    assert advice in err
    added = Catalog(tmp_path / "data").open("sideways", "test")
    assert torch.equal(added.images, few.images.transpose(1, 2))
    command = ["data", "add", str(source), "--name", "upright", "--transpose", *data]
    status, out, err = run(capsys, *command)
    assert (status, json.loads(out)["advice"], err) == (0, None, "")
    assert Catalog(tmp_path / "data").open("upright", "test").fingerprint == few.fingerprint
