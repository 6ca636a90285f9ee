"""The Evaluate tab without a browser: consistent numbers; unusual sets, requests and models."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from matplotlib.text import Text

from digitcnn.analysis import figures
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.metrics import Gap, decimal, gap_text
from digitcnn.analysis.predictions import predict
from digitcnn.cli import main
from digitcnn.digits import synthetic
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet, split_held_out
from digitcnn.digits.idx import write_idx
from digitcnn.digits.names import set_title
from digitcnn.digits.sources import SOURCES
from digitcnn.errors import CheckpointError, DigitSetError
from digitcnn.folders import SHIPPED, SHIPPED_FILE
from digitcnn.intervals import accuracy_text, newcombe_difference, percent
from digitcnn.network import checkpoint
from digitcnn.network.checkpoint import Details
from digitcnn.options import FIGURES
from digitcnn.services.evaluation import FigureCache, evaluate
from digitcnn.ui.error_browser import ANY, ANY_ERROR, error_tiles, suspect_tiles
from digitcnn.ui.evaluation_steps import (
    EvaluationRequest,
    evaluation_steps,
    evaluation_subject,
    example_of,
)
from digitcnn.ui.evaluation_view import gap_sentence
from digitcnn.ui.gap_section import gap_steps
from digitcnn.ui.models import Models
from digitcnn.ui.set_chooser import OWN, WRITTEN_BY, explained, fetching
from digitcnn.ui.subject import Subject
from digitcnn.workspace import Workspace

# The figures that all tests of this file share.
CACHE = FigureCache()


def lay(folder: Path, name: str, digits: DigitSet, stem: str = "test") -> None:
    (folder / name).mkdir(parents=True)
    write_idx(folder / name / f"{stem}-images-idx3-ubyte.gz", digits.images)
    write_idx(folder / name / f"{stem}-labels-idx1-ubyte.gz", digits.labels)


def working_in(folder: Path, data: Path) -> Workspace:
    """A workspace with the checkpoint that ships."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    shutil.copy(SHIPPED_FILE, folder / "checkpoints")
    return Workspace(
        data, folder / "out", folder / "checkpoints", folder / "f.sqlite3", device="cpu"
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Workspace:
    """Two test sets: ``small``, and drawn digits in the form of EMNIST's files."""
    folder = tmp_path_factory.mktemp("evaluate")
    shutil.copytree(data_dir / "small", folder / "data" / "small")
    others = synthetic.draw("synthetic-other-writers", "test", images=60)
    lay(folder / "data", "emnist-digits", transposed(others), "emnist-digits-test")
    return working_in(folder, folder / "data")


def transposed(digits: DigitSet) -> DigitSet:
    images = digits.images.transpose(1, 2).contiguous()
    return DigitSet(images, digits.labels, digits.name, digits.split)


@pytest.fixture(scope="module")
def trained(workspace: Workspace) -> Path:
    """The folder of a run on ``small`` that the command made; its checkpoint is called mine."""
    recipe = ["--digits", "small", "--epochs", "1", "--batch-size", "64", "--name", "mine"]
    recipe += ["--train-images", "128"]
    folders = ["--output-dir", str(workspace.outputs), "--data-dir", str(data_of(workspace))]
    folders += ["--checkpoint-dir", str(workspace.checkpoints_folder), "--device", "cpu"]
    assert main(["train", *recipe, "--no-viz", "--no-stability", *folders]) == 0
    return workspace.outputs / "mine"


def data_of(workspace: Workspace) -> Path:
    return workspace.catalog.data_dir


def steps_of(
    workspace: Workspace, sets: Any, name: str = SHIPPED, *, save: bool = False
) -> Iterator[dict[str, Any]]:
    """What the page shows after a press of the button."""
    return evaluation_steps(workspace, CACHE, request_for(workspace, sets, name), save=save)


def request_for(workspace: Workspace, sets: Any, name: str) -> EvaluationRequest:
    models = Models(workspace)
    subject = evaluation_subject(workspace, models, name, sets)
    return EvaluationRequest.check(workspace, models, subject, 2)


def numbers(workspace: Workspace, sets: Any) -> dict[str, Any]:
    """What the page shows before the figures."""
    return next(update for update in steps_of(workspace, sets) if update.get("table"))


def findings_of(workspace: Workspace, sets: list[str], name: str) -> Findings:
    request = request_for(workspace, sets, name)
    return evaluate(request.checkpoint, request.digit_sets, predict=workspace.predict)


@pytest.fixture(scope="module")
def shown(workspace: Workspace, trained: Path) -> dict[str, Any]:
    """All that the owner sees of ``mine`` on both sets, ticked in the other order."""
    shown: dict[str, Any] = {}
    for update in steps_of(workspace, ["emnist-digits", "small"], "mine", save=True):
        shown |= update
    return shown


# --- Agreement ------------------------------------------------------------------------------------


def rows(html: str, part: str = "tbody") -> list[list[str]]:
    """Texts of the cells of a table's part."""
    body = html[html.index(f"<{part}>") : html.index(f"</{part}>")]
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("</tr>")[:-1]]
    return [[unescape(cell.replace("<br>", "")) for cell in row] for row in cells]


