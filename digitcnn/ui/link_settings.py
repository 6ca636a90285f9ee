"""Settings in the page's address: ``?tab=train&epochs=8&network=mlp``.

They fill in fields and start nothing. Each is checked on its own: a value that the field does not
accept is ignored, as is any other name. Names are those of the command line's options.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from digitcnn.digits.names import set_names
from digitcnn.errors import ConfigError
from digitcnn.training.config import TrainingConfig

# Longer values are ignored.
MAX_TEXT = 200

_SWITCH = {"on": True, "off": False}

# For each option: the field of the configuration, and its usual value.
_FIELDS = {
    field.name.replace("_", "-"): (field.name, field.default)
    for field in dataclasses.fields(TrainingConfig)
}


def _parse(text: str, usual: Any) -> Any:
    """Return a text as a value of the field's type. Raises ValueError or KeyError."""
    if isinstance(usual, bool):
        return _SWITCH[text]
    # By default, no number of images is given.
    return int(text) if usual is None else type(usual)(text)


def linked_config(
    query: Mapping[str, str], config: TrainingConfig, available: Collection[str]
) -> TrainingConfig | None:
    """Return ``config`` with the settings of a link, or None if the link has no usable ones.

    query: the address's parameters, unchecked. available: the digit sets to choose from.
    """
    changed = config
    for name, (field, usual) in _FIELDS.items():
        text = query.get(name)
        if not isinstance(text, str) or not text or len(text) > MAX_TEXT:
            continue
        try:
            candidate = dataclasses.replace(changed, **{field: _parse(text, usual)})
        except (ConfigError, ValueError, KeyError):
            continue
        if set(set_names(candidate.digits)) <= set(available):
            changed = candidate
    return None if changed is config else changed


def link_parameters(config: TrainingConfig) -> dict[str, str]:
    """Return the parameters of a link that fills in this configuration."""
    values = {name: getattr(config, field) for name, (field, _) in _FIELDS.items()}
    return {
        name: ("on" if value else "off") if isinstance(value, bool) else f"{value}"
        for name, value in values.items()
        if value is not None
    }
