from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text

from digitcnn.analysis import figures
from digitcnn.analysis.figures import NAMES
from digitcnn.analysis.metrics import accuracy_text, percent
from digitcnn.cli import main
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import write_idx
from digitcnn.errors import CheckpointError, DigitCNNError, DigitSetError
from digitcnn.ui.error_browser import ANY, ANY_WRONG, error_tiles, suspect_tiles
from digitcnn.ui.evaluating import Evaluating, example_of
from digitcnn.ui.figure_sheets import FigureSheets
from digitcnn.ui.models import Models
from digitcnn.ui.shown import Shown
from digitcnn.workspace import PROGRAM_FOLDER, SHIPPED, Workspace


@pytest.fixture
def workspace(tmp_path: Path, data_dir: Path) -> Workspace:
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(PROGRAM_FOLDER / "checkpoints" / f"{SHIPPED}.pt", tmp_path / "checkpoints")
    return Workspace(
        data_dir, tmp_path / "out", tmp_path / "checkpoints", tmp_path / "f.sqlite3", device="cpu"
    )


def evaluating(workspace: Workspace, sets: Any, name: str = SHIPPED, passes: Any = 2) -> Evaluating:
    return Evaluating(workspace, Models(workspace), FigureSheets(), name, sets, passes)


def everything(evaluated: Evaluating) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for looks in evaluated.steps(ANY, 0, keep=True):
        shown |= looks
    return shown


def words(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", html))


def test_page_json_csv_metrics_and_figures_agree_to_the_last_shown_digit(
    workspace: Workspace,
    data_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = ["--output-dir", str(workspace.outputs), "--data-dir", str(data_dir)]
    folders += ["--checkpoint-dir", str(workspace.checkpoints_folder), "--device", "cpu"]
    recipe = ["--digits", "small", "--epochs", "1", "--batch-size", "64", "--name", "mine"]
    assert main(["train", *recipe, "--no-viz", "--no-stability", "--json", *folders]) == 0
    capsys.readouterr()
    written = json.loads((workspace.outputs / "mine" / "metrics.json").read_text())["small"]
    file = str(workspace.checkpoints_folder / "mine.pt")
    command = ["evaluate", "--checkpoint", file, "--digits", "small", "--json"]
    assert main([*command, "--data-dir", str(data_dir), "--device", "cpu"]) == 0
    told = json.loads(capsys.readouterr().out)["small"]
    evaluated = evaluating(workspace, ["small"], "mine")
    shown = everything(evaluated)
    address = re.search(r'href="data:text/csv[^,]*,([^"]+)"', shown["words"])
    assert address
    (row,) = csv.DictReader(io.StringIO(base64.b64decode(address[1]).decode()))
    findings = evaluated._from_cache(0)
    figure = figures.draw("04_cross_dataset_evaluation", findings)
    drawn = " ".join(text.get_text() for text in figure.findobj(Text))

    page = words(shown["table"])
    for numbers in (written, told, {key: float(row[key]) for key in told if key in row}):
        assert accuracy_text(numbers["accuracy"], 100) in page
        assert accuracy_text(numbers["accuracy"], 100) in drawn
        for name in ("nll", "brier"):
            assert f"{numbers[name]:.4f}" in page
        for name in ("ece", "macro_f1"):
            assert percent(numbers[name]) in page
    assert sorted(path.stem for path in (workspace.outputs / "mine" / "figures").iterdir()) == (
        list(NAMES)
    )


def test_the_figures_of_a_network_of_elsewhere_are_on_the_page_and_in_no_file(
    workspace: Workspace,
) -> None:
    shown = everything(evaluating(workspace, ["small"]))
    assert all("data:image/png" in shown[name] for name in NAMES)
    assert not list(workspace.outputs.rglob("*.png"))


@pytest.mark.parametrize("sets", [None, [], "small", [3], ["nothing"], ["../x"], [{}] * 3])
def test_sets_that_cannot_be_evaluated_are_refused_in_a_sentence(
    workspace: Workspace, sets: Any
) -> None:
    with pytest.raises(DigitSetError):
        evaluating(workspace, sets)


def test_a_model_that_was_deleted_meanwhile_is_refused(workspace: Workspace) -> None:
    with pytest.raises(CheckpointError):
        evaluating(workspace, ["small"], "gone")


@pytest.mark.parametrize("chosen", [slice(0, 1), "one class"])
def test_sets_of_one_image_or_one_class_show_dashes(
    workspace: Workspace, tmp_path: Path, drawn: DigitSet, chosen: Any
) -> None:
    chosen = drawn.labels == 3 if chosen == "one class" else chosen
    few = drawn.take(chosen)
    (tmp_path / "data" / "few").mkdir(parents=True)
    write_idx(tmp_path / "data" / "few" / "test-images-idx3-ubyte.gz", few.images)
    write_idx(tmp_path / "data" / "few" / "test-labels-idx1-ubyte.gz", few.labels)
    other = Workspace(
        tmp_path / "data",
        workspace.outputs,
        workspace.checkpoints_folder,
        tmp_path / "g.sqlite3",
        device="cpu",
    )
    shown = everything(evaluating(other, ["few"]))
    assert "–" in words(shown["per_digit"])
    assert "nan" not in words(shown["table"] + shown["per_digit"]).lower()


def test_errors_are_browsed_by_label_and_answer(workspace: Workspace) -> None:
    models = Models(workspace)
    checkpoint = models.get(SHIPPED)
    now = Shown(SHIPPED, checkpoint.digest, ("small",))
    threes = error_tiles(workspace, models, now, "small", "3", "3")
    assert threes.count("<li>") > 0
    assert threes.count("<li>") == threes.count("labelled 3 ")
    for odd in (("3", "no"), (None, ANY_WRONG), (ANY, ["3"])):
        with pytest.raises(DigitCNNError):
            error_tiles(workspace, models, now, "small", *odd)
    with pytest.raises(CheckpointError, match="another network"):
        error_tiles(workspace, models, Shown(SHIPPED, "0", ("small",)), "small", ANY, ANY_WRONG)


def test_without_training_images_suspects_say_what_to_fetch(workspace: Workspace) -> None:
    models = Models(workspace)
    now = Shown(SHIPPED, models.get(SHIPPED).digest, ("small",))
    with pytest.raises(DigitSetError, match="data download mnist"):
        suspect_tiles(workspace, models, now, "small")


def test_the_digit_to_follow_is_found_or_refused(drawn: DigitSet) -> None:
    place = example_of(drawn, "4", 1.0)
    assert int(drawn.labels[place]) == 4
    assert int((drawn.labels[:place] == 4).sum()) == 1
    for odd in ((ANY, -1), (ANY, 480), ("4", 1e9), ("x", 0), (ANY, None), (ANY, float("nan"))):
        with pytest.raises(DigitSetError):
            example_of(drawn, *odd)
