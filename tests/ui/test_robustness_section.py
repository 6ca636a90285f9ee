"""Robustness on the page, without a browser: of one model in Evaluate, of several in Compare."""

from __future__ import annotations

import base64
import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from digitcnn.analysis import figures
from digitcnn.analysis.adversarial import CURVE_SIZES, AttackCurve
from digitcnn.analysis.axes import AXES
from digitcnn.analysis.figures import style
from digitcnn.analysis.robustness import Curve, Robustness
from digitcnn.digits import synthetic
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import MNIST_C_SETS
from digitcnn.errors import DigitSetError
from digitcnn.folders import SHIPPED, SHIPPED_FILE
from digitcnn.intervals import accuracy_text, percent, wilson_interval
from digitcnn.network.checkpoint import save
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN
from digitcnn.ui.models import Models
from digitcnn.ui.robustness_section import attack_table, robustness_steps, robustness_table
from digitcnn.ui.subject import Subject
from digitcnn.workspace import Workspace

# Images in the set called ``small``: each is distorted and attacked 200 times.
N = 25


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("robustness")
    test = synthetic.draw("synthetic", "test", images=N)
    Catalog(folder / "data").add(replace(test, name="small"))
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    shutil.copy(SHIPPED_FILE, checkpoints)
    network = DigitCNN(generator=torch.Generator().manual_seed(3)).eval()
    save(checkpoints / "<b>other.pt", network, Details(digits="small", epochs=1))
    return Workspace(folder / "data", folder / "outputs", checkpoints, folder / "f.sqlite3", "cpu")


@pytest.fixture(scope="module")
def models(workspace: Workspace) -> Models:
    return Models(workspace)


