"""The settings of one training, checked on creation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from typing import Any

from digitcnn.analysis.settings_text import value_text
from digitcnn.digits.names import set_names
from digitcnn.errors import ConfigError
from digitcnn.options import NETWORKS, check_passes


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The settings of one training; the defaults are the default recipe.

    digits: the digit sets to train on, names separated by commas; every image is equally
    likely, whatever its set.
    epochs: passes over the training images, 1 to 200.
    batch_size: images per step, 1 to 4096.
    learning_rate: peak of the one-cycle schedule, 1e-5 to 1e-1.
    seed: of weights, image order, augmentation and dropout, 0 to 2**31 - 1.
    train_images: number of training images; None for all except the held-out ones.
    augmentation: whether each batch is changed at random.
    dropout: whether the network's dropout is on while it learns.
    network: the architecture, one of NETWORKS.

    Raises ConfigError, which names the range, for anything else.
    """

    digits: str = "mnist"
    epochs: int = 12
    batch_size: int = 256
    learning_rate: float = 8e-3
    seed: int = 0
    train_images: int | None = None
    augmentation: bool = True
    network: str = NETWORKS[0]
    dropout: bool = True

    def __post_init__(self) -> None:
        for name, what in _WHOLE.items():
            value = getattr(self, name)
            if value is not None or name != "train_images":
                _check_whole(name, value, what)
        _check_switches(self, "augmentation", "dropout")
        rate: object = self.learning_rate
        low, high = RANGES["learning_rate"]
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not low <= rate <= high:
            problem = "Enter a learning rate"
            if rate not in ("", None):
                problem = f"The learning rate is {rate}; choose one"
            raise ConfigError(
                f"{problem} from {value_text(low)} to {value_text(high)}.", field="learning-rate"
            )
        names = set_names(self.digits) if isinstance(self.digits, str) else []
        if not names:
            raise ConfigError(
                f"The digit set is {self.digits!r}; give its name, such as mnist.", field="digits"
            )
        object.__setattr__(self, "digits", ",".join(names))
        if self.network not in NETWORKS:
            raise ConfigError(
                f"The network is {self.network!r:.60}; choose one of {', '.join(NETWORKS)}.",
                field="network",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain values, for files."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> TrainingConfig:
        """Return the configuration that ``to_json`` gave. Raises ConfigError for other values.

        ``network`` and ``dropout`` may be missing: older runs had no choice but the default.
        """
        names = {field.name for field in fields(cls)}
        if isinstance(values, dict):
            values = {"network": NETWORKS[0], "dropout": True, **values}
        if not isinstance(values, dict) or set(values) != names:
            raise ConfigError(
                f"A training's configuration needs exactly {', '.join(sorted(names))}."
            )
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class PostTrainingConfig:
    """The work after a run's last epoch, which does not change the weights.

    figures: whether to draw the nine figures. stability: whether to make dropout passes.
    ood_detector: whether to fit one. test_sets: whether to evaluate test sets.
    passes: of each mask type, 1 to 200; None: the number of epochs, at most 200.

    Raises ConfigError for anything else.
    """

    figures: bool = True
    stability: bool = True
    ood_detector: bool = True
    test_sets: bool = True
    passes: int | None = None

    def __post_init__(self) -> None:
        _check_switches(self, "figures", "stability", "ood_detector", "test_sets")
        if self.passes is not None:
            check_passes(self.passes)


RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 200),
    "batch_size": (1, 4096),
    "learning_rate": (1e-5, 1e-1),
    "seed": (0, 2**31 - 1),
    "train_images": (1, 10_000_000),
}

# The settings that are whole numbers, as messages name them.
_WHOLE = {
    "epochs": "number of epochs",
    "batch_size": "batch size",
    "seed": "seed",
    "train_images": "number of training images",
}


def _check_switches(config: object, *names: str) -> None:
    for name in names:
        if not isinstance(getattr(config, name), bool):
            raise ConfigError(f"{name} is {getattr(config, name)!r}; choose True or False.")


def _check_whole(name: str, value: object, what: str) -> None:
    low, high = RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        problem = "empty" if value in ("", None) else value
        raise ConfigError(
            f"The {what} is {problem}; choose a whole number from {low:,} to {high:,}.",
            field=name.replace("_", "-"),
        )
