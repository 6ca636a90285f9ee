from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from digitcnn.analysis import figures
from digitcnn.analysis.figures import style
from digitcnn.analysis.figures.network import layer_outputs
from digitcnn.analysis.findings import Findings
from digitcnn.analysis.gap import Waterfall
from digitcnn.analysis.metrics import gap, gap_text
from digitcnn.analysis.predictions import Predictions, predict
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.model import DigitCNN
from digitcnn.options import FIGURES

HISTORY = [
    {
        "epoch": epoch,
        "loss": 0.8 / epoch,
        "accuracy": 0.9 + 0.02 * epoch,
        "training_accuracy": 0.8 + 0.03 * epoch,
        "held_out_loss": 0.3 / epoch,
        "held_out": 40,
        "learning_rate": 0.001,
        "seconds": 1.0,
    }
    for epoch in (1, 2, 3)
]


def partly_right(network: DigitCNN, digits: DigitSet, wrong_every: int) -> Predictions:
    """The network's features, and logits that are wrong for every so-manieth image."""
    found = predict(network, digits)
    answers = digits.labels.long().clone()
    answers[::wrong_every] = (answers[::wrong_every] + 1) % 10
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(len(digits), 10, generator=generator)
    logits[torch.arange(len(digits)), answers] += 6
    return replace(found, logits=logits)


