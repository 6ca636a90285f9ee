"""The Stability tab without a browser: the command's numbers; unusual sets, requests, models."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from dropout_passes import measure

from digitcnn.analysis.stability import Stability
from digitcnn.cli import main
from digitcnn.digits import synthetic
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import write_idx
from digitcnn.errors import CheckpointError, ConfigError, DigitCNNError, DigitSetError
from digitcnn.intervals import percent
from digitcnn.network import checkpoint
from digitcnn.network.checkpoint import Details
from digitcnn.network.model import DigitCNN
from digitcnn.options import Masks
from digitcnn.ui.models import Models
from digitcnn.ui.stability_tab import stability_steps, stability_subject
from digitcnn.ui.stability_view import bound_sentence, box_chart, line_chart
from digitcnn.workspace import Workspace


def lay(folder: Path, name: str, digits: DigitSet) -> None:
    (folder / name).mkdir(parents=True)
    write_idx(folder / name / "test-images-idx3-ubyte.gz", digits.images)
    write_idx(folder / name / "test-labels-idx1-ubyte.gz", digits.labels)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One untrained network, and test sets of 60 images, of one image and of one class."""
    drawn = synthetic.draw("synthetic", "test", images=60)
    lay(tmp_path / "data", "few", drawn)
    lay(tmp_path / "data", "one", drawn.take(slice(0, 1)))
    lay(tmp_path / "data", "sevens", drawn.take((drawn.labels == 7).nonzero().squeeze(1)))
    torch.manual_seed(0)
    (tmp_path / "checkpoints").mkdir()
    details = Details(digits="few", epochs=3, planned_epochs=3, state="finished", temperature=0.8)
    checkpoint.save(tmp_path / "checkpoints" / "net.pt", DigitCNN(), details)
    return Workspace(
        tmp_path / "data",
        tmp_path / "outputs",
        tmp_path / "checkpoints",
        tmp_path / "feedback.sqlite3",
        "cpu",
    )


Steps = Generator[dict[str, Any], None, None]


def press(workspace: Workspace, digits: Any = "few", passes: Any = 5) -> Steps:
    models = Models(workspace)
    subject = stability_subject(workspace, models, "net", digits, passes)
    return stability_steps(workspace, models, subject, passes)


def measured(workspace: Workspace, masks: Masks) -> Stability:
    """The analysis of five passes over ``few``."""
    loaded = workspace.checkpoints.get("net")
    predictions = workspace.predict(loaded, workspace.catalog.open("few", "test"), features=True)
    return measure(loaded.network, predictions, 5, masks=masks, temperature=0.8)


def rows(html: str) -> list[list[str]]:
    """Texts of the cells of a table's body."""
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("</tr>")[:-1]]


def test_the_page_shows_the_numbers_of_the_command(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, last = press(workspace)
    shown = {row[0]: row[1:] for row in rows(last["table"])}
    for masks, name in (("independent", "Independent masks"), ("shared", "One mask per pass")):
        status = main(
            [
                *("stability", "--digits", "few", "--passes", "5", "--masks", masks, "--json"),
                *("--checkpoint", str(workspace.checkpoints_folder / "net.pt")),
                *("--data-dir", str(workspace.catalog.data_dir), "--device", "cpu"),
            ]
        )
        assert status == 0
        result = json.loads(capsys.readouterr().out)
        assert shown[name][:4] == [
            percent(result["mean"]),
            f"{100 * result['std']:.2f}",
            percent(result["min"]),
            percent(result["max"]),
        ]
        for index, accuracy in enumerate(result["accuracies"], 1):
            assert f"<title>pass {index}: {percent(accuracy)}</title>" in last["box"]


def test_the_line_grows_and_ends_with_every_pass(workspace: Workspace) -> None:
    updates = list(press(workspace, passes=30.0))
    counts = [update["line"].count(", pass ") for update in updates if "line" in update]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 2 * 30)
    # While it grows nothing else is sent, so nothing else flickers.
    assert all(set(update) <= {"status", "line"} for update in updates[1:-1])


def test_independent_masks_have_bound_and_chance_and_shared_masks_a_verdict(
    workspace: Workspace,
) -> None:
    *_, last = press(workspace)
    independent, shared = rows(last["table"])
    chance = measured(workspace, "independent").chance
    assert independent[5:] == [f"{100 * chance:.2f}", f"{50 / 60**0.5:.2f}", "–"]
    assert shared[5:] == ["–", "–", measured(workspace, "shared").verdict]


@pytest.mark.parametrize(
    ("n", "sentence"),
    [
        (10_000, "thresholds of 1 and 2 points cannot be reached"),
        (1_000, "threshold of 2 points cannot be reached"),
        (60, "say more about chance"),
    ],
)
def test_the_bound_sentence_depends_on_the_number_of_images(n: int, sentence: str) -> None:
    assert sentence in bound_sentence(result(n=n))


