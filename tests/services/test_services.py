"""The services with a model that has logits only, their events, and figures from the cache."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from digitcnn.analysis.events import (
    Event,
    FigureDrawn,
    FigureStarted,
    FigureUnavailable,
    ImagesProcessed,
)
from digitcnn.analysis.robustness import measure
from digitcnn.analysis.stability import PassResult
from digitcnn.digits.digit_set import DigitSet
from digitcnn.errors import CapabilityError, ConfigError
from digitcnn.network.checkpoint import Checkpoint
from digitcnn.network.classifier import Capability, Classifier
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN
from digitcnn.options import FIGURES
from digitcnn.services.evaluation import (
    FigureCache,
    compare_models,
    draw_figures,
    evaluate,
    measure_stability,
)


class LogitsOnly:
    """A linear classifier without features, maps or dropout."""

    capabilities: frozenset[Capability] = frozenset()
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.weights = torch.randn(784, 10, generator=torch.Generator().manual_seed(0))

    def logits(self, images: Tensor) -> Tensor:
        return images.float().flatten(1) / 255 @ self.weights

    def to(self, device: torch.device, /) -> LogitsOnly:
        return self

    def inference_copy(self) -> LogitsOnly:
        return self


class StrangersCheckpoint(Checkpoint):
    """A checkpoint of somebody else's network."""

    @property
    def classifier(self) -> Classifier:
        return LogitsOnly()


@pytest.fixture
def stranger() -> Checkpoint:
    return StrangersCheckpoint(Details(), "stranger", "f" * 64, 1000)


@pytest.fixture
def ours() -> Checkpoint:
    network = DigitCNN(generator=torch.Generator().manual_seed(0)).eval()
    return Checkpoint(Details(digits="synthetic"), "ours", "a" * 64, 1000, held=network)


@pytest.fixture
def digits(drawn: DigitSet) -> DigitSet:
    return replace(drawn.take(slice(0, 60)), split="test")


def evaluated(checkpoint: Checkpoint, digits: DigitSet, **options: Any) -> Any:
    return evaluate(checkpoint, [digits], **options)


def drawn_figures(
    checkpoint: Checkpoint, digits: DigitSet, cache: FigureCache, events: list[Event]
) -> dict[str, bytes]:
    findings = evaluated(checkpoint, digits, features=True)
    return draw_figures(findings, checkpoint, 2, cache=cache, notify=events.append)


def test_a_model_with_logits_only_is_evaluated_compared_and_distorted(
    stranger: Checkpoint, ours: Checkpoint, digits: DigitSet
) -> None:
    (evaluation,) = evaluated(stranger, digits).evaluations
    predicted = stranger.classifier.logits(digits.images).argmax(dim=1)
    assert evaluation.errors == int((predicted != digits.labels).sum())
    comparison = compare_models([stranger, ours], digits)
    assert comparison.names == ("stranger", "ours")
    assert comparison.evaluations[0].errors == evaluation.errors
    robustness = measure(stranger.classifier, digits)
    assert robustness.unchanged == len(digits) - evaluation.errors


def test_figures_of_layers_and_dropout_report_missing_capabilities(
    stranger: Checkpoint, digits: DigitSet
) -> None:
    events: list[Event] = []
    pngs = drawn_figures(stranger, digits, FigureCache(), events)
    missing = {event.name: event.reason for event in events if isinstance(event, FigureUnavailable)}
    assert set(missing) == {"05_conv_filters", "06_feature_maps", "09_stability_test"}
    assert "feature maps" in missing["05_conv_filters"]
    assert "dropout" in missing["09_stability_test"]
    assert set(pngs) == set(FIGURES) - set(missing)


def test_stability_of_a_model_without_dropout_is_refused_before_anything_is_computed(
    stranger: Checkpoint, digits: DigitSet
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("predictions were made")

    with pytest.raises(CapabilityError, match="has no dropout"):
        measure_stability(stranger, digits, 2, predict=refuse)


def test_a_wrong_number_of_passes_is_refused_before_anything_is_computed(
    ours: Checkpoint, digits: DigitSet
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("predictions were made")

    with pytest.raises(ConfigError, match="0 passes"):
        measure_stability(ours, digits, 0, predict=refuse)


def test_events_count_images_then_passes_of_both_mask_types(
    ours: Checkpoint, digits: DigitSet
) -> None:
    events: list[Event] = []
    results = measure_stability(ours, digits, 3, notify=events.append)
    images = [event for event in events if isinstance(event, ImagesProcessed)]
    assert events[: len(images)] == images
    assert images[-1] == ImagesProcessed("ours on synthetic digits test", 60, 60)
    passes = [event for event in events if isinstance(event, PassResult)]
    for result in results:
        measured = [p.accuracy for p in passes if p.masks == result.masks]
        assert measured == list(result.accuracies)


def test_figures_from_the_cache_are_not_drawn_again(ours: Checkpoint, digits: DigitSet) -> None:
    cache = FigureCache()
    events: list[Event] = []
    first = drawn_figures(ours, digits, cache, events)
    assert sum(isinstance(event, FigureStarted) for event in events) == len(FIGURES)
    events.clear()
    assert drawn_figures(ours, digits, cache, events) == first
    assert events == [FigureDrawn(name, first[name]) for name in FIGURES]
