"""The command line as a script uses it: JSON on standard output, one sentence for bad input."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from warm_process import WarmCommand

from digitcnn.__main__ import script
from digitcnn.cli import main
from digitcnn.digits.catalog import Catalog
from digitcnn.network import checkpoint

PLAIN = ["--no-viz", "--no-stability"]
TINY = [
    *("--epochs", "2", "--batch-size", "64", "--learning-rate", "0.004", "--digits", "small"),
    *("--train-images", "128"),
    *PLAIN,
]


class Here:
    """Commands on folders of one test's own."""

    def __init__(self, folder: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.data_dir, self.capsys = folder, data_dir, capsys

    def folders(self, data_dir: Path | None = None) -> list[str]:
        return [
            *("--output-dir", str(self.folder / "outputs")),
            *("--checkpoint-dir", str(self.folder / "checkpoints")),
            *("--data-dir", str(data_dir or self.data_dir), "--device", "cpu"),
        ]

    def json(self, *arguments: str) -> Any:
        status = main([*arguments, "--json"])
        out, err = self.capsys.readouterr()
        assert status == 0, err
        return json.loads(out)

    def refusal(self, *arguments: str) -> str:
        """The one sentence with which the command is refused."""
        try:
            status = main(list(arguments))
        except SystemExit as leaving:
            status = int(str(leaving.code))
        out, err = self.capsys.readouterr()
        assert status == 2
        assert out == ""
        assert "Traceback" not in err
        assert len(err.splitlines()) == 1, err
        return err


@pytest.fixture
def here(tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(tmp_path, data_dir, capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> tuple[str, dict[str, Any]]:
    """A model for the tests that only use one: its checkpoint and its metrics."""
    folder = tmp_path_factory.mktemp("trained")
    printed = io.StringIO()
    command = ["train", *TINY, "--json", "--output-dir", str(folder / "outputs")]
    command += ["--checkpoint-dir", str(folder), "--data-dir", str(data_dir), "--device", "cpu"]
    with redirect_stdout(printed):
        assert main(command) == 0
    result = json.loads(printed.getvalue())
    return result["checkpoint"], result["metrics"]


def test_train_writes_a_run_and_a_checkpoint_and_names_them_in_json(here: Here) -> None:
    result = here.json("train", *TINY, "--name", "first", *here.folders())
    assert set(result) == {"run", "checkpoint", "digest", "epochs", "seconds", "metrics"}
    assert (result["run"], result["epochs"]) == ("first", 2)
    loaded = checkpoint.load(Path(result["checkpoint"]))
    assert loaded.digest == result["digest"]
    assert loaded.details.config["train_images"] == 128
    assert result["metrics"]["small"]["n"] == 100
    assert result["metrics"]["held_out"]["n"] == 40
    assert loaded.details.metrics == result["metrics"]


def test_the_same_command_gives_the_same_weights(here: Here) -> None:
    first, second = (
        here.json("train", *TINY, "--name", name, *here.folders()) for name in ("one", "two")
    )
    assert first["digest"] == second["digest"]
    assert first["metrics"] == second["metrics"]


def test_a_training_prints_a_line_for_each_epoch_and_phase(here: Here) -> None:
    assert main(["train", *TINY, *here.folders()]) == 0
    said = here.capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in said if line.startswith("epoch")] == [
        "epoch 1",
        "epoch 2",
    ]
    phases = [line.split(":")[0].split(",")[0] for line in said if line.endswith(" ...")]
    assert "fitting the OOD detector's threshold ..." in phases
    # Its drawing, its rounds, its threshold; what figures are drawn, and passes of two kinds made.
    assert len(phases) < 12, said


def test_no_save_writes_neither_checkpoint_nor_resume_state(here: Here) -> None:
    result = here.json("train", *TINY, "--no-save", "--name", "light", *here.folders())
    assert result["checkpoint"] is None
    assert not list(here.folder.rglob("*.pt"))
    assert "finished" in here.refusal("train", "--resume", "light", *here.folders())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--epochs", "0"], "epochs is 0"),
        (["--epochs", "many"], "many"),
        (["--digits", "nonsense"], "nonsense"),
        (["--digits", "../etc"], "etc"),
        (["--digits", "small", "--train-images", "441"], "440"),
        (["--name", "../up"], "../up"),
        (["--resume", "nothing"], "nothing"),
        (["--device", "abacus"], "abacus"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_unusable_settings_give_one_sentence(here: Here, arguments: list[str], named: str) -> None:
    assert named in here.refusal("train", "--digits", "small", *here.folders(), *arguments)
    assert not list(here.folder.rglob("*.pt"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_gives_one_sentence(here: Here) -> None:
    here.folder.chmod(0o500)
    assert "cannot be written" in here.refusal("train", *TINY, *here.folders())


def lay_small_set(folder: Path, data_dir: Path) -> Path:
    (folder / "data" / "small").mkdir(parents=True)
    for path in (data_dir / "small").iterdir():
        (folder / "data" / "small" / path.name).write_bytes(path.read_bytes())
    return folder / "data"


@pytest.mark.parametrize("damage", ["truncated", "swapped", "oversized", "html", "empty"])
def test_a_damaged_digit_file_gives_one_sentence(here: Here, damage: str) -> None:
    data = lay_small_set(here.folder, here.data_dir)
    images = data / "small" / "train-images-idx3-ubyte.gz"
    labels = data / "small" / "train-labels-idx1-ubyte.gz"
    whole = gzip.decompress(images.read_bytes())
    if damage == "truncated":
        images.write_bytes(gzip.compress(whole[:-1000]))
    elif damage == "oversized":
        images.write_bytes(gzip.compress(whole[:4] + b"\x7f\xff\xff\xff" + whole[8:]))
    elif damage == "html":
        images.write_bytes(b"<!DOCTYPE html><html><body>Moved</body></html>")
    elif damage == "empty":
        images.write_bytes(b"")
    else:
        first, second = images.read_bytes(), labels.read_bytes()
        images.write_bytes(second)
        labels.write_bytes(first)
    assert "small" in here.refusal("train", *TINY, *here.folders(data))


def test_evaluate_gives_every_number_of_a_test_set(
    here: Here, trained: tuple[str, dict[str, Any]]
) -> None:
    file, metrics = trained
    data = ["--data-dir", str(here.data_dir)]
    command = ["evaluate", "--checkpoint", file, "--digits", "small,synthetic"]
    result = here.json(*command, *data)
    assert list(result) == ["small", "synthetic"]
    assert result["small"] == metrics["small"]
    assert result["synthetic"]["n"] == 4000
    assert sum(map(sum, result["synthetic"]["confusion"])) == 4000
    assert "nonsense" in here.refusal(*command[:-1], "nonsense", *data)


def picture(path: Path, data_dir: Path) -> int:
    """The first test digit, four times as large, dark on light; returns its label."""
    test = Catalog(data_dir).open("small", "test")
    pixels = 255 - test.images[0].numpy()
    Image.fromarray(np.kron(pixels, np.ones((4, 4), np.uint8))).save(path)
    return int(test.labels[0])


def test_predict_classifies_every_picture(here: Here, trained: tuple[str, dict[str, Any]]) -> None:
    digit, blank, two = (here.folder / f"{name}.png" for name in ("digit", "blank", "two"))
    picture(digit, here.data_dir)
    Image.new("L", (50, 40), 255).save(blank)
    bars = np.full((200, 300), 255, np.uint8)
    bars[50:150, [*range(80, 92), *range(200, 212)]] = 0
    Image.fromarray(bars).save(two)
    result = here.json("predict", "--checkpoint", trained[0], *map(str, (digit, blank, two)))
    number = result[str(two)]
    assert (number["digit"], number["is_digit"]) == (None, False)
    assert number["number"] == "".join(str(part["digit"]) for part in number["parts"])
    assert [part["box"][0] for part in number["parts"]] == pytest.approx([80, 200], abs=4)
    assert result[str(blank)] == {"digit": None, "blank": True}
    answer = result[str(digit)]
    assert len(answer["probabilities"]) == 10
    assert sum(answer["probabilities"]) == pytest.approx(1)
    assert answer["digit"] == int(np.argmax(answer["probabilities"]))


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_a_picture_that_is_not_an_image_gives_one_sentence(
    here: Here, trained: tuple[str, dict[str, Any]], content: bytes
) -> None:
    broken = here.folder / "broken.png"
    broken.write_bytes(content)
    assert "broken.png" in here.refusal("predict", "--checkpoint", trained[0], str(broken))
    assert "gone.png" in here.refusal("predict", "--checkpoint", trained[0], "gone.png")


def test_a_file_that_is_not_a_checkpoint_gives_one_sentence(here: Here) -> None:
    text = here.folder / "text.pt"
    text.write_text("just words")
    assert "text.pt" in here.refusal("predict", "--checkpoint", str(text), "x.png")


def test_a_file_without_end_is_too_large_for_a_picture(
    here: Here, trained: tuple[str, dict[str, Any]]
) -> None:
    endless = here.folder / "endless.png"
    with endless.open("wb") as file:
        file.truncate(1 << 42)
    refusal = here.refusal("predict", "--checkpoint", trained[0], str(endless))
    assert "endless.png: The image is larger than 20 MiB; save a smaller one." in refusal


def test_a_missing_device_gives_one_sentence(
    here: Here, trained: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refusal = here.refusal("predict", "--checkpoint", trained[0], "--device", "cuda", "x.png")
    assert refusal.endswith(
        "finds no cuda device on this machine; check its driver, or use --device cpu.\n"
    )


def test_a_generated_set_has_nothing_to_download(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "download", "synthetic", "--data-dir", str(here.folder)]) == 0
    assert capsys.readouterr().err == "synthetic is generated, so there is nothing to download.\n"


def test_data_list_names_every_set_with_what_is_here(here: Here) -> None:
    sets = here.json("data", "list", "--data-dir", str(here.data_dir))["sets"]
    rows = {(row["name"], row["split"]): row for row in sets}
    assert all(set(row) == {"name", "split", "n", "present", "path", "problem"} for row in sets)
    assert rows["small", "train"]["n"] == 480
    assert rows["small", "train"]["present"] is True
    assert rows["mnist", "train"]["present"] is False
    assert rows["synthetic", "train"]["present"] is True


def start(here: Here, *arguments: str) -> WarmCommand:
    return WarmCommand("train", "--json", *arguments, *here.folders(), folder=here.folder)


def wait_for_epoch(here: Here, run: str, process: WarmCommand) -> None:
    deadline = time.monotonic() + 90
    while not (here.folder / "outputs" / run / "resume.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


LONG = [
    *("--digits", "small", "--epochs", "6", "--batch-size", "16", "--seed", "3"),
    *("--train-images", "128"),
    *PLAIN,
]


@pytest.mark.long
def test_ctrl_c_leaves_the_finished_epochs_and_resume_ends_as_uninterrupted(here: Here) -> None:
    process = start(here, *LONG, "--name", "cut")
    wait_for_epoch(here, "cut", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.poll() == 130
    assert "Traceback" not in err
    stopped = json.loads(out)
    half = checkpoint.load(Path(stopped["checkpoint"]))
    assert half.details.state == f"stopped at epoch {stopped['epochs']} of 6"
    resumed = here.json("train", "--resume", "cut", *here.folders())
    assert resumed["epochs"] == 6
    whole = here.json("train", *LONG, "--name", "whole", *here.folders())
    assert resumed["digest"] == whole["digest"]


@pytest.mark.long
def test_kill_loses_at_most_the_current_epoch(here: Here) -> None:
    process = start(here, *LONG, "--name", "killed")
    wait_for_epoch(here, "killed", process)
    process.kill()
    process.communicate(timeout=60)
    resumed = here.json(
        "train", "--resume", str(here.folder / "outputs" / "killed"), *here.folders()
    )
    assert resumed["epochs"] == 6
    whole = here.json("train", *LONG, "--name", "whole", *here.folders())
    assert resumed["digest"] == whole["digest"]


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "data list", "data download"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([*command.split(), "--help"])
    assert leaving.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_help_shows_the_default_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for default in ("(default: 12)", "(default: 256)", "(default: 0.008)"):
        assert default in shown


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["data", "list", "--help"], "usage: digitcnn data list"),
        (["--help"], "usage: digitcnn [-h] [--host HOST]"),
    ],
)
def test_the_script_runs_commands_and_else_the_app(
    arguments: list[str],
    shown: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["digitcnn", *arguments])
    with pytest.raises(SystemExit) as leaving:
        script()
    assert leaving.value.code == 0
    assert shown in capsys.readouterr().out