def result(n: int) -> Stability:
    empty = torch.zeros(0)
    return Stability(
        "few", "test", n, 0.9, 0.8, 1.0, 2, "independent", (0.9, 0.9), 0.9, 0.0, 0.9, 0.9,
        0.001, 0.5 / n**0.5, 0.0, (0.0,) * 10, empty, empty, empty, empty, empty,
    )  # fmt: skip


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("digits", ["one", "sevens"])
def test_undefined_numbers_are_dashes(workspace: Workspace, digits: str, passes: int) -> None:
    *_, last = press(workspace, digits, passes)
    assert "nan" not in "".join(str(part) for part in last.values()).lower()
    shares = {row[0]: row[2:] for row in rows(last["flips"])}
    present = [digit for digit, share in shares.items() if share != ["–", "–"]]
    assert len(present) == 1
    if digits == "sevens":
        assert present == ["7"]
    assert [row[2] == "–" for row in rows(last["table"])] == [passes == 1] * 2


def test_flips_and_least_stable_images_are_those_of_the_analysis(workspace: Workspace) -> None:
    *_, last = press(workspace)
    shared = measured(workspace, "shared")
    for row in rows(last["flips"]):
        assert row[3] == percent(shared.flipped_by_digit[int(row[0])])
    gallery = last["gallery"]
    shown = [int(index) for index in re.findall(r"image (\d+)</div>", gallery)]
    assert shown == shared.least_stable(6)
    table = last["entropy"][last["entropy"].index("one mask per pass") :]
    assert [row[0] for row in rows(table)] == [str(index) for index in shared.least_stable(12)]
    assert rows(table)[0][3] == f"{shared.predictive_entropy[shared.least_stable(1)[0]]:.3f}"


def test_the_badge_has_the_verdict_and_its_number(workspace: Workspace) -> None:
    *_, last = press(workspace)
    shared = measured(workspace, "shared")
    assert shared.verdict.capitalize() in last["badge"]
    assert f"± {100 * shared.std:.2f} points" in last["badge"]
    *_, once = press(workspace, passes=1)
    assert "no verdict" in once["badge"]


@pytest.mark.parametrize(
    ("digits", "passes", "error"),
    [
        ("few", 0, ConfigError),
        ("few", 201, ConfigError),
        ("few", 2.5, ConfigError),
        ("few", float("nan"), ConfigError),
        ("few", None, ConfigError),
        (None, 5, DigitSetError),
        (["few"], 5, DigitSetError),
        ("../few", 5, DigitSetError),
        ("mnist", 5, DigitSetError),
    ],
)
def test_invalid_requests_are_refused_before_anything_is_shown(
    workspace: Workspace, digits: Any, passes: Any, error: type[DigitCNNError]
) -> None:
    with pytest.raises(error):
        next(press(workspace, digits, passes))


def test_a_deleted_model_is_refused(workspace: Workspace) -> None:
    (workspace.checkpoints_folder / "net.pt").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        next(press(workspace))


def test_a_model_deleted_during_the_measurement_is_measured_to_the_end(
    workspace: Workspace,
) -> None:
    steps = press(workspace)
    next(steps)
    (workspace.checkpoints_folder / "net.pt").unlink()
    assert "table" in list(steps)[-1]


def test_simultaneous_measurements_get_the_same_result(workspace: Workspace) -> None:
    def measure() -> str:
        *_, last = press(workspace, passes=20)
        return last["table"] + last["flips"]

    with ThreadPoolExecutor(3) as threads:
        tables = {future.result(60) for future in [threads.submit(measure) for _ in range(3)]}
    assert len(tables) == 1


def test_closing_the_page_ends_the_computation(workspace: Workspace) -> None:
    before = set(threading.enumerate())
    steps = press(workspace, "synthetic")
    next(steps)
    assert "100 of 4,000" in next(steps)["status"]
    (work,) = [thread for thread in threading.enumerate() if thread not in before]
    steps.close()
    work.join(60)
    assert not work.is_alive()
    # The predictions are cached once they are complete.
    assert not list((workspace.outputs / ".predictions").glob("*"))


@pytest.mark.parametrize("accuracies", [[], [0.5], [0.5, 0.5], [1.0, 1.0], [0.0, 1.0]])
def test_charts_are_drawn_of_any_accuracies(accuracies: list[float]) -> None:
    both: dict[Masks, list[float]] = {"independent": accuracies, "shared": accuracies}
    charts = line_chart("few test", both, 12, None) + box_chart("few test", both, None)
    assert charts.count("<svg") == 2
    assert "nan" not in charts
    assert ("will appear here" in charts) == (not accuracies)
    assert charts.count("pass 1: ") == 4 * bool(accuracies)


def test_close_accuracies_have_ticks_around_them() -> None:
    chart = line_chart("few test", {"shared": [0.9943, 0.9960]}, 2, None)
    ticks = [float(tick) for tick in re.findall(r'class="end"[^>]*>([\d.]+)<', chart)]
    assert ticks == sorted(set(ticks))
    assert len(ticks) > 1
    assert ticks[0] <= 99.43
    assert ticks[-1] >= 99.60


def test_the_name_of_a_set_is_text_in_the_charts() -> None:
    assert "<b>" not in line_chart("<b> test", {}, 2, None) + box_chart("<b> test", {}, None)
