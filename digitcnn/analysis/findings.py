"""Gather what is known of one model on several digit sets: the input of the nine figures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

from digitcnn.analysis.events import Notify, ignore
from digitcnn.analysis.metrics import Evaluation, evaluate
from digitcnn.analysis.predictions import Predictions
from digitcnn.analysis.stability import PassResult, Stability, passes
from digitcnn.digits.digit_set import DigitSet
from digitcnn.network.classifier import Capability, Classifier, require
from digitcnn.network.model import Network
from digitcnn.options import MASKS, Masks


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything that the nine figures show of one model.

    model: its name, for people. digit_sets, predictions: one of each per set, in the same order;
    single images come from the first. temperature: divides the logits; 1 where the model is not
    ``calibrated``. history: a record per epoch, empty where unknown. trained_on: name of the
    training set, None where unknown. example: index of the image of the first set that is followed
    through the network. stabilities: over the last set, one per mask type, empty until measured.
    """

    model: str
    classifier: Classifier
    digit_sets: Sequence[DigitSet]
    predictions: Sequence[Predictions]
    _: KW_ONLY
    temperature: float = 1.0
    calibrated: bool = False
    history: Sequence[Mapping[str, Any]] = ()
    trained_on: str | None = None
    example: int = 0
    stabilities: Sequence[Stability] = ()

    @cached_property
    def evaluations(self) -> list[Evaluation]:
        """The metrics of each digit set."""
        return [evaluate(one, self.temperature) for one in self.predictions]

    @property
    def network(self) -> Network:
        """A network of ours, for figures of its layers. Raises CapabilityError without any maps."""
        return _own_network(self.classifier, "maps", "its filters and feature maps cannot be drawn")

    def with_stability(self, count: int, *, notify: Notify = ignore) -> Findings:
        """Return the findings with ``count`` passes per mask type over the last set.

        Raises ConfigError for a wrong number of passes and CapabilityError for a model without
        dropout.
        """
        measured = measure_stabilities(
            self.classifier,
            self.predictions[-1],
            count,
            temperature=self.temperature,
            notify=notify,
        )
        return dataclasses.replace(self, stabilities=measured)


def measure_stabilities(
    classifier: Classifier,
    predictions: Predictions,
    count: int,
    *,
    masks: Sequence[Masks] = MASKS,
    temperature: float = 1.0,
    notify: Notify = ignore,
) -> list[Stability]:
    """Measure ``count`` passes per mask type, in turn, and return one result per mask type.

    predictions: with features. notify: gets every ``PassResult``; what it raises ends the
    measurement. Raises ConfigError for a wrong number of passes, CapabilityError for a model
    without dropout.
    """
    network = _own_network(classifier, "dropout", "its stability cannot be measured")
    runs = [
        passes(network, predictions, count, masks=kind, temperature=temperature) for kind in masks
    ]
    results = []
    for steps in zip(*runs, strict=True):
        for step in steps:
            if isinstance(step, PassResult):
                notify(step)
            else:
                results.append(step)
    return results


def _own_network(classifier: Classifier, capability: Capability, purpose: str) -> Network:
    require(classifier, capability, purpose)
    assert isinstance(classifier, Network)  # only these have maps or dropout
    return classifier
