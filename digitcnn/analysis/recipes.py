"""Compare what model files record: seeds of one recipe, and settings side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from digitcnn.analysis.comparison import Comparison
from digitcnn.analysis.settings_text import UNKNOWN, setting_name, setting_text, value_text
from digitcnn.network.details import Details


@dataclass(frozen=True)
class Recipe:
    """Models that differ only in their seed, and their accuracy on one set.

    mean, deviation: mean and sample standard deviation of their accuracies, fractions. title: of
    the set.
    """

    seeds: tuple[int, ...]
    title: str
    mean: float
    deviation: float

    @property
    def text(self) -> str:
        """Return the mean and deviation, as in ``99.55% ± 0.03 points``."""
        return f"{100 * self.mean:.2f}% ± {100 * self.deviation:.2f} points"


def seeds_of_one_recipe(details: Sequence[Details], comparison: Comparison) -> tuple[Recipe, ...]:
    """Return the groups of models whose files have the same configuration but for the seed.

    details: of each model of the comparison. Models trained on different images, or stopped at
    different epochs, are in different groups; a model that occurs twice counts once.
    """
    groups: dict[str, dict[int, float]] = {}  # accuracy by seed
    for one, evaluation in zip(details, comparison.evaluations, strict=True):
        if one.config and one.seed is not None:
            settings = {k: v for k, v in one.config.items() if k != "seed"}
            key = repr((sorted(settings.items(), key=str), one.epochs, one.fingerprints))
            groups.setdefault(key, {}).setdefault(one.seed, evaluation.accuracy)
    return tuple(
        Recipe(tuple(group), comparison.title, fmean(group.values()), stdev(group.values()))
        for group in groups.values()
        if len(group) > 1
    )


@dataclass(frozen=True)
class Setting:
    """One setting of several models, as their files record it.

    values: as text, one per model; a dash where a file does not record it. chosen: whether people
    choose it, and no other setting implies it.
    """

    name: str
    values: list[str]
    chosen: bool

    @property
    def differs(self) -> bool:
        """Whether two of the recorded values differ."""
        return len({*self.values} - {UNKNOWN}) > 1


def settings_side_by_side(details: Sequence[Details]) -> list[Setting]:
    """Return each setting in the files."""

    def texts(key: str) -> list[str]:
        return [setting_text(one.config, key) for one in details]

    keys = dict.fromkeys(key for one in details for key in one.config)
    settings = [Setting(setting_name(key), texts(key), chosen=True) for key in keys]
    epochs = [value_text(one.epochs) for one in details]
    settings.append(Setting("Epochs trained", epochs, chosen=epochs != texts("epochs")))
    results: list[tuple[str, list[Any]]] = [
        (
            "Digest of the training images",
            [one.fingerprints.get("train", "")[:12] for one in details],
        ),
        ("Temperature", [one.temperature for one in details]),
    ]
    versions = dict.fromkeys(name for one in details for name in one.versions)
    results += [
        (f"Version of {name}", [one.versions.get(name) for one in details]) for name in versions
    ]
    settings += [
        Setting(name, list(map(value_text, values)), chosen=False) for name, values in results
    ]
    return settings