@pytest.fixture(scope="module")
def network() -> DigitCNN:
    return DigitCNN(generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def findings(network: DigitCNN, drawn: DigitSet) -> Findings:
    sets = [
        replace(drawn.take(slice(0, 150)), name="first-set", split="test"),
        replace(drawn.take(slice(150, 230)), name="second-set", split="test"),
    ]
    predictions = [partly_right(network, digits, 5 - i) for i, digits in enumerate(sets)]
    return Findings(
        "Network of the test", network, sets, predictions,
        temperature=1.4, calibrated=True, history=HISTORY, trained_on="first-set",
    ).with_stability(7)  # fmt: skip


@pytest.fixture(scope="module")
def nine(findings: Findings) -> dict[str, Figure]:
    """The nine figures, laid out."""
    return {name: laid_out(figures.draw(name, findings)) for name in FIGURES}


def laid_out(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def words(figure: Figure) -> str:
    """Every text of a figure; lines that were broken to fit are joined."""
    return "\n".join(t.get_text() for t in figure.findobj(Text)).replace("\n", " ")


def cut_texts(figure: Figure) -> list[str]:
    """Return the texts of a laid-out figure that cross its edge."""
    # Matplotlib keeps ticks outside an axis' limits without drawing them.
    ticks = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
    }
    sheet = figure.bbox.padded(0.5)
    return [
        text.get_text()
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and id(text) not in ticks
        for box in [text.get_window_extent()]
        if not (sheet.contains(box.x0, box.y0) and sheet.contains(box.x1, box.y1))
    ]


def test_a_name_with_dollar_signs_is_not_a_formula(findings: Findings) -> None:
    # As a formula it would be refused, and so would the figure.
    odd = r"cost $\frac$ 5"
    named = [replace(found, digits=odd) for found in findings.predictions]
    odd_findings = replace(findings, predictions=named, model=odd)
    figure = figures.draw("04_cross_dataset_evaluation", odd_findings)
    assert figures.rendered(figure).startswith(b"\x89PNG")
    assert words(figure).count(odd) >= 4  # heading, rows and legend


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_titled_and_opaque_and_cuts_no_text(
    nine: dict[str, Figure], name: str
) -> None:
    figure = nine[name]
    assert figure.get_facecolor()[:3] == to_rgb(style.PAPER)
    assert figure.get_facecolor()[3] == 1
    title = figure.texts[0]
    assert title.get_fontsize() == style.TITLE
    assert title.get_text()
    assert cut_texts(figure) == []


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_mentions_mnist_for_other_sets(nine: dict[str, Figure], name: str) -> None:
    assert "mnist" not in words(nine[name]).lower()


@pytest.mark.parametrize("name", [n for n in FIGURES if n[:2] in ("01", "04", "07", "08")])
def test_accuracies_have_their_set_and_interval(
    findings: Findings, nine: dict[str, Figure], name: str
) -> None:
    text = words(nine[name])
    for evaluation in findings.evaluations:
        assert evaluation.title in text
        assert evaluation.accuracy_text in text


@pytest.mark.parametrize("name", [n for n in FIGURES if n[:2] in ("01", "04", "08", "09")])
def test_every_axis_of_a_chart_is_labelled(nine: dict[str, Figure], name: str) -> None:
    figure = nine[name]
    charts = [axes for axes in figure.axes if axes.axison]
    assert charts
    for axes in charts:
        assert axes.get_xlabel()
        shares_y = name.startswith("09") and axes is charts[1]
        rows_are_named = len(axes.get_yticklabels()) == 2 and "-set" in words(figure)
        assert axes.get_ylabel() or shares_y or rows_are_named


def test_training_curves_show_losses_and_accuracies_per_epoch(
    findings: Findings, nine: dict[str, Figure]
) -> None:
    loss, accuracy, tests = nine["01_training_history"].axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [  # type: ignore[union-attr]
        pytest.approx([0.8, 0.4, 0.8 / 3]), pytest.approx([0.3, 0.15, 0.1]),
    ]  # fmt: skip
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [  # type: ignore[union-attr]
        pytest.approx([83, 86, 89]), pytest.approx([92, 94, 96]),
    ]  # fmt: skip
    assert len(accuracy.collections) == 1  # the 95% band of the held-out accuracy
    assert [t.get_text() for t in tests.get_yticklabels()] == ["first-set test", "second-set test"]
    assert tests.get_xlim()[0] < 100 * min(e.accuracy_low for e in findings.evaluations)


def test_the_legends_of_the_training_curves_stay_in_their_panels(findings: Findings) -> None:
    several = replace(findings, trained_on="synthetic,synthetic-other-writers,emnist-digits")
    figure = laid_out(figures.draw("01_training_history", several))
    assert "other synthetic digits" in words(figure)
    for axes in figure.axes[:2]:
        legend, panel = axes.get_legend(), axes.get_window_extent()
        assert legend is not None
        box = legend.get_window_extent()
        assert panel.x0 < box.x0
        assert box.x1 < panel.x1


def test_a_title_that_is_too_wide_takes_further_lines() -> None:
    titles = "What causes the gap between other synthetic digits test and FEMNIST digits test"
    figure = laid_out(style.sheet(titles, "network of the test", 4))
    assert cut_texts(figure) == []
    title, lines = (text.get_window_extent() for text in figure.texts)
    assert title.y0 > lines.y1
    assert figure.get_figheight() > 4


def test_missing_history_and_temperature_are_stated(findings: Findings) -> None:
    bare = replace(findings, history=(), trained_on=None, temperature=1.0, calibrated=False)
    text = words(figures.draw("01_training_history", bare))
    assert text.count("This file has no training history.") == 2
    assert findings.evaluations[0].accuracy_text in text
    figure = figures.draw("08_confidence_analysis", bare)
    assert "no temperature in this file" in words(figure)


@pytest.mark.parametrize(
    "history",
    [
        [{"epoch": 1, "loss": 0.5, "accuracy": 0.9}],
        [{"epoch": 1, "loss": None, "accuracy": None}, {"epoch": 2, "loss": 0.1, "accuracy": 0.9}],
        [{"epoch": e, "loss": 1 / e, "accuracy": 0.99, "held_out": 40} for e in range(1, 201)],
    ],
)
def test_short_incomplete_and_long_histories_are_drawn(
    findings: Findings, history: list[dict[str, float | None]]
) -> None:
    figure = figures.draw("01_training_history", replace(findings, history=history))
    assert cut_texts(laid_out(figure)) == []
    assert len(figure.axes[0].lines) == 1


def test_samples_show_each_digit_and_mark_absent_ones(
    findings: Findings,
) -> None:
    zeros = findings.digit_sets[0].take(findings.digit_sets[0].labels == 0)
    sets = [findings.digit_sets[0], replace(zeros, name="zeros")]
    figure = figures.draw("02_sample_data", replace(findings, digit_sets=sets))
    text = words(figure)
    assert "first-set test: 150 images" in text
    assert text.count("none") == 9
    assert len(figure.axes) == 2


def test_errors_are_framed_with_their_true_digit(
    findings: Findings, nine: dict[str, Figure]
) -> None:
    figure = nine["03_predictions"]
    first, worst = figure.axes
    wrong = (~findings.predictions[0].right).nonzero().squeeze(1)
    assert len(first.lines) == int((wrong < 20).sum())
    assert len(worst.lines) == 20
    framed = [t.get_text() for t in worst.texts]
    assert all("\ntrue " in text for text in framed)
    confidence = [float(text.split()[1].removesuffix("%")) for text in framed if ">" not in text]
    assert confidence == sorted(confidence, reverse=True)


def test_the_absence_of_errors_is_stated(findings: Findings) -> None:
    digits = findings.digit_sets[0].take(slice(1, 5))
    right = replace(
        findings.predictions[0], logits=torch.eye(10)[digits.labels.long()], labels=digits.labels
    )
    without = replace(findings, digit_sets=[digits], predictions=[right])
    figure = figures.draw("03_predictions", without)
    assert "No errors on first-set test." in words(figure)


def test_error_bars_start_at_zero_and_the_heading_has_the_gap(
    findings: Findings, nine: dict[str, Figure]
) -> None:
    figure = nine["04_cross_dataset_evaluation"]
    bars = figure.axes[1]
    assert bars.get_ylim()[0] == 0
    heights = [patch.get_height() for patch in bars.patches]
    expected = [
        100 * (1 - row.recall) for e in findings.evaluations for row in e.per_digit if row.support
    ]
    assert heights == pytest.approx(expected)
    assert gap_text(gap(*findings.evaluations)) in words(figure)


def test_filters_share_one_symmetric_scale(findings: Findings, nine: dict[str, Figure]) -> None:
    (image,) = nine["05_conv_filters"].axes[0].images
    low, high = image.get_clim()
    assert -low == high == pytest.approx(float(findings.network.conv1.weight.abs().max()))
    shown = np.asarray(image.get_array().compressed())  # type: ignore[union-attr]
    assert sorted(shown.tolist()) == pytest.approx(
        sorted(findings.network.conv1.weight.flatten().tolist())
    )


def test_feature_maps_end_with_the_images_probabilities(findings: Findings) -> None:
    figure = figures.draw("06_feature_maps", replace(findings, example=4))
    bars = figure.axes[6]
    network, image = findings.network, findings.digit_sets[0].images[4:5]
    expected = torch.softmax(network(network.prepare(image)).double() / 1.4, 1)[0] * 100
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(expected.tolist(), abs=1e-3)
    assert "image 4 of first-set test" in words(figure)


def test_layer_outputs_equal_the_networks(findings: Findings) -> None:
    network, image = findings.network, findings.digit_sets[0].images[0]
    maps = layer_outputs(network, image)
    x = network.prepare(image[None])
    torch.testing.assert_close(maps["block1"], network.block(0, x)[0])
    torch.testing.assert_close(maps["block2"], network.block(1, network.block(0, x))[0])
    torch.testing.assert_close(maps["features"], network.features(x)[0])
    torch.testing.assert_close(maps["logits"], network(x)[0])


def test_confusion_counts_are_written_and_only_errors_are_coloured(
    findings: Findings, nine: dict[str, Figure]
) -> None:
    figure = nine["07_confusion_matrix"]
    for axes, evaluation in zip(figure.axes, findings.evaluations, strict=False):
        counts = np.array(evaluation.confusion)
        assert sorted(int(t.get_text()) for t in axes.texts) == sorted(counts[counts > 0].tolist())
        shares = axes.images[-1].get_array()
        assert np.ma.getmaskarray(shares).diagonal().all()
        off = counts * (1 - np.eye(10, dtype=int))
        assert np.array_equal(~np.ma.getmaskarray(shares), off > 0)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted digit", "True digit")


def test_calibration_has_counts_before_and_after(
    findings: Findings, nine: dict[str, Figure]
) -> None:
    figure = nine["08_confidence_analysis"]
    counts = figure.axes[1]
    heights = [patch.get_height() for patch in counts.patches]
    assert len(heights) == 30
    assert sum(heights[:15]) == sum(heights[15:]) == 150
    text = words(figure)
    ece = 100 * findings.evaluations[0].ece
    assert f"{ece:.2f}% after calibration" in text
    assert "temperature 1.40" in text


def test_stability_shows_every_pass_and_the_accuracy_without_dropout(
    findings: Findings,
    nine: dict[str, Figure],
) -> None:
    figure = nine["09_stability_test"]
    lines, boxes = figure.axes
    for line, stability in zip(lines.lines, findings.stabilities, strict=False):
        assert np.asarray(line.get_ydata()) == pytest.approx(
            [100 * value for value in stability.accuracies]
        )
    assert [t.get_text() for t in boxes.get_xticklabels()] == ["independent", "shared"]
    text = words(figure)
    independent = findings.stabilities[0]
    assert f"chance level {100 * independent.chance:.2f}" in text
    assert f"upper bound {100 * independent.bound:.2f}" in text
    assert f"no dropout: {100 * independent.accuracy:.2f}%" in text
    assert findings.stabilities[1].verdict in text


def test_the_waterfall_leads_from_the_total_gap_to_the_rest(findings: Findings) -> None:
    first, second = findings.evaluations
    found = Waterfall(first, second, first, second, duplicates=1_234)
    figure = figures.gap_waterfall(found, model="m")
    total, framing, duplicates, remains = figure.axes[0].patches
    assert total.get_height() == pytest.approx(found.total.points)
    assert framing.get_y() == pytest.approx(0)
    assert framing.get_height() == pytest.approx(found.framing)
    assert duplicates.get_y() + duplicates.get_height() == pytest.approx(0)
    assert duplicates.get_height() == pytest.approx(found.near_duplicates)
    assert remains.get_height() == pytest.approx(found.remains.points)
    text = words(figure)
    assert f"{found.near_duplicates:+.2f} points" in text
    assert gap_text(found.total) in text
    figure.draw_without_rendering()
    labels = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(one.x1 + 5 < other.x0 for one, other in pairwise(labels))


def extreme(findings: Findings, kind: str) -> Findings:
    """Return findings for a set with many undefined metrics."""
    digits, predictions = findings.digit_sets[0], findings.predictions[0]
    assert predictions.features is not None
    chosen = {
        "one image": torch.tensor([0]),
        "one class": (digits.labels == 3).nonzero().squeeze(1),
        "all wrong": (~predictions.right).nonzero().squeeze(1),
        "all right": predictions.right.nonzero().squeeze(1),
    }[kind]
    subset = replace(
        predictions,
        logits=predictions.logits[chosen],
        features=predictions.features[chosen],
        labels=predictions.labels[chosen],
    )
    return Findings("m", findings.network, [digits.take(chosen)], [subset]).with_stability(1)


@pytest.mark.parametrize("kind", ["one image", "one class", "all wrong", "all right"])
def test_all_nine_are_drawn_with_undefined_metrics(findings: Findings, kind: str) -> None:
    found = extreme(findings, kind)
    for name in FIGURES:
        figure = figures.draw(name, found)
        if name == "09_stability_test":
            laid_out(figure)
            ticks = [t for t in figure.axes[0].get_xticks() if 0.5 <= t <= 1.5]
            assert ticks == [1]
        if kind == "one image":  # layout is the slow part, and the same for all
            assert cut_texts(laid_out(figure)) == []


@pytest.mark.long
def test_three_sets_fit_on_every_figure(findings: Findings) -> None:
    three = replace(
        findings,
        digit_sets=[*findings.digit_sets, findings.digit_sets[0]],
        predictions=[*findings.predictions, findings.predictions[0]],
    )
    for name in (FIGURES[i] for i in (0, 1, 3, 6, 7)):
        assert cut_texts(laid_out(figures.draw(name, three))) == []


def test_all_nine_are_saved_under_their_names(findings: Findings, tmp_path: Path) -> None:
    one_class = extreme(findings, "one class")
    paths = [figures.save(name, one_class, tmp_path / "figures") for name in FIGURES]
    names = [
        "01_training_history.png", "02_sample_data.png", "03_predictions.png",
        "04_cross_dataset_evaluation.png", "05_conv_filters.png", "06_feature_maps.png",
        "07_confusion_matrix.png", "08_confidence_analysis.png", "09_stability_test.png",
    ]  # fmt: skip
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == names
    for path in paths:
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
            assert image.width >= 800


def test_two_threads_draw_the_same_figure_at_once(findings: Findings) -> None:
    barrier = threading.Barrier(2)

    def make(name: str) -> bytes:
        barrier.wait(20)
        return figures.rendered(figures.draw(name, findings))

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(make, ["09_stability_test", "09_stability_test"]))
    one, two = (np.asarray(Image.open(io.BytesIO(data))) for data in made)
    assert np.array_equal(one, two)


def test_no_figure_module_imports_pyplot() -> None:
    assert figures.__file__ is not None
    modules = list(Path(figures.__file__).parent.glob("*.py"))
    assert len(modules) > 5
    for module in modules:
        lines = module.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if "import" in line and "pyplot" in line]
