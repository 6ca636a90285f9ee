"""The experiments, one module each, whose ``EXPERIMENT`` is the experiment.

Every module in this package is listed, without registration. docs/experiments.md says how to write
one.
"""

from __future__ import annotations

import importlib
import pkgutil

from digitcnn.errors import ConfigError
from digitcnn.experiments.experiment import Experiment

# The order of the list; others follow by name.
_FIRST = (
    "few-images",
    "augmentation",
    "label-noise",
    "missing-digit",
    "convolutions",
    "learning-rate",
    "overfitting",
    "luck",
)


def names() -> list[str]:
    """Return the names of all experiments, without importing them."""
    modules = {module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__)}
    return [*(name for name in _FIRST if name in modules), *sorted(modules - set(_FIRST))]


def find(name: object) -> Experiment:
    """Return the experiment called ``name``, which is unchecked. Raises ConfigError without one."""
    known = names()
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"There is no experiment {name!r:.60}; choose {', '.join(known)}.")
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    experiment: Experiment = module.EXPERIMENT
    return experiment
