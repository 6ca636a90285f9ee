"""Names of digit sets, in a module that imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SPLITS = ("train", "test")

# How ``data add`` places ink in the 28x28.
FRAMINGS = ("none", "mnist", "emnist")

# Separates a set's name from the changes of a variant of it (``training_images``).
SEPARATOR = "~"

# MNIST-C, a family of sets, ``mnist-c-fog`` and so on: MNIST's test images under these corruptions.
MNIST_C = "mnist-c"
CORRUPTIONS = (
    "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "shear", "scale", "rotate",
    "brightness", "translate", "stripe", "fog", "spatter", "dotted_line", "zigzag", "canny_edges",
)  # fmt: skip
MNIST_C_SETS = tuple(f"{MNIST_C}-{corruption}" for corruption in CORRUPTIONS)

_WRITTEN: Mapping[str, str] = {
    "mnist": "MNIST",
    "emnist-digits": "EMNIST digits",
    "femnist-digits": "FEMNIST digits",
    "usps": "USPS",
    "synthetic": "synthetic digits",
    "synthetic-other-writers": "other synthetic digits",
    **{f"{MNIST_C}-{one}": f"MNIST-C {one.replace('_', ' ')}" for one in CORRUPTIONS},
}

# Sets that ``synthetic`` generates, and how many images each has by split.
GENERATED = ("synthetic", "synthetic-other-writers")
GENERATED_IMAGES: Mapping[str, int] = {"train": 16_000, "test": 4_000}


def set_names(digits: str) -> list[str]:
    """Return the names in a comma-separated list, each once: ``mnist,synthetic``."""
    return list(dict.fromkeys(name for part in digits.split(",") if (name := part.strip())))


def joined(names: Sequence[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``; ``names`` must not be empty."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def written(name: str) -> str:
    """Return a known set's name as people write it, ``EMNIST digits``; others as they are."""
    base, separator, changes = name.partition(SEPARATOR)
    return _WRITTEN.get(base, base) + separator + changes


def set_title(name: str, split: str) -> str:
    """Return a set and its split for people: ``MNIST test``, as in "MNIST test images"."""
    return f"{written(name)} {split}"


def result_title(name: str, trained_on: str = "") -> str:
    """Return what a result of a run is of: a test set, or held-out images of some training set.

    name: of a test set, ``held_out`` or ``held_out mnist``.
    """
    if not name.startswith("held_out"):
        return set_title(name, "test")
    of = name.removeprefix("held_out").strip() or trained_on
    return f"held-out images of {listed(of)}" if of else "held-out images"


def listed(digits: str) -> str:
    """Return the names in a comma-separated list for people: ``MNIST and USPS``."""
    return joined([written(name) for name in set_names(digits) or [digits]])


def base_of(name: str) -> str:
    """Return the name of the set that a variant changes; of any other set, its own name."""
    return name.partition(SEPARATOR)[0]
