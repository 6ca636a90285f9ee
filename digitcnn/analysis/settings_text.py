"""The settings of a training as people read them, on the page, in reports and in comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from digitcnn.digits.names import listed

UNKNOWN = "–"
_NAMES = {"digits": "Digit sets", "train_images": "Training images"}


def setting_name(key: str) -> str:
    """Return a setting's name, such as ``Batch size`` for ``batch_size``."""
    return _NAMES.get(key, key[:1].upper() + key[1:].replace("_", " "))


def setting_text(config: Mapping[str, Any], key: str) -> str:
    """Return a setting's value; a dash where the configuration does not have it.

    config: as ``TrainingConfig.to_json``, or what a file claims to be one: any plain values.
    """
    value = config.get(key)
    if key == "train_images" and key in config and value is None:
        return "all"
    if key == "digits" and isinstance(value, str) and value:
        return listed(value)
    # Thousands are not separated in a seed, which is a name rather than an amount.
    return str(value) if key == "seed" and type(value) is int else value_text(value)


def value_text(value: object) -> str:
    """Return a plain value: ``on``, ``3,000``, ``0.00001``; a dash for None."""
    if value is None or value == "":
        return UNKNOWN
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int) and abs(value) < 10**12:
        return f"{value:,}"
    if isinstance(value, float) and (value == 0 or 1e-8 < abs(value) < 1e12):
        return f"{Decimal(f'{value:.4g}'):f}"  # never 1e-05
    return str(value)
