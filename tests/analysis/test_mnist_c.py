"""MNIST-C in a few numbers, alone and by the evaluate command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch

from digitcnn.analysis.metrics import Evaluation, evaluate
from digitcnn.analysis.mnist_c import plain_errors, summary_of
from digitcnn.analysis.predictions import Predictions
from digitcnn.cli import main
from digitcnn.digits.catalog import Catalog
from digitcnn.digits.digit_set import DigitSet
from digitcnn.digits.names import CORRUPTIONS, MNIST_C_SETS
from digitcnn.folders import SHIPPED_FILE


def evaluated(name: str, wrong: int) -> Evaluation:
    """An evaluation of 100 images, so many of them wrong."""
    labels = torch.arange(100, dtype=torch.uint8) % 10
    logits = torch.nn.functional.one_hot(labels.long(), 10).float()
    logits[:wrong] = logits[:wrong].roll(1, 1)
    return evaluate(Predictions(name, "test", "", "", logits, None, labels))


def test_the_summary_has_the_mean_and_needs_every_set() -> None:
    evaluations = [evaluated(name, place) for place, name in enumerate(MNIST_C_SETS)]
    summary = summary_of([evaluated("mnist", 50), *evaluations])
    assert summary is not None
    assert summary.n == 1500
    assert summary.mean_error == pytest.approx(0.07)
    assert "7.00%" in str(summary)
    assert summary_of(evaluations[1:]) is None


def test_the_ratio_weighs_each_corruption_by_the_plain_errors() -> None:
    summary = summary_of([evaluated(name, place) for place, name in enumerate(MNIST_C_SETS)])
    assert summary is not None
    expected = fmean(place / 100 / plain_errors()[c] for place, c in enumerate(CORRUPTIONS))
    assert summary.ratio == pytest.approx(expected)


def test_the_plain_errors_are_those_of_a_network_that_reads_mnist() -> None:
    assert tuple(plain_errors()) == CORRUPTIONS
    assert all(0.005 < error < 0.9 for error in plain_errors().values())


def test_evaluating_mnist_c_gives_every_row_and_the_mean(
    tmp_path: Path, drawn: DigitSet, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = Catalog(tmp_path / "data")
    for name in MNIST_C_SETS:
        catalog.add(replace(drawn.take(slice(0, 20)), name=name, split="test"))
    command = ["evaluate", "--device", "cpu", "--checkpoint", str(SHIPPED_FILE)]
    assert (
        main([*command, "--data-dir", str(catalog.data_dir), "--digits", "mnist-c", "--json"]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {*MNIST_C_SETS, "mnist-c"}
    mean = fmean(1 - found[name]["accuracy"] for name in MNIST_C_SETS)
    assert found["mnist-c"]["mean_error"] == pytest.approx(mean)
    assert found["mnist-c"]["errors"]["fog"] == pytest.approx(1 - found["mnist-c-fog"]["accuracy"])
