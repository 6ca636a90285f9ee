"""Locate the folders that the app and the command line use, by one rule.

The option, else the environment variable, else the folder of the checkout that digitcnn runs from,
else (installed) the one in the current folder. Nothing is ever written into the installation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from platformdirs import user_cache_path

PACKAGE = Path(__file__).resolve().parent

# The checkout, when digitcnn runs from one.
CHECKOUT = PACKAGE.parent if (PACKAGE.parent / "pyproject.toml").is_file() else None

# The models that come with digitcnn: the one of the classic figures, and both in the order in
# which the page selects one at first.
SHIPPED = "digitcnn-mnist"
FIRST_CHOICES = ("digitcnn-hands", SHIPPED)
# In a checkout the same folder as the user's own checkpoints, in a wheel package data.
SHIPPED_FOLDER = PACKAGE / "shipped" if CHECKOUT is None else CHECKOUT / "checkpoints"
SHIPPED_FILE = SHIPPED_FOLDER / f"{SHIPPED}.pt"


def data_folder(option: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of digit sets: the option, else DIGITCNN_DATA, else the user's cache."""
    return _named(option, environment.get("DIGITCNN_DATA")) or cache_folder()


def cache_folder(find: Callable[[str], Path] = user_cache_path) -> Path:
    """Return digitcnn's folder in the user's cache, or in the current folder without a home.

    find: returns an application's cache folder, given its name.
    """
    here = Path(".cache", "digitcnn").absolute()
    try:
        cache = find("digitcnn")
    except RuntimeError:  # no home; older versions of platformdirs return a folder called "~" then
        return here
    return cache if cache.is_absolute() else here


def output_folder(option: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of runs: the option, else DIGITCNN_OUTPUT_DIR, else ``outputs``."""
    return _named(option, environment.get("DIGITCNN_OUTPUT_DIR")) or _default("outputs")


def checkpoint_folder(option: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the option, else DIGITCNN_CHECKPOINT_DIR, else the folder ``checkpoints``."""
    return _named(option, environment.get("DIGITCNN_CHECKPOINT_DIR")) or _default("checkpoints")


def checkpoint_file(path: Path) -> Path:
    """Return ``path`` if it exists, else the file of the checkpoint with that name.

    Looks in the default checkpoint folder, then among the shipped models. Returns ``path`` itself
    where neither has it.
    """
    if not path.exists() and path.name == str(path):
        for folder in (checkpoint_folder(None), SHIPPED_FOLDER):
            if (folder / f"{path}.pt").is_file():
                return folder / f"{path}.pt"
    return path


def shipped_folder(option: Path | None, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of the shipped models, where the app has to read it besides its own.

    None where a checkpoint folder was named, and in a checkout, whose own folder has the models.
    """
    named = option is not None or environment.get("DIGITCNN_CHECKPOINT_DIR")
    return None if named or CHECKOUT is not None else SHIPPED_FOLDER


def feedback_place(outputs: Path, environment: Mapping[str, str] = os.environ) -> Path | str:
    """Return where feedback is stored: DIGITCNN_FEEDBACK_URL, else a file in the output folder."""
    return environment.get("DIGITCNN_FEEDBACK_URL") or outputs / "feedback.sqlite3"


def _named(option: Path | None, variable: str | None) -> Path | None:
    if option is not None:
        return option
    if not variable:
        return None
    try:
        return Path(variable).expanduser()
    except RuntimeError:  # no home folder to expand ~ to
        return Path(variable)


def _default(name: str) -> Path:
    return (CHECKOUT or Path()) / name