def falling(right: int, n: int = 50) -> Robustness:
    """Curves that fall from ``right`` by one a step, on every axis."""
    curves = []
    for axis in AXES:
        middle = axis.values.index(axis.neutral)
        counts = tuple(max(0, right - abs(i - middle)) for i in range(len(axis.values)))
        curves.append(Curve(axis, counts))
    attack = AttackCurve((0.0, 1.0, 2.0), (right, right // 2 + 1, right // 4), (right,) * 3, n, 8.0)
    return Robustness("small", "test", n, tuple(curves), attack)


def is_png(html: str) -> bool:
    data = re.search(r"base64,([^\"]+)", html)
    assert data is not None
    return Image.open(io.BytesIO(base64.b64decode(data[1]))).format == "PNG"


def test_a_model_is_measured_once_and_shown_as_figure_and_table(
    workspace: Workspace, models: Models
) -> None:
    checkpoint, small = models.get(SHIPPED), workspace.catalog.open("small", "test")
    *steps, last = robustness_steps(workspace, [checkpoint], [SHIPPED], small)
    assert any("on distorted and attacked small images" in step["status"] for step in steps)
    assert "Done: small test" in last["status"]
    assert is_png(last["figure"])
    table = last["table"]
    found = workspace.robustness(models.get(SHIPPED), workspace.catalog.open("small", "test"))
    assert f"{N} images of the {found.title} set" in table
    assert accuracy_text(found.unchanged / N, N) in table
    for curve in found.curves:
        for value in curve.axis.marked:
            assert f"{curve.axis.name} {curve.axis.text(value)}" in table
            assert accuracy_text(curve.at(value) / N, N) in table
    again = list(robustness_steps(workspace, [checkpoint], [SHIPPED], small))
    assert again == [last]


def test_a_set_without_results_is_refused(workspace: Workspace, models: Models) -> None:
    view = Subject.of(workspace, models, [SHIPPED], ["small"])
    for name in ("mnist", None, 7, ["small"], {}):
        with pytest.raises(DigitSetError, match="There are no results for this set"):
            view.open(workspace, models, name)


def test_compared_models_share_a_figure_and_a_table(workspace: Workspace, models: Models) -> None:
    view = Subject.of(workspace, models, [SHIPPED, "<b>other"], ["small"])
    checkpoints, small = view.open(workspace, models, "small")
    *_, last = robustness_steps(workspace, checkpoints, view.names, small)
    assert "Done: small test" in last["status"]
    assert is_png(last["figure"])
    table = last["table"]
    assert "&lt;b&gt;other" in table
    assert "<b>" not in "".join(last.values())
    rows = 1 + sum(len(axis.marked) for axis in AXES) + len(CURVE_SIZES)
    assert table.count("<tbody>") == 2
    assert len(re.findall(r'<th scope="row"', table)) == rows


def test_the_figure_has_a_panel_per_axis_with_the_numbers_of_the_curves() -> None:
    found = falling(48)
    figure = figures.robustness_curves([found], ["mine"])
    figure.draw_without_rendering()
    *panels, attacked = [axes for axes in figure.axes if axes.lines]
    assert len(panels) == len(AXES)
    for axes, curve in zip(panels, found.curves, strict=True):
        neutral, line = axes.lines
        assert list(neutral.get_xdata()) == [curve.axis.neutral] * 2
        assert list(line.get_xdata()) == list(curve.axis.values)
        assert list(line.get_ydata()) == [100 * right / 50 for right in curve.right]
        (band,) = axes.collections
        heights = band.get_paths()[0].vertices[:, 1]
        ends = [end for right in curve.right for end in wilson_interval(right, 50)]
        assert heights.min() == pytest.approx(100 * min(ends))
        assert heights.max() == pytest.approx(100 * max(ends))
        assert curve.axis.name in axes.get_xlabel().lower()
    attack, noise = attacked.lines
    assert list(attack.get_xdata()) == [0, 1, 2]
    assert list(attack.get_ydata()) == [96, 50, 24]
    assert list(noise.get_ydata()) == [96, 96, 96]
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    assert "small test, 50 images" in words
    assert accuracy_text(48 / 50, 50) in words
    assert figures.rendered(figure).startswith(b"\x89PNG")


def test_eight_models_have_different_lines_and_are_named() -> None:
    names = [f"model-{i}" for i in range(8)]
    figure = figures.robustness_curves([falling(40 + i) for i in range(8)], names)
    figure.draw_without_rendering()
    lines = figure.axes[0].lines[1:]
    assert len({(to_hex(line.get_color()), line.get_linestyle()) for line in lines}) == 8
    assert {to_hex(line.get_color()) for line in lines} <= {c.lower() for c in style.COLOURS}
    legend = figure.axes[-1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == names


def test_the_table_puts_models_side_by_side() -> None:
    html = robustness_table([falling(48), falling(30)], ["a", "b"])
    assert accuracy_text(48 / 50, 50) in html
    assert accuracy_text(30 / 50, 50) in html
    assert "Accuracy on 50 images of the small test set, 95% interval" in html


def test_attack_table_compares_with_noise_and_has_a_sentence_per_model() -> None:
    blind = replace(falling(48), attack=None)
    html = attack_table([falling(48), blind], ["a", "b"])
    assert [html.count(f"a: {kind}") for kind in ("attack", "random noise")] == [1, 1]
    assert "b: attack" not in html
    assert accuracy_text(12 / 50, 50) in html
    assert "Attacks of size 2 (25% of the ink) cost a at least half of its" in html
    assert "the accuracy is still 96.00%." in html
    assert "b does not provide gradients, so it cannot be attacked." in html
    assert "<table" not in attack_table([blind], ["b"])
    figure = figures.robustness_curves([blind], ["b"])
    assert len([axes for axes in figure.axes if axes.lines]) == len(AXES)


def test_mnist_c_is_measured_where_it_is_downloaded(
    tmp_path: Path, drawn: DigitSet, models: Models
) -> None:
    sets = {name: replace(drawn, name=name, split="test") for name in MNIST_C_SETS}
    workspace = Workspace(
        tmp_path / "data", tmp_path / "out", tmp_path, tmp_path / "f.sqlite3", "cpu"
    )
    for digit_set in sets.values():
        workspace.catalog.add(digit_set.take(slice(0, 5)))
    checkpoint = models.get(SHIPPED)
    fog = workspace.catalog.open("mnist-c-fog", "test")
    *_, last = robustness_steps(workspace, [checkpoint], ["mine"], fog)
    table = last["table"][last["table"].index("Error on MNIST-C") :]
    wrong = 1 - float(workspace.predict(checkpoint, fog).right.float().mean())
    assert percent(wrong) in table
    assert "motion blur" in table
    assert "Ratio to the plain CNN" in table
