"""New checkpoints beside those that are there: under the first name that is free."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from digitcnn.errors import CheckpointError
from digitcnn.network import checkpoint
from digitcnn.network.details import Details
from digitcnn.network.model import DigitCNN
from digitcnn.network.ood import OODDetector


def harmless(name: str, otherwise: str) -> str:
    """What of a name from outside can be a file's: at most 60 letters, digits, ``.``, ``_``, ``-``.

    otherwise: the name where nothing is left of it.
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:60] or otherwise


def numbered(stem: str) -> Iterator[str]:
    """``stem``, ``stem-2``, ``stem-3`` and so on."""
    yield stem
    yield from (f"{stem}-{number}" for number in itertools.count(2))


def save_under_free_name(
    folder: Path,
    names: Iterable[str],
    network: DigitCNN,
    details: Details,
    ood: OODDetector | None = None,
    *,
    again: bool = False,
) -> Path:
    """Write a checkpoint under the first of ``names``, without ``.pt``, that nothing has.

    again: also where a file under an earlier name holds this very network and tells as much of it;
    without it, that file is what is returned. Names do not end. Raises CheckpointError where the
    folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"The folder {folder} cannot be written ({error.strerror}); choose another with "
            "--checkpoint-dir."
        ) from error
    digest = checkpoint.digest(network.state_dict())
    for name in names:
        path = folder / f"{name}.pt"
        if not os.path.lexists(path):
            try:
                checkpoint.save(path, network, details, ood)
                return path
            except CheckpointError:
                if not os.path.lexists(path):
                    raise
                # Another process took the name meanwhile.
        if again:
            continue
        with contextlib.suppress(CheckpointError):
            found = checkpoint.load(path)
            if found.digest == digest and (found.ood is None) == (ood is None):
                return path
    raise AssertionError("the names do not end")