def files(html: str) -> list[list[dict[str, str]]]:
    """The rows of every CSV file that is offered."""
    offered = re.findall(r'href="data:text/csv[^,]*,([^"]+)"', html)
    texts = (base64.b64decode(data).decode() for data in offered)
    return [list(csv.DictReader(io.StringIO(text))) for text in texts]


def words(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", html))


def as_shown(found: Mapping[str, Any]) -> list[str]:
    """Numbers of a set in the page's form: accuracy, NLL, Brier, ECE, macro-F1."""
    return [
        accuracy_text(float(found["accuracy"]), int(found["n"])),
        decimal(float(found["nll"])),
        decimal(float(found["brier"])),
        percent(float(found["ece"])),
        percent(float(found["macro_f1"])),
    ]


def share(value: float | str | None) -> str:
    """A number of JSON or CSV in the page's form."""
    return "–" if value in (None, "") else percent(float(value))


@pytest.fixture(scope="module")
def json_output(workspace: Workspace, trained: Path) -> Any:
    """What ``evaluate --json`` prints."""
    file = str(workspace.checkpoints_folder / "mine.pt")
    command = ["evaluate", "--checkpoint", file, "--digits", "small,emnist-digits", "--json"]
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main([*command, "--data-dir", str(data_of(workspace)), "--device", "cpu"]) == 0
    return json.loads(printed.getvalue())


def test_numbers_agree_on_page_json_csv_run_and_figures(
    workspace: Workspace, trained: Path, shown: dict[str, Any], json_output: dict[str, Any]
) -> None:
    written = json.loads((trained / "metrics.json").read_text())
    table, per_digit, confusion = files(shown["words"])
    findings = findings_of(workspace, ["small", "emnist-digits"], "mine")
    bars = words_on(figures.draw("04_cross_dataset_evaluation", findings))
    names = ["small", "emnist-digits"]

    assert [row[0] for row in rows(shown["table"])] == [set_title(name, "test") for name in names]
    for name, row, line in zip(names, rows(shown["table"]), table, strict=False):
        assert row[1:3] == [f"{json_output[name]['n']:,}", line["errors"]]
        for values in (json_output[name], written[name], line):
            assert as_shown(values) == row[3:]
        assert row[3] in bars
        assert row[3] in words(shown["status"])
    for name in names:
        page = [row[2:] for row in rows(shown["per_digit"]) if row[0] == set_title(name, "test")]
        file = [row for row in per_digit if row["digits"] == name]
        for numbers in (json_output[name]["per_digit"], written[name]["per_digit"], file):
            ratios = ("precision", "recall", "f1")
            assert page == [
                [*(share(row[ratio]) for ratio in ratios), f"{int(row['support']):,}"]
                for row in numbers
            ]
    matrices = figures.draw("07_confusion_matrix", findings).axes
    for name, axes in zip(names, matrices, strict=False):
        pattern = rf'data-digits="{name}" data-true="(\d)" data-predicted="(\d)"[^>]*>([\d,]+)<'
        cells = {(int(t), int(p)): n for t, p, n in re.findall(pattern, shown["matrices"])}
        file = [row for row in confusion if row["digits"] == name]
        for counts in (
            json_output[name]["confusion"],
            written[name]["confusion"],
            [[int(row[f"predicted_{digit}"]) for digit in range(10)] for row in file],
        ):
            assert cells == {
                (true, predicted): f"{count:,}"
                for true, row in enumerate(counts)
                for predicted, count in enumerate(row)
                if count
            }
        drawn = {(text.get_position()[::-1]): text.get_text() for text in axes.texts}
        assert cells == drawn


def test_the_gap_agrees_on_page_csv_and_figure(
    workspace: Workspace, shown: dict[str, Any], json_output: dict[str, Any]
) -> None:
    title = "small test minus EMNIST digits test"
    ((name, *cells),) = rows(shown["table"], "tfoot")
    n, m = json_output["small"]["n"], json_output["emnist-digits"]["n"]
    accuracies = json_output["small"]["accuracy"], json_output["emnist-digits"]["accuracy"]
    low, high = newcombe_difference(round(accuracies[0] * n), n, round(accuracies[1] * m), m)
    points = accuracies[0] - accuracies[1]
    computed = gap_text(Gap("", "", 100 * points, 100 * low, 100 * high))
    assert (name, cells[2]) == (title, computed)
    line = files(shown["words"])[0][-1]
    assert line["digits"] == title
    parts = (100 * float(line[f"accuracy{end}"]) for end in ("", "_low", "_high"))
    assert gap_text(Gap("", "", *parts)) == computed
    findings = findings_of(workspace, ["small", "emnist-digits"], "mine")
    assert f"{title}: {computed}" in words_on(figures.draw("04_cross_dataset_evaluation", findings))


def words_on(figure: Any) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


# --- Figures --------------------------------------------------------------------------------------


def test_a_runs_figures_are_on_the_page_and_in_its_folder(
    trained: Path, shown: dict[str, Any]
) -> None:
    for name in FIGURES:
        assert (trained / "figures" / f"{name}.png").read_bytes() == shown["figures"][name]
    assert len(list((trained / "figures").iterdir())) == len(FIGURES)


def test_a_second_evaluation_draws_nothing_and_a_model_without_a_run_writes_no_files(
    workspace: Workspace, shown: dict[str, Any], tmp_path: Path
) -> None:
    elsewhere = Workspace(
        data_of(workspace),
        tmp_path / "out",
        workspace.checkpoints_folder,
        tmp_path / "f.sqlite3",
        device="cpu",
    )
    steps = list(steps_of(elsewhere, ["small", "emnist-digits"], "mine", save=True))
    (at_once,) = (update for update in steps if update.get("figures"))
    assert at_once["figures"] == shown["figures"]
    assert not [update for update in steps if "Drawing" in update.get("status", "")]
    assert not list((tmp_path / "out").rglob("*.png"))


# --- Unusual sets and requests ------------------------------------------------------------


@pytest.mark.parametrize("sets", [None, [], "small", [3], ["nothing"], ["../x"], [{}] * 3])
def test_invalid_sets_are_refused(workspace: Workspace, sets: Any) -> None:
    with pytest.raises(DigitSetError):
        next(steps_of(workspace, sets))


def test_a_deleted_model_is_refused(workspace: Workspace) -> None:
    with pytest.raises(CheckpointError):
        next(steps_of(workspace, ["small"], "gone"))


@pytest.mark.parametrize("chosen", [slice(0, 1), "one class"])
def test_sets_of_one_image_or_one_class_show_dashes(
    tmp_path: Path, drawn: DigitSet, chosen: Any
) -> None:
    few = drawn.take(drawn.labels == 3 if chosen == "one class" else chosen)
    lay(tmp_path / "data", "few", few)
    shown = numbers(working_in(tmp_path, tmp_path / "data"), ["few"])
    assert "–" in words(shown["per_digit"])
    assert "nan" not in words(shown["table"] + shown["per_digit"]).lower()


def test_all_wrong_predictions_show_zeros_and_dashes(tmp_path: Path, drawn: DigitSet) -> None:
    network = checkpoint.load(SHIPPED_FILE).network
    threes = drawn.take(predict(network, drawn).predicted == 3)
    wrong = DigitSet(threes.images, threes.labels * 0 + 4, "wrong", "test")
    lay(tmp_path / "data", "wrong", wrong)
    shown = numbers(working_in(tmp_path, tmp_path / "data"), ["wrong"])
    ((_, n, errors, accuracy, *_, macro_f1),) = rows(shown["table"])
    assert (n, errors, macro_f1) == (str(len(wrong)), str(len(wrong)), "0.00%")
    assert accuracy.startswith("0.00% (0.00 to ")
    nothing = ["–", "–", "–", "0"]
    assert [row[2:] for row in rows(shown["per_digit"])] == [
        *([nothing] * 3),
        ["0.00%", "–", "0.00%", "0"],
        ["–", "0.00%", "0.00%", str(len(wrong))],
        *([nothing] * 5),
    ]


def test_without_internet_emnist_fails_and_the_rest_works(tmp_path: Path) -> None:
    working = working_in(tmp_path, tmp_path / "data")
    # Nobody listens at that port.
    nowhere = replace(SOURCES["emnist-digits"], urls=("http://127.0.0.1:9/gzip.zip",))  # type: ignore[type-var]
    working.catalog = Catalog(tmp_path / "data", sources={"emnist-digits": nowhere})
    *_, (said, button, choice) = fetching(working)
    assert "127.0.0.1:9" in said.value
    assert said.value.endswith("You can still evaluate the sets above.")
    assert button == choice == gr.skip()


def test_errors_are_filtered_by_true_and_predicted_digit(workspace: Workspace) -> None:
    models = Models(workspace)
    subject = Subject.of(workspace, models, [SHIPPED], ["small"])
    (checkpoint,), digit_set = subject.open(workspace, models, "small")
    predictions = workspace.predict(checkpoint, digit_set)
    threes = error_tiles(digit_set, predictions, checkpoint, "3", "3")
    assert threes.count("<li>") == int((digit_set.labels == 3).sum()) > 0
    assert threes.count("<li>") == threes.count("labelled 3<")
    for odd in (("3", "no"), (None, ANY_ERROR), (ANY, ["3"])):
        with pytest.raises(DigitSetError, match="Unknown pair"):
            error_tiles(digit_set, predictions, checkpoint, *odd)


def test_a_model_replaced_since_its_evaluation_is_refused(workspace: Workspace) -> None:
    models = Models(workspace)
    subject = replace(Subject.of(workspace, models, [SHIPPED], ["small"]), digests=("0",))
    with pytest.raises(CheckpointError, match="has changed; compute its results again"):
        subject.open(workspace, models, "small")


def test_errors_open_on_the_first_set_of_the_table(shown: dict[str, Any]) -> None:
    assert rows(shown["table"])[0][0] == "small test"
    assert "The most confident errors on small test" in shown["errors"]


def test_the_gap_of_the_first_set_is_that_of_the_last(workspace: Workspace, trained: Path) -> None:
    models = Models(workspace)
    view = Subject.of(workspace, models, ["mine"], ["small", "emnist-digits"])
    update = next(gap_steps(workspace, models, view, "small"))
    assert "Converting EMNIST digits to MNIST framing" in update["status"]
    with pytest.raises(DigitSetError, match="evaluate a second set"):
        next(gap_steps(workspace, models, replace(view, sets=("small",)), "small"))


def test_every_available_set_names_its_writers(workspace: Workspace) -> None:
    lines = {name: label.split("\n")[1] for label, name in explained(workspace)}
    assert lines == {
        "emnist-digits": WRITTEN_BY["emnist-digits"],
        "synthetic": WRITTEN_BY["synthetic"],
        "synthetic-other-writers": WRITTEN_BY["synthetic-other-writers"],
        "small": OWN,
    }


@pytest.mark.parametrize(
    ("gap", "sentence"),
    [
        (
            Gap("a test", "b test", 2.5, 1.0, 4.0),
            "On b test images the model is 2.50 points less",
        ),
        (
            Gap("a test", "b test", -2.5, -4.0, -1.0),
            "2.50 points more accurate than on a test",
        ),
        (Gap("a test", "b test", 0.5, -1.0, 2.0), "no difference in accuracy"),
    ],
)
def test_a_gap_is_a_sentence(gap: Gap, sentence: str) -> None:
    assert sentence in gap_sentence(gap)


def test_the_accuracies_of_the_table_are_on_the_cards(shown: dict[str, Any]) -> None:
    for row in rows(shown["table"]):
        assert row[3].split(" ")[0] in words(shown["summary"])
    assert shown["worst"].count("<li>") <= 6


def test_label_errors_without_training_images_name_the_download(workspace: Workspace) -> None:
    small = workspace.catalog.open("small", "test")
    with pytest.raises(DigitSetError, match="data download mnist"):
        suspect_tiles(workspace, Models(workspace).get(SHIPPED), small)


def test_wrong_labels_are_suspected_wherever_the_digit_is_in_the_image(
    tmp_path: Path, data_dir: Path, drawn: DigitSet
) -> None:
    # Training images moved by four pixels under the label of the next digit.
    some = drawn.take(slice(0, 200))
    moved = DigitSet(some.images.roll(4, dims=2), (some.labels + 1) % 10, "moved", "test")
    shutil.copytree(data_dir / "small", tmp_path / "data" / "small")
    lay(tmp_path / "data", "moved", moved)
    working = working_in(tmp_path, tmp_path / "data")
    models = Models(working)
    network = models.get(SHIPPED).network
    details = Details(digits="small", fingerprints={"train": split_held_out(drawn)[0].fingerprint})
    checkpoint.save(tmp_path / "checkpoints" / "small.pt", network, details)
    html = suspect_tiles(working, models.get("small"), moved)
    heading = re.search(r"errors on moved test: (\d+)", html)
    assert heading
    right = working.predict(models.get("small"), moved).predicted == some.labels
    # All five neighbours agree for 60 of 189, since there are few to choose from; without framing
    # for one.
    assert int(right.sum()) / 4 <= int(heading[1]) <= int(right.sum())


def test_the_example_image_is_found_or_refused(drawn: DigitSet) -> None:
    place = example_of(drawn, "4", 1.0)
    assert int(drawn.labels[place]) == 4
    assert int((drawn.labels[:place] == 4).sum()) == 1
    for odd in ((ANY, -1), (ANY, 480), ("4", 1e9), ("x", 0), (ANY, None), (ANY, float("nan"))):
        with pytest.raises(DigitSetError):
            example_of(drawn, *odd)
