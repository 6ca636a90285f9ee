"""Dropout passes run to their end."""

from __future__ import annotations

from typing import Any

from digitcnn.analysis.predictions import Predictions
from digitcnn.analysis.stability import Stability, passes
from digitcnn.network.model import Network


def measure(network: Network, predictions: Predictions, n: int, **settings: Any) -> Stability:
    """Return the summary of ``n`` passes; settings as for ``passes``."""
    *_, last = passes(network, predictions, n, **settings)
    assert isinstance(last, Stability)
    return last
