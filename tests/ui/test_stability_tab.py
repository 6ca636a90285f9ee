"""What the Stability tab shows, without a browser: the same numbers as the command, and the odd
sets, presses and files that it must live with."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from digitcnn.analysis import stability
from digitcnn.analysis.metrics import percent
from digitcnn.analysis.stability import Stability
from digitcnn.cli import main
from digitcnn.digits import synthetic
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.idx import write_idx
from digitcnn.errors import CheckpointError, ConfigError, DigitCNNError, DigitSetError
from digitcnn.network import checkpoint
from digitcnn.network.checkpoint import Details
from digitcnn.network.model import DigitCNN
from digitcnn.options import Masks
from digitcnn.ui.models import Models
from digitcnn.ui.stability_charts import box_chart, line_chart
from digitcnn.ui.stability_tab import measured
from digitcnn.ui.stability_view import bound_sentence
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


def press(workspace: Workspace, digits: Any = "few", passes: Any = 5) -> Iterator[dict[str, Any]]:
    return measured(workspace, Models(workspace), "net", digits, passes)


def rows(html: str) -> list[list[str]]:
    """Texts of the cells of a table's body."""
    body = html[html.index("<tbody>") : html.index("</tbody>")]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in body.split("</tr>")[:-1]]


def test_the_page_shows_the_numbers_of_the_command(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, last = press(workspace)
    shown = {row[0]: row[1:] for row in rows(last["table"])}
    for masks, name in (("independent", "independent masks"), ("shared", "one mask per pass")):
        status = main(
            [
                *("stability", "--digits", "few", "--passes", "5", "--masks", masks, "--json"),
                *("--checkpoint", str(workspace.checkpoints_folder / "net.pt")),
                *("--data-dir", str(workspace.catalog.data_dir), "--device", "cpu"),
            ]
        )
        assert status == 0
        found = json.loads(capsys.readouterr().out)
        assert shown[name][:4] == [
            percent(found["mean"]),
            f"{100 * found['std']:.2f}",
            percent(found["min"]),
            percent(found["max"]),
        ]
        for index, accuracy in enumerate(found["accuracies"], 1):
            assert f"<title>pass {index}: {percent(accuracy)}</title>" in last["box"]


def test_the_line_grows_and_ends_with_every_pass(workspace: Workspace) -> None:
    looks = list(press(workspace, passes=30.0))
    counts = [look["line"].count(", pass ") for look in looks if "line" in look]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 2 * 30)
    # While it grows nothing else is touched: what is not sent does not flicker.
    assert all(set(look) <= {"status", "line"} for look in looks[1:-1])
    assert looks[-1]["run"].interactive is True


def test_bound_and_chance_are_shown_for_independent_masks_and_a_verdict_for_shared_ones(
    workspace: Workspace,
) -> None:
    *_, last = press(workspace)
    independent, shared = rows(last["table"])
    assert independent[5] != "–"
    assert (independent[6], independent[7]) == (f"{50 / 60**0.5:.2f}", "–")
    assert shared[5:7] == ["–", "–"]
    assert shared[7] in ("stable", "leaning on single neurons") or "neither" in shared[7]


@pytest.mark.parametrize(
    ("n", "says"),
    [
        (10_000, "marks of 1 and 2 points cannot be reached"),
        (1_000, "mark of 2 points cannot be reached"),
        (60, "say more about chance"),
    ],
)
def test_what_the_deviation_cannot_say_depends_on_the_number_of_images(n: int, says: str) -> None:
    assert says in bound_sentence(result(n=n))


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


def test_flips_and_gallery_are_those_of_the_analysis(workspace: Workspace) -> None:
    *_, last = press(workspace)
    loaded = workspace.checkpoints.get("net")
    predictions = workspace.predict(loaded, workspace.catalog.open("few", "test"), features=True)
    found = stability.measure(loaded.network, predictions, 5, masks="shared", temperature=0.8)
    for row in rows(last["flips"]):
        assert row[3] == percent(found.flipped_by_digit[int(row[0])])
    least = found.least_stable(12)
    assert last["gallery"].count("<li>") == len(least) + last["gallery"].split("one mask per pass")[
        0
    ].count("<li>")
    second = last["gallery"].split("one mask per pass")[1]
    assert [int(i) for i in re.findall(r"image (\d+)</div>", second)] == [i.index for i in least]
    assert f"entropy {least[0].predictive_entropy:.3f}" in second


@pytest.mark.parametrize(
    ("digits", "passes", "error"),
    [
        ("few", 0, ConfigError),
        ("few", 201, ConfigError),
        ("few", 1e300, ConfigError),
        ("few", 2.5, ConfigError),
        ("few", float("nan"), ConfigError),
        ("few", True, ConfigError),
        ("few", "<b>", ConfigError),
        ("few", None, ConfigError),
        (None, 5, DigitSetError),
        (["few"], 5, DigitSetError),
        ({"a": 1}, 5, DigitSetError),
        ("../few", 5, DigitSetError),
        ("mnist", 5, DigitSetError),
    ],
)
def test_what_cannot_be_measured_is_a_sentence_before_anything_is_computed(
    workspace: Workspace, digits: Any, passes: Any, error: type[DigitCNNError]
) -> None:
    with pytest.raises(error):
        next(press(workspace, digits, passes))


def test_a_model_that_was_deleted_is_a_sentence(workspace: Workspace) -> None:
    (workspace.checkpoints_folder / "net.pt").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        next(press(workspace))


def test_a_model_that_is_deleted_meanwhile_is_measured_to_the_end(workspace: Workspace) -> None:
    looks = press(workspace)
    next(looks)
    (workspace.checkpoints_folder / "net.pt").unlink()
    assert "table" in list(looks)[-1]


def test_two_who_press_at_once_get_the_same(workspace: Workspace) -> None:
    tables: list[str] = []

    def one() -> None:
        *_, last = press(workspace, passes=20)
        tables.append(last["table"] + last["flips"])

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(tables) == 3
    assert len(set(tables)) == 1


def test_a_page_that_is_closed_ends_the_computation(workspace: Workspace) -> None:
    looks = press(workspace, "synthetic")
    next(looks)
    assert "100 of 4,000" in next(looks)["status"]
    looks.close()  # type: ignore[attr-defined]
    for thread in threading.enumerate():
        if thread.name == "stability":
            thread.join(60)
    assert not list((workspace.outputs / ".predictions").glob("*"))


def test_charts_of_nothing_of_equal_and_of_perfect_accuracies_are_drawn() -> None:
    assert "appears here" in line_chart("", {}, 12, None)
    for accuracies in ([], [0.5], [0.5] * 3, [1.0, 1.0], [0.0, 1.0], [0.99591, 0.99592]):
        found: dict[Masks, list[float]] = {"independent": accuracies, "shared": accuracies}
        drawn = line_chart("few test", found, 12, 0.9) + box_chart("few test", found, 0.9)
        assert "nan" not in drawn
        assert drawn.count("<svg") == 2


def test_the_ticks_around_accuracies_tell_them_apart() -> None:
    drawn = line_chart("few test", {"shared": [0.9943, 0.9960]}, 2, None)
    ticks = [float(tick) for tick in re.findall(r'class="end">([\d.]+)<', drawn)]
    assert ticks == sorted(set(ticks))
    assert ticks[0] <= 99.43
    assert ticks[-1] >= 99.60


def test_the_name_of_a_set_is_text_in_the_charts() -> None:
    assert "<b>" not in line_chart("<b> test", {}, 2, None) + box_chart("<b> test", {}, None)
